//! Running code around every `fork` of this process, from whichever code it is called.
//!
//! # Safety
//! The handlers are plain functions that live as long as the program.

#![expect(unsafe_code, reason = "pthread_atfork")]

use crate::error::{Error, Result};

/// Registers the three handlers of `pthread_atfork`, for good.
///
/// # Errors
/// When the system has no memory for the entry.
pub fn register(
    prepare: extern "C" fn(),
    parent: extern "C" fn(),
    child: extern "C" fn(),
) -> Result<()> {
    // SAFETY: the signatures are those of pthread_atfork(3); functions never
    // go away.
    let code = unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
    if code == 0 {
        return Ok(());
    }
    Err(Error::os(
        "register what runs around a fork",
        std::io::Error::from_raw_os_error(code),
    ))
}
