//! How long tasks take lately, and how many a worker should have at hand.

/// The work that a worker should have at hand, in nanoseconds.
const AT_HAND: u64 = 2_000_000;

/// From this length on a worker gets no task ahead: waiting for the next one
/// costs it little, and nothing is stuck behind a long one.
const LONG: u64 = 5_000_000;

/// The most tasks a worker gets.
const MOST: u64 = 1024;

/// Follows the length of tasks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// Moving mean in nanoseconds; 0 before the first task is done.
    mean: u64,
}

impl Pace {
    /// Learns from one task. It follows quickly upwards, where too much at
    /// hand would hurt, and slowly downwards.
    pub fn learn(&mut self, elapsed: u64) {
        let elapsed = elapsed.max(1);
        self.mean = if self.mean == 0 {
            elapsed
        } else if elapsed > self.mean {
            self.mean + (elapsed - self.mean).div_ceil(4)
        } else {
            self.mean - (self.mean - elapsed) / 16
        };
    }

    /// Returns how many tasks a worker should have, the running one included.
    #[must_use]
    pub fn at_hand(self) -> u32 {
        match self.mean {
            0 => 2,
            LONG.. => 1,
            mean => (AT_HAND / mean).clamp(2, MOST) as u32,
        }
    }

    /// Tells whether results come so fast that they may arrive in batches.
    #[must_use]
    pub fn is_fast(self) -> bool {
        (1..200_000).contains(&self.mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_tasks_are_queued_and_long_ones_are_not() {
        let mut pace = Pace::default();
        assert_eq!(pace.at_hand(), 2);
        pace.learn(1_000);
        assert_eq!(pace.at_hand(), 1024);
        for _ in 0..20 {
            pace.learn(100_000_000);
        }
        assert_eq!(pace.at_hand(), 1);
        assert!(!pace.is_fast());
        for _ in 0..200 {
            pace.learn(1_000);
        }
        assert!(pace.at_hand() > 100);
    }
}
