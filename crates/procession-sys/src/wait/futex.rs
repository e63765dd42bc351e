//! Waiting on a word of memory, shared between processes or private to one.

use std::sync::atomic::AtomicU32;

use rustix::io::Errno;
use rustix::thread::futex::{self, Flags};
use rustix::time::Timespec;

use crate::wait::time::Deadline;

/// Says why a wait on a word ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// Somebody woke it, or the word did not hold the expected value.
    Changed,
    /// The deadline passed.
    TimedOut,
    /// A signal arrived.
    Interrupted,
}

/// Says who else may wait on or wake a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Any process that maps the word.
    Shared,
    /// Threads of this process only.
    Private,
}

impl Scope {
    fn flags(self) -> Flags {
        match self {
            Self::Shared => Flags::empty(),
            Self::Private => Flags::PRIVATE,
        }
    }
}

/// Blocks while `word` holds `expected`, until woken or the deadline.
///
/// It may return [`Woken::Changed`] without cause; callers look at the word.
pub fn wait(word: &AtomicU32, expected: u32, deadline: Deadline, scope: Scope) -> Woken {
    let timeout = match deadline.remaining() {
        None => None,
        Some(left) if left.is_zero() => return Woken::TimedOut,
        // A time too long for the kernel's type is as good as none.
        Some(left) => Timespec::try_from(left).ok(),
    };
    match futex::wait(word, scope.flags(), expected, timeout.as_ref()) {
        Err(Errno::TIMEDOUT) => Woken::TimedOut,
        Err(Errno::INTR) => Woken::Interrupted,
        // AGAIN: the word had another value. Any other failure would mean a
        // bad address; looking at the word again is right in each case.
        Ok(()) | Err(_) => Woken::Changed,
    }
}

/// Wakes up to `count` waiters of `word`.
pub fn wake(word: &AtomicU32, count: u32, scope: Scope) {
    // The only failures are bad addresses, which a reference excludes. The
    // kernel reads the count as signed.
    let _ = futex::wake(word, scope.flags(), count.min(i32::MAX as u32));
}
