//! The common part of the native bases of Python's classes: an object of the engine,
//! set late.
//!
//! A class in Python may be made in two ways, by its `__init__` or by being
//! unpickled, and its subclasses may have any arguments. So the native base is
//! empty at first; `_create` or `_attach` gives it its object.

#![expect(
    clippy::disallowed_types,
    reason = "a thread sets it attached to Python, which forks while no other one is"
)]

use std::sync::OnceLock;

use procession_engine::shm::Handle;
use pyo3::prelude::*;

use crate::error::value_error;

/// Holds an object of the engine once there is one.
pub struct Shared<T>(OnceLock<T>);

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T> Shared<T> {
    /// Returns the object.
    #[inline]
    pub fn get(&self) -> PyResult<&T> {
        self.0.get().ok_or_else(uninitialised)
    }

    /// Sets the object, once.
    pub fn set(&self, object: T) -> PyResult<()> {
        let again = |_| value_error("the object was initialised before");
        self.0.set(object).map_err(again)
    }
}

#[cold]
fn uninitialised() -> PyErr {
    value_error("the object was not initialised: call __init__ of the base class")
}

/// A handle as Python passes it on: offset and serial.
#[derive(FromPyObject, IntoPyObject)]
pub struct HandleParts(u64, u64);

impl From<Handle> for HandleParts {
    fn from(handle: Handle) -> Self {
        Self(handle.offset, handle.serial)
    }
}

impl From<HandleParts> for Handle {
    fn from(numbers: HandleParts) -> Self {
        Self {
            offset: numbers.0,
            serial: numbers.1,
        }
    }
}
