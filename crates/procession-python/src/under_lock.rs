//! Calling a function while a lock is held, which no handler of a signal leaves locked.

use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::interpreter::stay_when_ended;
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
    guarded(lock, || act.call1(arguments))
}

/// Calls `act` while it holds the lock.
fn guarded<T>(lock: &Bound<'_, PyAny>, act: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    stay_when_ended();
    let py = lock.py();
    // The lock of a `Value`, each access to which comes here.
    if let Ok(ours) = lock.cast::<RLock>() {
        ours.get().acquire(py, true, None)?;
        let result = act();
        ours.get().release()?;
        return result;
    }
    lock.call_method0(intern!(py, "acquire"))?;
    let result = act();
    lock.call_method0(intern!(py, "release"))?;
    result
}

/// A field of the `_obj` of an object with a `_lock`, read and written while that is held.
#[pyclass(frozen, module = "procession._procession")]
pub struct GuardedField {
    name: Py<PyString>,
    doc: Py<PyString>,
}

#[pymethods]
impl GuardedField {
    #[new]
    fn new(name: Py<PyString>, doc: Py<PyString>) -> Self {
        Self { name, doc }
    }

    #[getter]
    fn __doc__(&self) -> &Py<PyString> {
        &self.doc
    }

    fn __get__<'py>(
        slf: &Bound<'py, Self>,
        owner: &Bound<'py, PyAny>,
        _class: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if owner.is_none() {
            return Ok(slf.clone().into_any());
        }
        let (py, name) = (owner.py(), slf.get().name.bind(slf.py()));
        let lock = owner.getattr(intern!(py, "_lock"))?;
        let object = owner.getattr(intern!(py, "_obj"))?;
        guarded(&lock, || object.getattr(name))
    }

    fn __set__(&self, owner: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = owner.py();
        let lock = owner.getattr(intern!(py, "_lock"))?;
        let object = owner.getattr(intern!(py, "_obj"))?;
        guarded(&lock, || object.setattr(self.name.bind(py), value))
    }

    fn __delete__(&self, owner: &Bound<'_, PyAny>) -> PyResult<()> {
        let message = format!(
            "the field {} of {} cannot be deleted",
            self.name,
            owner.get_type().name()?
        );
        Err(PyAttributeError::new_err(message))
    }
}
