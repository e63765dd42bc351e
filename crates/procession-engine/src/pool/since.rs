//! Since when a worker has been running its task, in one word.
//!
//! The word names the task, too: a pool that looks between the taking of a task
//! and its beginning must not count the time of the one before.

use std::time::Duration;

use crate::primitive::{AtomicU64, Ordering};

/// Bits of the task's number, the lower half of the word. A worker would have
/// to do a million tasks between two stores to be taken for another.
const NUMBER_BITS: u32 = 20;

const NUMBER: u64 = (1 << NUMBER_BITS) - 1;

/// The time is counted in units of 1,024 ns: the rest of the word holds 208
/// days of them, and differences may wrap.
const UNIT_BITS: u32 = 10;

/// Says which task began last, and when, by the clock since boot.
#[derive(Debug)]
#[repr(transparent)]
pub struct Since(AtomicU64);

impl Since {
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
        let since = Since(AtomicU64::new(0));
        assert_eq!(since.elapsed(0, 5_000_000), None);
        for number in [1, 2, NUMBER, NUMBER + 1, NUMBER + 2] {
            since.store(number, 7_000_000_000);
            let elapsed = since.elapsed(number, 7_005_000_000).unwrap();
            assert_eq!(elapsed.as_millis(), 5);
            assert_eq!(since.elapsed(number + 1, 7_005_000_000), None);
            assert_eq!(since.elapsed(number, 6_999_990_000), Some(Duration::ZERO));
        }
    }

    #[test]
    fn time_goes_on_when_the_word_wraps() {
        let since = Since(AtomicU64::new(0));
        let wrap = 1u64 << (64 - NUMBER_BITS + UNIT_BITS);
        since.store(3, wrap - 1_024_000);
        let elapsed = since.elapsed(3, wrap + 1_024_000).unwrap();
        assert_eq!(elapsed.as_micros(), 2_048);
    }
}
