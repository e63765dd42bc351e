//! A counter to wait on for a spare: it rises when a spare becomes available, or cannot.

use procession_sys::primitive::{AtomicU32, Ordering, futex_wait, futex_wake};
use procession_sys::wait::futex::Woken;
use procession_sys::wait::time::Deadline;

/// Counts announcements that a spare is available, or that none can be started.
#[derive(Debug)]
#[cfg_attr(loom, derive(Default))]
#[repr(transparent)]
pub struct Availability {
    count: AtomicU32,
}

impl Availability {
    /// Returns the number of announcements; to be read before looking at the slots.
    pub fn count(&self) -> u32 {
        // Acquire pairs with the Release in `announce`.
        self.count.load(Ordering::Acquire)
    }

    /// Announces that a spare is available, or that none can be started.
    pub fn announce(&self) {
        // Release: a member that sees the new count also sees the spare.
        self.count.fetch_add(1, Ordering::Release);
        futex_wake(&self.count, u32::MAX);
    }

    /// Blocks while the number of announcements is `count`.
    pub fn wait(&self, count: u32, deadline: Deadline) -> Woken {
        futex_wait(&self.count, count, deadline)
    }
}
