//! The errors that Python raises when the engine calls it back.
//!
//! In the middle of a call of the engine, results are unpickled, callbacks called and inputs
//! asked for. None of that may raise into the engine. The error that a handler of a signal
//! raises must not be lost, so it is put off until the call is over.

use std::cell::{Cell, RefCell};

use pyo3::exceptions::PyException;
use pyo3::prelude::*;

use crate::interpreter::stay_when_ended;
use crate::interrupt::is_interrupt;

thread_local! {
    /// How many calls of the engine this thread is in that Python waits for.
    static WAITING: Cell<u32> = const { Cell::new(0) };
    static PUT_OFF: RefCell<Option<PyErr>> = const { RefCell::new(None) };
}

/// Runs a call of the engine that may call Python back; raises what was put off.
pub fn calling_back<T>(call: impl FnOnce() -> T) -> PyResult<T> {
    stay_when_ended();
    WAITING.set(WAITING.get() + 1);
    let result = call();
    WAITING.set(WAITING.get() - 1);
    match PUT_OFF.take() {
        Some(error) => Err(error),
        None => Ok(result),
    }
}

/// Tells whether this thread is in a call of a pool that Python waits for. If so, a callback runs
/// in a thread that the program uses for something else.
pub fn is_waiting() -> bool {
    WAITING.get() > 0
}

/// Tells whether something waits to be raised in this thread.
pub fn is_put_off() -> bool {
    PUT_OFF.with_borrow(Option::is_some)
}

/// Deals with an error that a callback has raised. If it is to end the program, or came from a
/// signal, it is put off, and raised where Python waits; any other error is reported.
pub fn put_off(py: Python<'_>, error: PyErr, context: &Bound<'_, PyAny>) {
    let ends = !error.is_instance_of::<PyException>(py) || is_interrupt(py, &error);
    if WAITING.get() > 0 && ends {
        PUT_OFF.set(Some(error));
    } else {
        error.write_unraisable(py, Some(context));
    }
}

/// Calls the functions that tell awaiting tasks that a result has come. Each must be
/// called, or its task would never go on.
pub fn wake_all(py: Python<'_>, wakers: Vec<Py<PyAny>>) {
    for waker in wakers {
        if let Err(error) = uninterrupted(py, || waker.call0(py)) {
            put_off(py, error, waker.bind(py));
        }
    }
}

/// Tells whether an error came from a signal rather than from what was called; it
/// is put off then.
pub fn was_interrupted(py: Python<'_>, error: &PyErr) -> bool {
    let interrupted = WAITING.get() > 0 && is_interrupt(py, error);
    if interrupted {
        PUT_OFF.set(Some(error.clone_ref(py)));
    }
    interrupted
}

/// Runs what Python does for an outcome. If an exception of a signal's handler interrupts that, the
/// exception is put off and the work is done once more, so that the outcome is not lost.
pub fn uninterrupted<T>(py: Python<'_>, work: impl Fn() -> PyResult<T>) -> PyResult<T> {
    loop {
        match work() {
            Err(error) if was_interrupted(py, &error) => {}
            result => return result,
        }
    }
}
