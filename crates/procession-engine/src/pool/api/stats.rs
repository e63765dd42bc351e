//! What a pool tells of its work: how many tasks, for how long, by worker and by function.
//!
//! Leaves out the counting, which `pool/owner/tally.rs` does as replies are read.

use std::fmt;
use std::time::Duration;

/// What a pool has done since it was made, and what it does.
#[derive(Clone, Debug)]
pub struct PoolStats {
    /// How long ago the pool was made.
    pub age: Duration,
    /// How many tasks were handed in. Those that a source has yet to make are not among them.
    pub submitted: u64,
    /// How many of them have not begun: they wait for a worker, or were given to one that runs
    /// another task.
    pub waiting: usize,
    /// How many of them run.
    pub running: usize,
    /// All work together.
    pub work: WorkStats,
    /// The workers, by their places in the pool.
    pub workers: Vec<WorkerStats>,
    /// The functions, in the order in which they were first used.
    pub functions: Vec<FunctionStats>,
}

/// What was done at one place in the pool, by all workers that have had it, one after the other.
#[derive(Clone, Debug)]
pub struct WorkerStats {
    /// The place, from 0.
    pub index: u32,
    /// The process id of the worker that has the place now, if one has.
    pub pid: Option<u32>,
    /// How many workers have had the place.
    pub starts: u32,
    /// How many of them have died; workers that the pool had told to end are not counted.
    pub deaths: u32,
    /// How long they took from their start until they were ready for tasks.
    pub starting: Duration,
    /// How long they waited for tasks.
    pub waiting: Duration,
    /// How long the running task has been running, if one runs.
    pub running: Option<Duration>,
    /// How many tasks the worker has been given that it has not begun.
    pub queued: u32,
    /// What they have done.
    pub work: WorkStats,
}

/// What was done by calls of one function.
#[derive(Clone, Debug)]
pub struct FunctionStats {
    /// The name, as the face has given it.
    pub name: String,
    /// What was done.
    pub work: WorkStats,
}

/// Counts and times of tasks.
#[derive(Clone, Debug, Default)]
pub struct WorkStats {
    /// How many tasks were replied to.
    pub tasks: u64,
    /// How many calls they were: a task of a map may have several inputs.
    pub calls: u64,
    /// How many tasks have failed, by an error of the function.
    pub failed: u64,
    /// How many tasks were lost with their worker, which died.
    pub deaths: u64,
    /// How many tasks were run again after that.
    pub retries: u64,
    /// How many tasks were killed because they took too long.
    pub timeouts: u64,
    /// How many tasks were killed because they were cancelled.
    pub cancelled: u64,
    /// Bytes of the tasks' inputs.
    pub bytes_sent: u64,
    /// Bytes of the tasks' results.
    pub bytes_received: u64,
    /// How long the calls took.
    pub times: CallTimes,
}

/// How long calls took: their sum, the extremes, and how many took how long.
///
/// The calls of a task that has several are counted as if all had taken equally long.
#[derive(Clone)]
pub struct CallTimes {
    /// The time of all calls together, in nanoseconds; so are the two below.
    sum: u64,
    shortest: u64,
    longest: u64,
    /// How many calls are in each bucket (`bucket_of`); empty until there is a call.
    buckets: Vec<u64>,
}

/// How many buckets there are for each doubling of the time. With 8, a time that is read from its
/// bucket is wrong by a sixteenth at most.
const BUCKETS_PER_DOUBLING: u64 = 8;

const BUCKETS: usize = 62 * BUCKETS_PER_DOUBLING as usize;

impl CallTimes {
    /// Counts so many calls, which took so many nanoseconds together.
    pub(crate) fn add(&mut self, elapsed: u64, calls: u64) {
        let each = if calls > 1 { elapsed / calls } else { elapsed };
        self.sum = self.sum.saturating_add(elapsed);
        self.shortest = self.shortest.min(each);
        self.longest = self.longest.max(each);
        if self.buckets.is_empty() {
            self.buckets = vec![0; BUCKETS];
        }
        self.buckets[bucket_of(each)] += calls;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.sum = self.sum.saturating_add(other.sum);
        self.shortest = self.shortest.min(other.shortest);
        self.longest = self.longest.max(other.longest);
        if self.buckets.is_empty() {
            self.buckets.clone_from(&other.buckets);
            return;
        }
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
    }

