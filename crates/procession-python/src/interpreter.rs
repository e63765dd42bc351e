//! The interpreter that the module is imported by: the process's main one, or none; and what its
//! threads do when it has ended.
//!
//! Since 3.12 Python itself refuses to import such a module into a subinterpreter with
//! a GIL of its own; earlier versions refuse nothing.
//!
//! # Safety
//! The calls of [`require_main`] need a thread that is attached to the interpreter, which runs an import;
//! `Py_IsInitialized` may be called at any time.

#![expect(unsafe_code, reason = "PyO3 has no call for it")]

use procession_engine::sys::unwinding::before_unwinding;
use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;

/// Refuses any interpreter but the main one.
pub fn require_main() -> PyResult<()> {
    // SAFETY: see the head of this file.
    let interpreter = unsafe { ffi::PyInterpreterState_Get() };
    // SAFETY: as above; it is the interpreter of this thread.
    match unsafe { ffi::PyInterpreterState_GetID(interpreter) } {
        0 => Ok(()),
        number => Err(PyImportError::new_err(format!(
            "procession was imported by interpreter {number} of this process"
        ))),
    }
}

/// Lets this thread stay where it is if it comes back to Python when the interpreter has ended.
///
/// Before 3.14, Python then ends the thread by `pthread_exit`, which does so to a daemon thread that
/// runs Python in the middle of a call of ours (it unpickles a message, calls an action), and so
/// would unwind our frames and abort the process. From 3.14 on Python itself lets such a thread
/// stay. Called wherever a thread is about to wait or to call Python back.
#[inline]
pub fn stay_when_ended() {
    before_unwinding(stay_if_ended);
}

fn stay_if_ended() {
    // SAFETY: see the head of this file.
    while unsafe { ffi::Py_IsInitialized() } == 0 {
        std::thread::park();
    }
}
