//! What is done when the process exits.
//!
//! # Safety
//! A function of Rust's is called with no arguments, as atexit(3) does.

#![expect(unsafe_code, reason = "atexit(3)")]

use crate::error::{Error, ErrorKind, Result};

/// Has a function called when this process exits by itself: when `main` returns, or by
/// `exit`. The function must not panic.
///
/// # Errors
/// `OutOfMemory` when there is no room to note it.
pub fn call(function: extern "C" fn()) -> Result<()> {
    // SAFETY: a function that is there for as long as the program.
    match unsafe { libc::atexit(function) } {
        0 => Ok(()),
        _ => Err(Error::new(
            ErrorKind::OutOfMemory,
            "there is no memory to note what is to be done at the exit",
        )),
    }
}
