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

/// Tells whether this is the thread that the process began with: the one that the
/// system prefers for signals, and the only one in which Python runs handlers.
#[must_use]
pub fn is_first() -> bool {
    rustix::thread::gettid() == rustix::process::getpid()
}
