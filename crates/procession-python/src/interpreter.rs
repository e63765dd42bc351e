//! The interpreter that the module is imported by: the process's main one, or none.
//!
//! Since 3.12 Python itself refuses to import such a module into a subinterpreter with
//! a GIL of its own; earlier versions refuse nothing.
//!
//! # Safety
//! Both calls need a thread that is attached to the interpreter, which runs an import.

#![expect(unsafe_code, reason = "PyO3 has no call for it")]

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
