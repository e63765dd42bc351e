//! What a result needs of the pool that it comes from.

use procession_engine::sys::wait::time::Deadline;
use pyo3::prelude::*;

/// A pool that can be driven, as its results know it.
pub trait Driver: Send + Sync {
    /// Drives the pool until `done`, without the GIL; false when the time is
    /// over or the pool has ended.
    fn drive(
        &self,
        py: Python<'_>,
        done: &(dyn Fn() -> bool + Sync),
        deadline: Deadline,
    ) -> PyResult<bool>;

    /// Has the pool poll sources again that had no tasks for now.
    fn resume(&self) -> PyResult<()>;

    /// Wakes the threads that drive, to look whether they have what they wait for.
    fn notify(&self);

    /// Cancels the tasks of the call at an address; returns how many it was.
    fn cancel(&self, py: Python<'_>, call: usize, kill: bool) -> PyResult<usize>;

    /// Tells whether a worker runs a task of the call at an address.
    fn is_running(&self, py: Python<'_>, call: usize) -> bool;

    /// Returns the function that makes the errors which users get for lost tasks.
    fn errors(&self) -> Option<&Py<PyAny>>;
}