    /// Returns how long all took together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum)
    }

    /// Returns how long the shortest took; `None` while there was none.
    #[must_use]
    pub fn shortest(&self) -> Option<Duration> {
        (!self.buckets.is_empty()).then(|| Duration::from_nanos(self.shortest))
    }

    /// Returns how long the longest took; `None` while there was none.
    #[must_use]
    pub fn longest(&self) -> Option<Duration> {
        (!self.buckets.is_empty()).then(|| Duration::from_nanos(self.longest))
    }

    /// Returns how long a call took at most, for the given part of the calls: 0.5 asks for the
    /// median. It is right to a sixteenth; `None` if there was no call yet.
    ///
    /// # Panics
    /// When `part` is not between 0 and 1.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        assert!(
            (0.0..=1.0).contains(&part),
            "a quantile is between 0 and 1, not {part}"
        );
        if part == 0.0 || part == 1.0 {
            return if part == 0.0 {
                self.shortest()
            } else {
                self.longest()
            };
        }
        let count: u64 = self.buckets.iter().sum();
        let rank = ((part * count as f64).ceil() as u64).max(1);
        let mut before = 0;
        let at = self.buckets.iter().position(|calls| {
            before += calls;
            before >= rank
        })?;
        let (low, width) = bounds_of(at as u64);
        let middle = low + width / 2;
        Some(Duration::from_nanos(
            middle.clamp(self.shortest, self.longest),
        ))
    }
}

impl Default for CallTimes {
    fn default() -> Self {
        Self {
            sum: 0,
            shortest: u64::MAX,
            longest: 0,
            buckets: Vec::new(),
        }
    }
}

impl fmt::Debug for CallTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallTimes")
            .field("sum", &self.sum())
            .field("shortest", &self.shortest())
            .field("median", &self.quantile(0.5))
            .field("longest", &self.longest())
            .finish()
    }
}

/// Returns the bucket of a time: one for each time below 8 ns, and then 8 for each doubling.
fn bucket_of(time: u64) -> usize {
    if time < BUCKETS_PER_DOUBLING {
        return time as usize;
    }
    let doublings = u64::from(time.ilog2()) - 2;
    let within = time >> (doublings - 1) & (BUCKETS_PER_DOUBLING - 1);
    (doublings * BUCKETS_PER_DOUBLING + within) as usize
}

/// Returns where the times of a bucket begin, and how far apart they are.
fn bounds_of(bucket: u64) -> (u64, u64) {
    if bucket < BUCKETS_PER_DOUBLING {
        return (bucket, 1);
    }
    let shift = bucket / BUCKETS_PER_DOUBLING - 1;
    let within = bucket % BUCKETS_PER_DOUBLING;
    ((BUCKETS_PER_DOUBLING + within) << shift, 1 << shift)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_time_lies_within_its_bucket() {
        for shift in 0..64 {
            for time in [1u64 << shift, (1 << shift) + 1, (1 << shift) - 1, u64::MAX] {
                let bucket = bucket_of(time);
                let (low, width) = bounds_of(bucket as u64);
                assert!(bucket < BUCKETS, "{time}");
                assert!(low <= time && time - low < width, "{time}: {low}, {width}");
                assert!(width == 1 || width <= low / 8, "{time}: {low}, {width}");
            }
        }
    }

    #[test]
    fn quantiles_are_those_of_what_was_counted() {
        let mut times = CallTimes::default();
        assert_eq!((times.quantile(0.5), times.longest()), (None, None));
        for time in 1..=1000 {
            times.add(time * 1_000, 1);
        }
        for part in [0.1, 0.5, 0.9, 0.99] {
            let found = times.quantile(part).unwrap().as_nanos() as f64;
            assert!(
                (found / (part * 1e6) - 1.0).abs() < 1.0 / 16.0,
                "{part}: {found}"
            );
        }
        assert_eq!(times.quantile(0.0), Some(Duration::from_micros(1)));
        assert_eq!(times.quantile(1.0), Some(Duration::from_millis(1)));
        assert_eq!(times.longest(), Some(Duration::from_millis(1)));
        assert_eq!(times.sum(), Duration::from_micros(500_500));
    }

    #[test]
    fn calls_of_one_task_count_as_equally_long() {
        let (mut times, mut other) = (CallTimes::default(), CallTimes::default());
        times.add(1_000_000, 10);
        other.add(200_000, 2);
        times.merge(&other);
        assert_eq!(times.shortest(), times.longest());
        assert_eq!(times.quantile(0.5), Some(Duration::from_micros(100)));
        assert_eq!(times.sum(), Duration::from_micros(1_200));
    }
}
