//! A flag to wait for.

use procession_engine::ErrorKind;
use procession_engine::arena::Handle;
use procession_engine::sync;
use pyo3::prelude::*;

use crate::error::IntoPython;
use crate::wait::{deadline, detached};

/// A flag to wait for.
#[pyclass(frozen, weakref, module = "procession._procession")]
pub struct Event {
    event: sync::Event,
}

#[pymethods]
impl Event {
    #[new]
    fn new() -> PyResult<Self> {
        Ok(Self {
            event: sync::Event::create().or_raise()?,
        })
    }

    fn is_set(&self) -> bool {
        self.event.is_set()
    }

    fn set(&self) {
        self.event.set();
    }

    fn clear(&self) {
        self.event.clear();
    }

    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        if self.event.is_set() {
            return Ok(true);
        }
        let end = deadline(timeout)?;
        detached(py, || match self.event.wait(end) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::TimedOut => Ok(false),
            Err(error) => Err(error),
        })
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (u64, u64))> {
        let Handle { offset, serial } = self.event.lend();
        Ok((crate::rebuilder(py, "rebuild_event")?, (offset, serial)))
    }
}

/// Attaches to an event that another process has lent.
#[pyfunction]
pub fn rebuild_event(offset: u64, serial: u64) -> PyResult<Event> {
    Ok(Event {
        event: sync::Event::attach(Handle { offset, serial }).or_raise()?,
    })
}
