//! Real processes for the tests of this crate: forked, and gone afterwards.
//!
//! # Safety
//! The children run code of the test alone, allocate (glibc's allocator copes
//! with a fork) and leave by `_exit`, so no destructor runs twice.

#![expect(unsafe_code, reason = "fork, _exit")]

use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::process::fork::{Forked, fork};
use crate::process::pidfd::PidFd;
use crate::wait::poll;
use crate::wait::time::Deadline;

/// How long a test waits before it says that something hangs.
#[expect(non_snake_case, reason = "reads as the constant it would be")]
pub fn WATCHDOG() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

/// What a child waits on until its test lets it go.
pub struct Go(OwnedFd);

impl Go {
    /// Blocks until the test drops its [`Release`], or has ended.
    pub fn wait(&self) -> i32 {
        i32::from(!poll::wait_readable(&self.0, WATCHDOG()).unwrap())
    }
}

/// Lets a child go when dropped.
pub struct Release(OwnedFd);

impl Drop for Release {
    fn drop(&mut self) {
        // A byte, not the end of the file: children of other tests may have
        // inherited this end. If the child is dead there is nobody to tell.
        let _ = rustix::io::write(&self.0, b"g");
    }
}

/// Runs `body` in a forked child, which exits with the number it returns, or
/// with 101 if it panics.
pub fn child(body: impl FnOnce(&Go) -> i32) -> (PidFd, Release) {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    // SAFETY: see the head of this file.
    match unsafe { fork() }.unwrap() {
        Forked::Parent(pid) => (PidFd::open(pid).unwrap(), Release(write)),
        Forked::Child => {
            drop(write);
            let go = Go(read);
            let code = catch_unwind(AssertUnwindSafe(|| body(&go))).unwrap_or(101);
            // SAFETY: nothing of the test needs to be cleaned up in a copy.
            unsafe { libc::_exit(code) }
        }
    }
}

/// Tells, in a child, whether `change` shows to who looks; and that nothing else does.
pub fn shows<T: PartialEq + std::fmt::Debug>(look: impl Fn() -> T, change: impl FnOnce()) -> bool {
    let (process, _release) = child(|_| {
        let before = look();
        assert_eq!(before, look());
        change();
        i32::from(look() != before)
    });
    assert!(process.wait(WATCHDOG()).unwrap(), "the child hangs");
    match process.reap().unwrap().unwrap().code() {
        0 => false,
        1 => true,
        code => panic!("the child exited with {code}, see above"),
    }
}
