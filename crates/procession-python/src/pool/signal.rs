//! Tells threads that wait for a result, and do not drive, that one has come.

use procession_engine::sys::wait::signal;
use procession_engine::sys::wait::time::Deadline;
use pyo3::prelude::*;

use crate::blocking::{nothing_yet, waiting};

/// Wakes threads of this process that wait for a change.
#[derive(Default)]
pub struct Signal(signal::Signal);

impl Signal {
    /// Wakes the threads that wait, to look whether their result has come.
    pub fn notify(&self) {
        self.0.notify();
    }

    /// Waits until `done` or the deadline, without the GIL; tells whether it is done.
    pub fn wait(
        &self,
        py: Python<'_>,
        done: &(dyn Fn() -> bool + Sync),
        deadline: Deadline,
    ) -> PyResult<bool> {
        let came = waiting(py, deadline, |deadline| {
            let came = self.0.wait(done, deadline)?;
            came.then_some(()).ok_or_else(nothing_yet)
        })?;
        Ok(came.is_some())
    }
}
