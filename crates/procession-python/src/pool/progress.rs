//! The progress of a map, shown by an object of Python that is told of each task.

use pyo3::prelude::*;

use crate::once::intern;
use crate::pool::arrival::Arrival;
use crate::pool::callback::{put_off, was_interrupted};

/// Tells `progress` the outcome of the task at `index`. Returns false if `progress` has failed, and
/// is to be told no more; the results go on without it.
pub fn arrived(py: Python<'_>, progress: &Py<PyAny>, index: usize, arrival: &Arrival) -> bool {
    let outcome = (index, arrival.success, &arrival.object);
    let told = progress.call_method1(py, intern!(py, "arrived"), outcome);
    report(py, progress, told)
}

/// Tells `progress` that nothing more will come.
pub fn ended(py: Python<'_>, progress: &Py<PyAny>) {
    let told = progress.call_method0(py, intern!(py, "ended"));
    report(py, progress, told);
}

fn report(py: Python<'_>, progress: &Py<PyAny>, told: PyResult<Py<PyAny>>) -> bool {
    match told {
        Ok(_) => true,
        Err(error) if was_interrupted(py, &error) => true,
        Err(error) => {
            put_off(py, error, progress.bind(py));
            false
        }
    }
}
