//! Being killed at a given step, in builds with the feature `steps`.
//!
//! A step is whatever others can see of this process: a write to a shared word, a
//! system call on a shared file or socket, a wake-up. Between two steps nothing
//! changes for anybody else, so being killed right before each of them is being
//! killed at every instruction. Without the feature there are no steps and no cost.
//!
//! # Safety
//! The one call ends the process.

#![expect(unsafe_code, reason = "a process that kills itself")]

use std::sync::atomic::{AtomicU64, Ordering};

/// Steps that are left to this process, and one; 0 if they are not counted.
static LEFT: AtomicU64 = AtomicU64::new(0);

/// Lets this process take `steps` steps from here on, and kills it before the next.
pub fn kill_after(steps: u64) {
    LEFT.store(steps + 1, Ordering::Relaxed);
}

/// Lets this process live.
pub fn stop_counting() {
    LEFT.store(0, Ordering::Relaxed);
}

/// Is called before each step.
#[inline]
pub fn step() {
    match LEFT.load(Ordering::Relaxed) {
        0 => {}
        // SAFETY: ends this process at once, with nothing cleared away.
        1 => unsafe {
            libc::raise(libc::SIGKILL);
        },
        left => LEFT.store(left - 1, Ordering::Relaxed),
    }
}
