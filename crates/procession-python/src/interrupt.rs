//! Exceptions that come from a signal, and not from the function that was running when
//! the signal came.
//!
//! A handler of a signal runs between any two steps of Python, and may raise: Ctrl-C,
//! a timeout by SIGALRM. Where native code handles the errors of a function that it has
//! called, it must tell those apart: an exception of a handler belongs to the caller
//! that waits.

use std::time::Duration;

use procession_engine::sys::wait::poll::poll;
use procession_engine::sys::wait::time::Deadline;
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::interpreter::stay_when_ended;

/// Tells whether an exception was raised by a handler of a signal.
///
/// The interpreter calls a handler with the number of the signal and the frame that it
/// has interrupted, which is also the one that the handler's own frame returns to.
pub fn is_interrupt(py: Python<'_>, error: &PyErr) -> bool {
    if error.is_instance_of::<PyKeyboardInterrupt>(py) {
        return true;
    }
    let mut next = error.traceback(py).map(Bound::into_any);
    while let Some(entry) = next {
        let Ok(frame) = entry.getattr("tb_frame") else {
            return false;
        };
        if is_of_handler(&frame).unwrap_or(false) {
            return true;
        }
        next = entry.getattr("tb_next").ok().filter(|next| !next.is_none());
    }
    false
}

/// Raises the exception of a handler of a signal: it is not an error of the call that was
/// running.
pub fn raise_interrupt<T>(py: Python<'_>, made: &PyResult<T>) -> PyResult<()> {
    match made {
        Err(error) if is_interrupt(py, error) => Err(error.clone_ref(py)),
        _ => Ok(()),
    }
}

/// Tells the same of an exception, for code of Python that handles the errors of a
/// function that it has called.
#[pyfunction(name = "is_interrupt")]
pub fn is_interrupt_of_python(error: Bound<'_, PyAny>) -> bool {
    let py = error.py();
    is_interrupt(py, &PyErr::from_value(error))
}

/// Waits for an interrupt of the whole process group to reach this process too, after
/// another process of the group was interrupted by it: the error of that process is then
/// of no interest.
pub fn let_interrupt_come(py: Python<'_>, error: &Bound<'_, PyAny>) -> PyResult<()> {
    let is_of_another = error.get_type().name()? == "RemoteError"
        && error.getattr("type_name")?.eq("KeyboardInterrupt")?;
    if !is_of_another {
        return py.check_signals();
    }
    let latest = Deadline::after(LATEST);
    while !latest.has_passed() {
        py.check_signals()?;
        // The signal itself ends the wait, unless it came a moment before.
        let _ = py.detach(|| poll(&mut [], latest.within(GLANCE)));
    }
    py.check_signals()
}

/// How much later the last process of a group may be sent its signal, where others run
/// meanwhile.
const LATEST: Duration = Duration::from_millis(50);

/// How often to look whether the signal has come.
const GLANCE: Duration = Duration::from_millis(2);

/// Calls `begin`, then `act` with arguments; if that raises, it calls `undo`.
///
/// This is like a `try` statement, except that an exception of a handler that comes when `act` has
/// returned is raised only after all of this, and undoes nothing.
#[pyfunction]
pub fn with_undo<'py>(
    begin: &Bound<'py, PyAny>,
    act: &Bound<'py, PyAny>,
    arguments: &Bound<'py, PyTuple>,
    undo: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    stay_when_ended();
    begin.call0()?;
    let result = act.call1(arguments);
    if result.is_err() {
        undo.call0()?;
    }
    result
}

/// Tells whether a frame is that of a function that was called as handlers are: its own
/// arguments are a number, and right after it the frame that it was called in.
fn is_of_handler(frame: &Bound<'_, PyAny>) -> PyResult<bool> {
    let caller = frame.getattr("f_back")?;
    if caller.is_none() {
        return Ok(false);
    }
    let code = frame.getattr("f_code")?;
    let names = code.getattr("co_varnames")?;
    let count: usize = code.getattr("co_argcount")?.extract()?;
    let locals = frame.getattr("f_locals")?;
    for index in 1..count {
        // Absent if the handler has deleted the variable.
        if let Ok(value) = locals.get_item(names.get_item(index)?)
            && value.is(&caller)
        {
            return Ok(true);
        }
    }
    Ok(false)
}
