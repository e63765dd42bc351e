//! Being killed or stopped at a given step, in builds with the feature `steps`.
//!
//! A step is whatever others can see of this process: a write to a shared word, a
//! system call on a shared file or socket, a wake-up. Between two steps nothing
//! changes for anybody else, so being killed right before each of them is being
//! killed at every instruction. Without the feature there are no steps and no cost.
//!
//! # Safety
//! The one call ends or stops the process.

#![expect(unsafe_code, reason = "a process that kills itself")]

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// One more than the steps that are left to this process; 0 if its steps are not counted. With the
/// bit [`STOPS`] the process is stopped after them, and not killed.
static LEFT: AtomicU64 = AtomicU64::new(0);

const STOPS: u64 = 1 << 63;

/// A process whose steps are not counted, but its children's; 0 for none.
static UNCOUNTED: AtomicU32 = AtomicU32::new(0);

/// Lets this process take `steps` steps from here on, and kills it before the next.
pub fn kill_after(steps: u64) {
    LEFT.store(steps + 1, Ordering::Relaxed);
}

/// Lets this process take `steps` steps from here on, and stops it before the next. Once it is
/// continued, its steps are not counted any more.
pub fn stop_after(steps: u64) {
    LEFT.store((steps + 1) | STOPS, Ordering::Relaxed);
}

/// Lets the next child that this process forks take `steps` steps, and stops it before the next;
/// what this process does meanwhile is not counted.
pub fn stop_child_after(steps: u64) {
    UNCOUNTED.store(std::process::id(), Ordering::Relaxed);
    stop_after(steps);
}

/// Lets this process live.
pub fn stop_counting() {
    UNCOUNTED.store(0, Ordering::Relaxed);
    LEFT.store(0, Ordering::Relaxed);
}

/// Is called before each step.
#[inline]
pub fn step() {
    match LEFT.load(Ordering::Relaxed) {
        0 => {}
        _ if UNCOUNTED.load(Ordering::Relaxed) == std::process::id() => {}
        1 => send_to_myself(libc::SIGKILL),
        left if left == 1 | STOPS => {
            stop_counting();
            send_to_myself(libc::SIGSTOP);
        }
        left => LEFT.store(left - 1, Ordering::Relaxed),
    }
}

fn send_to_myself(signal: i32) {
    // SAFETY: ends or stops this process at once, with nothing cleared away.
    unsafe { libc::raise(signal) };
}
