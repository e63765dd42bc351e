//! Calling a function while a lock is held, which no handler of a signal leaves locked.

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::once::intern;
use crate::rlock::RLock;

/// Calls `act` with arguments while it holds a lock.
///
/// From CPython 3.14 on, a handler may raise right after a `with` statement has taken its lock,
/// which then stays locked for ever. Native code takes and releases it between two steps of
/// Python.
#[pyfunction]
#[pyo3(signature = (lock, act, *arguments))]
pub fn under_lock<'py>(
    lock: &Bound<'py, PyAny>,
    act: &Bound<'py, PyAny>,
    arguments: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = lock.py();
    // The lock of a `Value`, each access to which is a call of this.
    if let Ok(ours) = lock.cast::<RLock>() {
        ours.get().acquire(py, true, None)?;
        let result = act.call1(arguments);
        ours.get().release()?;
        return result;
    }
    lock.call_method0(intern!(py, "acquire"))?;
    let result = act.call1(arguments);
    lock.call_method0(intern!(py, "release"))?;
    result
}
