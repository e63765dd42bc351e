//! A pool whose tasks run where native code does not see them: an object of Python brings
//! the results, in threads of its own, and is asked to cancel.

use procession_engine::sys::wait::time::Deadline;
use pyo3::prelude::*;

use crate::once::intern;
use crate::pool::driver::Driver;

/// The object that brings the results.
pub struct Foreign(Py<PyAny>);

impl Foreign {
    pub fn new(owner: Py<PyAny>) -> Self {
        Self(owner)
    }
}

impl Driver for Foreign {
    fn drive(
        &self,
        _py: Python<'_>,
        done: &(dyn Fn() -> bool + Sync),
        _deadline: Deadline,
    ) -> PyResult<bool> {
        // There is nothing to drive: threads that wait are notified.
        Ok(done())
    }

    fn resume(&self) -> PyResult<()> {
        Python::attach(|py| {
            let resume = intern!(py, "resume");
            self.0.call_method0(py, resume).map(drop)
        })
    }

    fn notify(&self) {}

    fn cancel(&self, py: Python<'_>, call: usize, kill: bool) -> PyResult<usize> {
        let cancel = intern!(py, "cancel_call");
        self.0.call_method1(py, cancel, (call, kill))?.extract(py)
    }

    fn is_running(&self, py: Python<'_>, call: usize) -> bool {
        let asked = self.0.call_method1(py, intern!(py, "is_running"), (call,));
        asked
            .and_then(|answer| answer.extract(py))
            .unwrap_or_else(|error: PyErr| {
                error.write_unraisable(py, Some(self.0.bind(py)));
                false
            })
    }

    fn errors(&self) -> Option<&Py<PyAny>> {
        None
    }
}
