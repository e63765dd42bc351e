//! How a wait for another process is cut into slices.
//!
//! Whoever is to end such a wait may be killed at any instruction, also right before it
//! wakes the waiter. Then no wake-up comes, ever. So no wait is one long sleep: at the end
//! of each slice the waiter looks for itself, at what it waits for and, where a process has
//! that, whether this process lives. Reclaim wakes those who wait for what a dead member had;
//! a slice is how late they are where nobody has seen the death.
//!
//! Slices grow while they end in vain. A death at the beginning of a wait is noticed within
//! milliseconds, and a process that waits for hours looks a few times in a second.

use std::time::Duration;

use crate::wait::time::Deadline;

/// Milliseconds of an hour.
const HOUR: u64 = 3_600_000;

/// Says when a waiter looks for itself next.
#[derive(Clone, Debug)]
pub struct WaitSlices {
    slice: Duration,
    longest: Duration,
}

impl WaitSlices {
    /// For what one process has at a time, such as a lock. Only that process can give it
    /// away, so its death stops everybody; and to ask whether it lives takes one look.
    #[must_use]
    pub const fn for_holder() -> Self {
        Self::growing(4, 64)
    }

    /// For what many may have, or wait for, at a time, such as permits: all of them are asked
    /// after at the end of a slice.
    #[must_use]
    pub const fn for_holders() -> Self {
        Self::growing(4, 256)
    }

    /// For what nobody has: an item of a queue, an event. Only a process that was killed
    /// between its change and the wake-up makes a look necessary.
    #[must_use]
    pub const fn for_change() -> Self {
        Self::growing(16, 512)
    }

    /// For what another process is about to do, such as to tell how a child has ended. It
    /// is there soon if that process lives, so slices do not grow.
    #[must_use]
    pub const fn for_answer() -> Self {
        Self::growing(20, 20)
    }

    /// For bytes, or a ring, of a peer whose end shows by itself, on a descriptor, in all
    /// but rare cases. They need a look at many processes, so it is a rare one, too.
    #[must_use]
    pub const fn for_peer() -> Self {
        Self::growing(100, 100)
    }

    /// Makes slices of `first` milliseconds and more, up to `longest`.
    const fn growing(first: u64, longest: u64) -> Self {
        // In a model slices end when the model says so, and never by the clock.
        let (first, longest) = if cfg!(loom) {
            (HOUR, HOUR)
        } else {
            (first, longest)
        };
        Self {
            slice: Duration::from_millis(first),
            longest: Duration::from_millis(longest),
        }
    }

    /// Returns when this slice, which begins now, ends: at the deadline at the latest.
    #[must_use]
    pub fn end(&self, deadline: Deadline) -> Deadline {
        deadline.within(self.slice)
    }

    /// Makes the next slices longer, because this one has ended in vain.
    pub fn grow(&mut self) {
        self.slice = (self.slice * 2).min(self.longest);
    }

    /// Returns how long a slice is now.
    #[must_use]
    pub const fn length(&self) -> Duration {
        self.slice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_grow_up_to_the_longest() {
        let mut slices = WaitSlices::for_holder();
        let lengths: Vec<_> = std::iter::repeat_with(|| {
            let length = slices.length().as_millis();
            slices.grow();
            length
        })
        .take(6)
        .collect();
        assert_eq!(lengths, [4, 8, 16, 32, 64, 64]);
    }

    #[test]
    fn a_slice_ends_with_the_wait() {
        let slices = WaitSlices::for_peer();
        let soon = Deadline::now();
        assert_eq!(slices.end(soon), soon);
        assert_ne!(slices.end(Deadline::NEVER), Deadline::NEVER);
    }
}
