//! The estimate of how long tasks take, and so of how many to queue on a worker.

/// How much work a worker should have, in nanoseconds.
const AT_HAND: u64 = 2_000_000;

/// Tasks of this length or more are not queued ahead: to wait for the next one costs
/// little, and nothing gets stuck behind a long one.
const LONG: u64 = 5_000_000;

/// Tasks that take less cannot have slept: they need a processor all the time.
const TINY: u64 = 20_000;

/// A time that is as good as any longer one to tell that a task is not tiny.
const CUT: u64 = 4 * TINY;

/// The most tasks that a worker has at once.
const MOST: u64 = 1024;

/// Estimates how long tasks take.
#[derive(Clone, Copy, Debug, Default)]
pub struct PrefetchEstimate {
    /// Moving mean in nanoseconds; 0 before the first task is done.
    mean: u64,
    /// The same, of times that are cut at [`CUT`], and that rises no faster than it falls: a task
    /// from which the processor was taken says little of the others.
    usual: u64,
}

impl PrefetchEstimate {
    /// Takes one task into account. The mean rises quickly, because too many queued tasks
    /// would hurt, and falls slowly.
    pub fn learn(&mut self, elapsed: u64) {
        let elapsed = elapsed.max(1);
        let cut = elapsed.min(CUT);
        self.usual = match self.usual {
            0 => cut,
            usual => (usual * 15 + cut).div_ceil(16),
        };
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

    /// Tells whether tasks are so short that no more of them run at once than there are processors.
    #[must_use]
    pub fn is_tiny(self) -> bool {
        (1..TINY).contains(&self.usual)
    }

    /// Tells whether tasks are so short that replies may be read in batches.
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
        let mut prefetch = PrefetchEstimate::default();
        assert_eq!(prefetch.at_hand(), 2);
        prefetch.learn(1_000);
        assert_eq!(prefetch.at_hand(), 1024);
        for _ in 0..20 {
            prefetch.learn(100_000_000);
        }
        assert_eq!(prefetch.at_hand(), 1);
        assert!(!prefetch.is_fast());
        for _ in 0..200 {
            prefetch.learn(1_000);
        }
        assert!(prefetch.at_hand() > 100);
        assert!(prefetch.is_tiny());
        // One in ten was interrupted, or every second one has slept.
        for n in 0..1_000 {
            prefetch.learn(if n % 10 == 0 { 10_000_000 } else { 1_000 });
        }
        assert!(prefetch.is_tiny());
        for n in 0..1_000 {
            prefetch.learn(if n % 2 == 0 { 60_000 } else { 1_000 });
        }
        assert!(!prefetch.is_tiny());
    }
}
