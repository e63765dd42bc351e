//! What a pool has done, by worker and by function.

use std::time::Duration;

use procession_engine::pool as engine;

/// What a pool has done since it was made, and what it does; from [`Pool::stats`].
///
/// [`Pool::stats`]: crate::Pool::stats
///
/// # Examples
///
/// ```
/// use procession::Pool;
///
/// # procession::init();
/// let pool = Pool::new(1)?;
/// pool.map(|n: u32| n + 1, 0..100)?;
/// let stats = pool.stats()?;
/// assert_eq!((stats.waiting, stats.running), (0, 0));
/// assert_eq!(stats.work.calls, 100);
/// println!("{} tasks in {:?}", stats.submitted, stats.age);
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoolStats {
    /// How long ago the pool was made.
    pub age: Duration,
    /// How many tasks were handed in. Those of an `imap` are as its results are fetched.
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
    /// The functions, in the order in which they were first called.
    pub functions: Vec<FunctionStats>,
}

/// What was done at one place in the pool, by all workers that have had it, one after the other.
///
/// # Examples
///
/// ```
/// use procession::Pool;
///
/// # procession::init();
/// let pool = Pool::new(2)?;
/// pool.map(|n: u32| n + 1, 0..100)?;
/// for worker in pool.stats()?.workers {
///     println!("{}: {:?} of work, {:?} of waiting", worker.index, worker.work.total(), worker.waiting);
///     assert_eq!((worker.starts, worker.deaths), (1, 0));
/// }
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerStats {
    /// The place, from 0.
    pub index: u32,
    /// The process id of the worker that has the place now, if one has.
    pub pid: Option<u32>,
    /// How many workers have had the place.
    pub starts: u32,
    /// How many of them have died; workers that the pool had told to end are not counted.
    pub deaths: u32,
    /// How long they took until they were ready for tasks.
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
///
/// # Examples
///
/// ```
/// use procession::Pool;
///
/// fn double(number: u32) -> u32 {
///     number * 2
/// }
///
/// # procession::init();
/// let pool = Pool::new(1)?;
/// pool.map(double, 0..100)?;
/// let functions = pool.stats()?.functions;
/// assert!(functions[0].name.ends_with("double"));
/// assert_eq!(functions[0].work.calls, 100);
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FunctionStats {
    /// The name, as [`std::any::type_name`] gives it.
    pub name: String,
    /// What was done.
    pub work: WorkStats,
}

/// Counts and times of tasks.
///
/// # Examples
///
/// ```
/// use procession::Pool;
///
/// # procession::init();
/// let pool = Pool::new(1)?;
/// pool.apply(|| "four".to_owned(), ())?;
/// let _ = pool.apply(|| -> u8 { panic!("no luck") }, ());
/// let work = pool.stats()?.work;
/// assert_eq!((work.tasks, work.calls, work.failed), (2, 2, 1));
/// assert!(work.bytes_received > 0);
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkStats {
    /// How many tasks have come to an end.
    pub tasks: u64,
    /// How many calls of functions they were: a task of a map may have several inputs.
    pub calls: u64,
    /// How many tasks have panicked, or could not send their result.
    pub failed: u64,
    /// How many tasks were lost with their worker, which died.
    pub deaths: u64,
    /// How often a task was run again after that.
    pub retries: u64,
    /// How many tasks were killed because they took too long.
    pub timeouts: u64,
    /// How many running tasks were killed because they were cancelled.
    pub cancelled: u64,
    /// Bytes of the tasks' inputs.
    pub bytes_sent: u64,
    /// Bytes of the tasks' results.
    pub bytes_received: u64,
    times: engine::CallTimes,
}

impl WorkStats {
    /// Returns how long all calls took together.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// pool.map(|n: u8| n, 0..10)?;
    /// let work = pool.stats()?.work;
    /// assert!(work.shortest() <= work.quantile(0.5) && work.quantile(0.5) <= work.longest());
    /// assert!(work.longest() <= Some(work.total()));
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn total(&self) -> Duration {
        self.times.sum()
    }

    /// Returns how long the shortest call took; `None` while there was none.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{thread, time::Duration};
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// assert_eq!(pool.stats()?.work.shortest(), None);
    /// pool.apply(|| thread::sleep(Duration::from_millis(2)), ())?;
    /// assert!(pool.stats()?.work.shortest() >= Some(Duration::from_millis(2)));
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn shortest(&self) -> Option<Duration> {
        self.times.shortest()
    }

    /// Returns how long the longest call took; `None` while there was none.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{thread, time::Duration};
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// pool.map(|millis: u64| thread::sleep(Duration::from_millis(millis)), [1, 5])?;
    /// assert!(pool.stats()?.work.longest() >= Some(Duration::from_millis(5)));
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn longest(&self) -> Option<Duration> {
        self.times.longest()
    }

    /// Returns how long a call took at most, for the given part of the calls: 0.5 asks for the
    /// median. It is right to a sixteenth; `None` if there was no call yet. The calls of a task
    /// that has several inputs are counted as if all had taken equally long.
    ///
    /// # Panics
    /// When `part` is not between 0 and 1.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// pool.map(|n: u32| n + 1, 0..100)?;
    /// let work = pool.stats()?.work;
    /// println!("half of the calls took at most {:?}", work.quantile(0.5).unwrap());
    /// assert!(work.quantile(0.5) <= work.quantile(0.99));
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        self.times.quantile(part)
    }
}

impl From<engine::PoolStats> for PoolStats {
    fn from(stats: engine::PoolStats) -> Self {
        Self {
            age: stats.age,
            submitted: stats.submitted,
            waiting: stats.waiting,
            running: stats.running,
            work: stats.work.into(),
            workers: stats.workers.into_iter().map(Into::into).collect(),
            functions: stats.functions.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<engine::WorkerStats> for WorkerStats {
    fn from(stats: engine::WorkerStats) -> Self {
        Self {
            index: stats.index,
            pid: stats.pid,
            starts: stats.starts,
            deaths: stats.deaths,
            starting: stats.starting,
            waiting: stats.waiting,
            running: stats.running,
            queued: stats.queued,
            work: stats.work.into(),
        }
    }
}

impl From<engine::FunctionStats> for FunctionStats {
    fn from(stats: engine::FunctionStats) -> Self {
        Self {
            name: stats.name,
            work: stats.work.into(),
        }
    }
}

impl From<engine::WorkStats> for WorkStats {
    fn from(stats: engine::WorkStats) -> Self {
        Self {
            tasks: stats.tasks,
            calls: stats.calls,
            failed: stats.failed,
            deaths: stats.deaths,
            retries: stats.retries,
            timeouts: stats.timeouts,
            cancelled: stats.cancelled,
            bytes_sent: stats.bytes_sent,
            bytes_received: stats.bytes_received,
            times: stats.times,
        }
    }
}
