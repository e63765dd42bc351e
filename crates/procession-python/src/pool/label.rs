//! The numbers under which a pool counts functions.

use std::sync::Mutex;

use procession_engine::pool::{Pool, Sink};
use pyo3::prelude::*;
use pyo3::types::{PyWeakref, PyWeakrefMethods, PyWeakrefReference};

use crate::pool::message;

/// Remembers the number of the function that was called last: most calls are of that one, and
/// its name need not be looked up then.
#[derive(Default)]
pub struct Labels(Mutex<Option<Known>>);

struct Known {
    address: usize,
    /// Dead once another function may have the address.
    function: Py<PyWeakref>,
    label: u32,
}

impl Labels {
    /// Returns the number of a function.
    pub fn of<S: Sink>(&self, pool: &Pool<S>, function: &Bound<'_, PyAny>) -> u32 {
        let (py, address) = (function.py(), function.as_ptr() as usize);
        // Not by `lock`: another thread may have it, and this one is attached to the interpreter.
        if let Ok(known) = self.0.try_lock()
            && let Some(known) = &*known
            && known.address == address
            && known.function.bind(py).upgrade().is_some()
        {
            return known.label;
        }
        let label = pool.label(&name(function));
        let Ok(reference) = PyWeakrefReference::new(function) else {
            return label; // There are objects without.
        };
        let known = Known {
            address,
            function: reference
                .into_any()
                .cast_into::<PyWeakref>()
                .map_or_else(|_| unreachable!("a reference is one"), Bound::unbind),
            label,
        };
        let before = match self.0.try_lock() {
            Ok(mut place) => place.replace(known),
            Err(_) => None,
        };
        drop(before); // Without the lock.
        label
    }
}

/// Returns the name of a function; for a partial, the name of the function that it calls.
fn name(function: &Bound<'_, PyAny>) -> String {
    let inner = function
        .get_type()
        .name()
        .ok()
        .filter(|name| name == "partial")
        .and_then(|_| function.getattr("func").ok());
    message::name(inner.as_ref().unwrap_or(function))
}
