//! Running code around every `fork` of this process, from whichever code it is called.
//!
//! # Safety
//! The handlers are plain functions that live as long as the program; the error number is the
//! calling thread's own.

#![expect(unsafe_code, reason = "pthread_atfork, errno")]

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

/// Sets the calling thread's error number to none, so that
/// [`has_fork_failed`] can tell; for the handler that runs before a fork.
pub fn forget_last_error() {
    // SAFETY: it has no preconditions.
    let number = unsafe { libc::__errno_location() };
    // SAFETY: this thread's own number.
    unsafe { number.write(0) };
}

/// Tells whether it looks as if the fork had failed, which no handler is told; for the handler
/// that runs in the parent. Another handler may have left the same error.
#[must_use]
pub fn has_fork_failed() -> bool {
    let last = std::io::Error::last_os_error().raw_os_error();
    matches!(
        last,
        Some(libc::EAGAIN | libc::ENOMEM | libc::ENOSYS | libc::EPERM)
    )
}
