//! The start of a process object, all of it or nothing.
//!
//! Most of a start is code of Python, in which a handler of a signal may raise: possibly when the
//! process runs already, and no object holds it yet. In that case the process is ended before the
//! exception goes on.

use std::cell::RefCell;

use procession_engine::process;
use pyo3::prelude::*;
use pyo3::types::PySet;

use crate::child::Child;
use crate::interpreter::stay_when_ended;
use crate::once::intern;

thread_local! {
    /// The child that the innermost start of this thread has made so far.
    static SHOWN: RefCell<Option<Py<Child>>> = const { RefCell::new(None) };
}

/// Wraps a child that was just started, and shows it to the start that this is a part of.
pub fn started(py: Python<'_>, child: process::Child) -> PyResult<Py<Child>> {
    let child = Py::new(py, Child::of(child))?;
    let before = SHOWN.replace(Some(child.clone_ref(py)));
    // Only a start that makes several children has one before; it keeps the last.
    drop(before);
    Ok(child)
}

/// Starts a process object by its `_Popen`, notes that, and adds it to `children`. If
/// that fails, the process was not started.
#[pyfunction]
pub fn launch(process: &Bound<'_, PyAny>, children: &Bound<'_, PySet>) -> PyResult<()> {
    stay_when_ended();
    let py = process.py();
    let outer = SHOWN.take();
    let made = process.call_method1(intern!(py, "_Popen"), (process,));
    let child = SHOWN.replace(outer);
    let noted = made.and_then(|popen| {
        let sentinel = popen.getattr(intern!(py, "sentinel"))?;
        process.setattr(intern!(py, "_sentinel"), sentinel)?;
        process.setattr(intern!(py, "_popen"), popen)?;
        children.add(process)
    });
    if let Err(error) = noted {
        // A process object whose class hides these has not been started either.
        let _ = process.setattr("_popen", py.None());
        let _ = children.discard(process);
        if let Some(child) = child {
            child.get().end(py);
        }
        return Err(error);
    }
    Ok(())
}
