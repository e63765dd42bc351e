//! When a worker began its task, in one word.
//!
//! The word also has the task's number. Between the moment in which a worker takes a task and the
//! one in which it begins the task, the word is still that of the task before, and the pool must
//! not count that time.

use std::time::Duration;

use procession_sys::primitive::{AtomicU64, Ordering};

/// Bits of the task's number, the low part of the word. Numbers repeat after a million
/// tasks, but the pool only asks about a task that was posted and not replied to.
const NUMBER_BITS: u32 = 20;

const NUMBER: u64 = (1 << NUMBER_BITS) - 1;

/// The time is counted in units of 1,024 ns. The rest of the word wraps after 208 days, and
/// so may differences of times.
const UNIT_BITS: u32 = 10;

/// The number under which a worker notes that it has begun to set itself up; tasks are numbered
/// from 1.
pub const SETUP: u64 = 0;

/// Holds the number of the task that began last, and when it began, in time since boot.
#[derive(Debug)]
#[repr(transparent)]
pub struct TaskClock(AtomicU64);

impl TaskClock {
    /// Notes that the task with this number, from 1, began at `now`.
    pub fn store(&self, number: u64, now: u64) {
        let word = (now >> UNIT_BITS) << NUMBER_BITS | number & NUMBER;
        // Relaxed: nothing else is read because of it.
        self.0.store(word, Ordering::Relaxed);
    }

    /// Notes that no task has begun.
    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Returns how long the task with this number has been running at `now`;
    /// `None` when it was not the last that began.
    pub fn elapsed(&self, number: u64, now: u64) -> Option<Duration> {
        let word = self.0.load(Ordering::Relaxed);
        if word == 0 || word & NUMBER != number & NUMBER {
            return None;
        }
        let began = word >> NUMBER_BITS;
        let units = (now >> UNIT_BITS).wrapping_sub(began) & (u64::MAX >> NUMBER_BITS);
        // The clocks of two processors may differ by a little.
        let is_ahead = units > u64::MAX >> (NUMBER_BITS + 1);
        let units = if is_ahead { 0 } else { units };
        Some(Duration::from_nanos(units << UNIT_BITS))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn time_counts_for_the_task_that_began_last() {
        let clock = TaskClock(AtomicU64::new(0));
        assert_eq!(clock.elapsed(0, 5_000_000), None);
        for number in [1, 2, NUMBER, NUMBER + 1, NUMBER + 2] {
            clock.store(number, 7_000_000_000);
            let elapsed = clock.elapsed(number, 7_005_000_000).unwrap();
            assert_eq!(elapsed.as_millis(), 5);
            assert_eq!(clock.elapsed(number + 1, 7_005_000_000), None);
            assert_eq!(clock.elapsed(number, 6_999_990_000), Some(Duration::ZERO));
        }
    }

    #[test]
    fn time_goes_on_when_the_word_wraps() {
        let clock = TaskClock(AtomicU64::new(0));
        let wrap = 1u64 << (64 - NUMBER_BITS + UNIT_BITS);
        clock.store(3, wrap - 1_024_000);
        let elapsed = clock.elapsed(3, wrap + 1_024_000).unwrap();
        assert_eq!(elapsed.as_micros(), 2_048);
    }
}
