//! A flag to wait for.

use std::os::fd::{AsFd, AsRawFd};

use procession_engine::sync;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::awaited::{AwaitedFd, Watched};
use crate::blocking::{deadline, waiting};
use crate::error::IntoPython;
use crate::shared::{HandleParts, Shared};
use crate::transfer;

/// A flag to wait for; the base of the class in `synchronize`.
#[pyclass(frozen, subclass, weakref, module = "procession._procession")]
pub struct Event {
    event: Shared<sync::Event>,
    awaited: AwaitedFd,
}

impl Event {
    /// Returns what the engine waits for.
    pub fn engine(&self) -> PyResult<&sync::Event> {
        self.event.get()
    }
}

#[pymethods]
impl Event {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            event: Shared::default(),
            awaited: AwaitedFd::default(),
        }
    }

    fn _create(&self) -> PyResult<()> {
        self.event.set(sync::Event::create().or_raise()?)
    }

    fn _attach(&self, handle: HandleParts) -> PyResult<()> {
        let attach = |source: &_| sync::Event::attach(handle.into(), source);
        self.event.set(transfer::attach(attach).or_raise()?)
    }

    fn _lend(&self) -> PyResult<HandleParts> {
        let event = self.event.get()?;
        Ok(transfer::lend(|loans| event.lend(loans)).into())
    }

    /// Returns whether the event is set.
    fn is_set(&self) -> PyResult<bool> {
        Ok(self.event.get()?.is_set())
    }

    /// Sets the event, and wakes all that wait for it.
    fn set(&self) -> PyResult<()> {
        self.event.get()?.set();
        Ok(())
    }

    fn _fileno(&self) -> PyResult<i32> {
        // The event itself keeps the descriptor open.
        let fd = self.event.get()?.readable_fd().or_raise()?;
        Ok(fd.as_fd().as_raw_fd())
    }

    fn _times_set(&self) -> PyResult<u32> {
        Ok(self.event.get()?.times_set())
    }

    fn _arm(&self, times: u32) -> PyResult<Watched> {
        let event = self.event.get()?;
        self.awaited
            .arm(|| event.await_fd(), |fd| event.arm(fd, times))
    }

    /// Clears the event: from now on `wait` waits.
    fn clear(&self) -> PyResult<()> {
        self.event.get()?.clear();
        Ok(())
    }

    /// Waits until the event is set or the time is over.
    ///
    /// Args:
    ///     timeout: The seconds to wait at most; None for as long as it takes.
    ///
    /// Returns:
    ///     Whether the event was set before the time was over.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let event = self.event.get()?;
        if event.is_set() {
            return Ok(true);
        }
        let end = deadline(timeout)?;
        let times = event.times_set();
        Ok(waiting(py, end, |end| event.wait_since(times, end))?.is_some())
    }
}
