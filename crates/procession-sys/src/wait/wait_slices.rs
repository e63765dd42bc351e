//! How a wait for another process is cut into slices.
//!
//! The process that is to end such a wait may be killed at any instruction, also right
//! before it wakes the waiter. Then no wake-up ever comes. So no wait is one long sleep:
//! at the end of each slice the waiter itself looks at the object that it waits for and,
//! where a process holds the object, whether that process lives. Reclaim wakes the waiters
//! of a dead member's objects; where nobody has seen the death, a waiter notices it one
//! slice late.
//!
//! Slices grow while they end in vain. A death at the beginning of a wait is noticed within
//! milliseconds where a process holds the object, and a process that waits for hours looks a few
//! times in a second.

use std::time::Duration;

use crate::wait::time::Deadline;

/// Milliseconds of an hour.
const HOUR: u64 = 3_600_000;

/// Says when a waiter looks itself the next time.
#[derive(Clone, Debug)]
pub struct WaitSlices {
    slice: Duration,
    longest: Duration,
}

impl WaitSlices {
    /// For an object that one process holds at a time, such as a lock. Only that process
    /// can release it, so its death stops all others; and one look tells whether it
    /// lives.
    #[must_use]
    pub const fn for_holder() -> Self {
        Self::growing(4, 64)
    }

    /// For an object that many processes may hold at a time, such as permits: the end of a
    /// slice looks at all of them.
    #[must_use]
    pub const fn for_holders() -> Self {
        Self::growing(4, 256)
    }

    /// For a thing that no process holds: an item of a queue, an event. A look is
    /// necessary only because a process may be killed between its change and the
    /// wake-up, and many may wait for the same change, as workers at rest do.
    #[must_use]
    pub const fn for_change() -> Self {
        Self::growing(128, 512)
    }

    /// For an action that another process is about to take, such as telling how a child
    /// has ended. It comes soon if that process lives, so slices do not grow.
    #[must_use]
    pub const fn for_answer() -> Self {
        Self::growing(20, 20)
    }

    /// For bytes, or a ring, from a peer whose end shows on a descriptor in all but rare
    /// cases. Those cases need a look at many processes, so the look is rare, too.
    #[must_use]
    pub const fn for_peer() -> Self {
        Self::growing(100, 100)
    }

    /// Makes slices of `first` milliseconds and more, up to `longest`.
    const fn growing(first: u64, longest: u64) -> Self {
        // In a model, slices end when the model says so, and never by the clock.
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
