//! News for those who wait for a spare: one has come to be had, or none will.

use crate::os::futex::Woken;
use crate::os::time::Deadline;
use crate::primitive::{AtomicU32, Ordering, futex_wait, futex_wake};

/// Counts the news.
#[derive(Debug)]
#[cfg_attr(loom, derive(Default))]
#[repr(transparent)]
pub struct Supply {
    count: AtomicU32,
}

impl Supply {
    /// Returns how many there were; to be read before the look at the cells.
    pub fn count(&self) -> u32 {
        // Acquire pairs with the Release in `announce`.
        self.count.load(Ordering::Acquire)
    }

    /// Says that a spare has come to be had, or that none will.
    pub fn announce(&self) {
        // Release: who sees the new count sees the spare, too.
        self.count.fetch_add(1, Ordering::Release);
        futex_wake(&self.count, u32::MAX);
    }

    /// Blocks until there are more than that many.
    pub fn wait(&self, count: u32, deadline: Deadline) -> Woken {
        futex_wait(&self.count, count, deadline)
    }
}
