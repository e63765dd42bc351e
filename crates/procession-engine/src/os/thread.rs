//! Which thread runs.
//!
//! # Safety
//! The only unsafe thing here is to call C.

#![expect(unsafe_code, reason = "pthread_self, which rustix lacks")]

/// Returns a number that no other living thread of this process has: its
/// address, which is quicker to come by than a thread-local.
#[must_use]
#[inline]
pub fn this_thread() -> u64 {
    // SAFETY: no arguments, and it cannot fail.
    unsafe { libc::pthread_self() }
}
