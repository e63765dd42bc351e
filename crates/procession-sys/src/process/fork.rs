//! A copy of this process.
//!
//! # Safety
//! The caller of `fork` knows that no other thread holds a lock that the child will
//! need; everything else in this directory is safe to use in the child.

#![expect(unsafe_code, reason = "fork(2)")]

use std::io;

use crate::denial::refused;
use crate::error::{Error, ErrorKind, Result};
use crate::procfs::status::{ProcStatus, thread_ids};

/// Says on which side of a fork the caller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forked {
    /// In the parent; the child has this number.
    Parent(u32),
    /// In the child.
    Child,
}

/// Copies the process; returns twice. The C library runs what was registered
/// around forks (see [`atfork`](crate::fork_safe::atfork)).
///
/// # Safety
/// Only the calling thread exists in the child. If another thread was in the middle of
/// something (held a lock of std, had half written a table), that stays so for ever in
/// the child: the child may use only what copes with that.
///
/// # Errors
/// `Limit` when there may be no more processes, `OutOfMemory` when the
/// system cannot hold another.
pub unsafe fn fork() -> Result<Forked> {
    // SAFETY: the caller promises to mind what other threads held.
    let pid = unsafe { libc::fork() };
    match u32::try_from(pid) {
        Ok(0) => Ok(Forked::Child),
        Ok(pid) => Ok(Forked::Parent(pid)),
        Err(_) => Err(refusal("fork", io::Error::last_os_error())),
    }
}

/// Returns how many threads this process has; `None` where there is no /proc to tell.
///
/// A thread that was just joined may still be counted for an instant: the
/// kernel lets the joiner go before the thread is quite gone.
#[must_use]
pub fn thread_count() -> Option<usize> {
    let told = ProcStatus::of_self().map_or(0, |status| status.threads as usize);
    // Emulators say that there are none.
    let listed = || thread_ids(std::process::id()).len();
    let count = if told > 0 { told } else { listed() };
    (count > 0).then_some(count)
}

/// Says why the system gives no new process, or no new thread, which counts as one;
/// `what` names the attempt.
#[must_use]
pub fn refusal(what: &str, error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::EAGAIN) => Error::new(
            ErrorKind::Limit,
            format!(
                "cannot {what}: no more processes are allowed \
                 (RLIMIT_NPROC, the cgroup's pids.max or the system's pid_max)"
            ),
        ),
        Some(libc::ENOMEM) => Error::new(
            ErrorKind::OutOfMemory,
            format!(
                "cannot {what}: the system has no memory for another process, or the first \
                 process of its pid namespace has ended"
            ),
        ),
        _ => refused("clone (or clone3, vfork)", what, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{WATCHDOG, child};

    #[test]
    fn a_forked_child_has_one_thread_whatever_its_parent_has() {
        let barrier = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| barrier.wait());
            assert!(thread_count().unwrap() >= 2);
            let (process, _release) = child(|_| i32::try_from(thread_count().unwrap()).unwrap());
            assert!(process.wait(WATCHDOG()).unwrap());
            assert_eq!(process.reap().unwrap().unwrap().code(), 1);
            barrier.wait();
        });
    }
}
