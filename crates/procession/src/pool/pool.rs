//! The pool, seen from the process that made it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use procession_engine::os::time::Deadline;
use procession_engine::pool as engine;

use crate::codec;
use crate::error::Result;
use crate::function::{Callable, EntryRef};
use crate::pool::async_result::AsyncResult;
use crate::pool::builder::PoolBuilder;
use crate::pool::call::{Call, Deliver, MapCall, Pending as _, Token};
use crate::pool::imap::{Imap, ImapUnordered};
use crate::sync::uninterrupted;

/// Tasks that are handed in before the first results are back: enough to keep
/// many workers busy with tiny ones, few enough to hold in memory.
pub(crate) const LOOK_AHEAD: usize = 4096;

/// Worker processes that run functions.
///
/// Whoever waits for a result drives the pool: there is no thread behind it,
/// unless results are asked for that nobody waits for ([`apply_async`]).
/// A worker that dies costs the task that it was running, which fails with
/// `is_died`; its other tasks go to other workers, and a new one takes its
/// place. A panic comes home as an error, with its backtrace if
/// `RUST_BACKTRACE` asks for one, and is not printed. Dropping the pool
/// terminates it.
///
/// [`apply_async`]: Pool::apply_async
///
/// # Examples
///
/// ```
/// use procession::Pool;
///
/// fn doubler(number: u64) -> u64 {
///     number * 2
/// }
///
/// # procession::init();
/// let pool = Pool::new(2)?;
/// assert_eq!(pool.map(doubler, [5, 10, 15])?, [10, 20, 30]);
/// assert_eq!(pool.apply(|a: u64, b: u64| a + b, (1, 2))?, 3);
/// # Ok::<(), procession::Error>(())
/// ```
pub struct Pool {
    inner: Arc<Inner>,
}

/// What a pool shares with the results that are still out.
pub(crate) struct Inner {
    engine: engine::Pool<Deliver>,
    /// Jobs by function: workers keep what they have learnt of one.
    jobs: Mutex<HashMap<EntryRef, engine::Job>>,
}

/// One worker of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// Its place in the pool, from 0.
    pub index: u32,
    /// Its process id.
    pub pid: u32,
    /// How many tasks it has done.
    pub tasks_done: u64,
}

impl Pool {
    /// Starts a pool of `workers`.
    ///
    /// # Errors
    /// As [`PoolBuilder::start`].
    pub fn new(workers: usize) -> Result<Self> {
        Self::builder().workers(workers).start()
    }

    pub(super) fn of(engine: engine::Pool<Deliver>) -> Self {
        let jobs = Mutex::default();
        Self {
            inner: Arc::new(Inner { engine, jobs }),
        }
    }

    /// Begins to describe a pool.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }

    /// Runs a function in a worker and returns its result.
    ///
    /// # Errors
    /// `is_panic` when the function panicked, `is_died` when the worker died
    /// running it, `is_codec` when arguments or result do not cross,
    /// `is_closed` when the pool takes no more tasks.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// assert_eq!(pool.apply(|word: String| word.len(), "three".to_owned())?, 5);
    /// assert_eq!(pool.apply(u64::pow, (2, 10))?, 1024);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn apply<F: Callable<M>, M>(&self, function: F, arguments: F::Input) -> Result<F::Output> {
        self.call(function, arguments)?.wait_for_result()
    }

    /// Runs a function in a worker, and returns at once with a handle on its
    /// result.
    ///
    /// # Errors
    /// As [`apply`](Self::apply), for what shows before the function runs.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(2)?;
    /// let sum = pool.apply_async(|| (1..=10).sum::<u64>(), ())?;
    /// let product = pool.apply_async(|| (1..=10).product::<u64>(), ())?;
    /// assert_eq!((sum.get()?, product.get()?), (55, 3_628_800));
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn apply_async<F: Callable<M>, M>(
        &self,
        function: F,
        arguments: F::Input,
    ) -> Result<AsyncResult<F::Output>> {
        let result = self.call(function, arguments)?;
        self.inner.engine.attend()?;
        Ok(result)
    }

    fn call<F: Callable<M>, M>(
        &self,
        function: F,
        arguments: F::Input,
    ) -> Result<AsyncResult<F::Output>> {
        let call = Arc::new(Call::new(std::any::type_name::<F>()));
        let token = Token::new(call.clone(), 0);
        self.inner.submit(function, &arguments, token)?;
        Ok(AsyncResult::new(Arc::clone(&self.inner), call))
    }

    /// Runs a function on each input, and returns the results in the order of
    /// the inputs. For a function of several arguments the inputs are tuples,
    /// as for Python's `starmap`.
    ///
    /// # Errors
    /// The error of the first input, in their order, that failed; see
    /// [`apply`](Self::apply). The other inputs are run nevertheless.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(2)?;
    /// assert_eq!(pool.map(|n: u64| n * n, 1..=4)?, [1, 4, 9, 16]);
    /// // Several arguments.
    /// assert_eq!(pool.map(u64::pow, [(2, 3), (3, 2)])?, [8, 9]);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn map<F, M, I>(&self, function: F, inputs: I) -> Result<Vec<F::Output>>
    where
        F: Callable<M>,
        I: IntoIterator<Item = F::Input>,
    {
        let call = Arc::new(MapCall::new(std::any::type_name::<F>()));
        let mut handed_in = 0;
        for input in inputs {
            self.inner
                .submit(function, &input, Token::new(call.clone(), handed_in))
                .inspect_err(|_| call.abandon())?;
            handed_in += 1;
            if handed_in - call.done() >= LOOK_AHEAD {
                self.inner.drive(
                    &|| handed_in - call.done() <= LOOK_AHEAD / 2,
                    Deadline::NEVER,
                )?;
            }
        }
        call.expect(handed_in);
        self.inner.drive(&|| call.is_done(), Deadline::NEVER)?;
        call.take()
    }

    /// Runs a function on each input, and returns at once with a handle on the
    /// results, in the order of the inputs.
    ///
    /// # Errors
    /// When an input does not serialise, or the pool takes no more tasks;
    /// everything else shows in the results.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(2)?;
    /// let squares = pool.map_async(|n: u64| n * n, 1..=4)?;
    /// assert_eq!(squares.get()?, [1, 4, 9, 16]);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn map_async<F, M, I>(&self, function: F, inputs: I) -> Result<AsyncResult<Vec<F::Output>>>
    where
        F: Callable<M>,
        I: IntoIterator<Item = F::Input>,
    {
        let call = Arc::new(MapCall::new(std::any::type_name::<F>()));
        let mut handed_in = 0;
        for input in inputs {
            self.inner
                .submit(function, &input, Token::new(call.clone(), handed_in))
                .inspect_err(|_| call.abandon())?;
            handed_in += 1;
        }
        call.expect(handed_in);
        self.inner.engine.attend()?;
        Ok(AsyncResult::new(Arc::clone(&self.inner), call))
    }

    /// Runs a function on each input as the results are fetched, in the order
    /// of the inputs. The inputs may be endless: a bounded number is looked at
    /// ahead.
    ///
    /// # Errors
    /// The iterator's items are results, each with its own error.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(2)?;
    /// let mut squares = pool.imap(|n: u64| n * n, 1..);
    /// let first = squares.find(|square| square.as_ref().is_ok_and(|n| *n > 50));
    /// assert_eq!(first.transpose()?, Some(64));
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn imap<F, M, I>(&self, function: F, inputs: I) -> Imap<'_, F, M, I::IntoIter>
    where
        F: Callable<M>,
        I: IntoIterator<Item = F::Input>,
    {
        Imap::new(&self.inner, function, inputs.into_iter())
    }

    /// As [`imap`](Self::imap), in the order in which the results come.
    ///
    /// # Errors
    /// As [`imap`](Self::imap).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(2)?;
    /// let mut sum = 0;
    /// for square in pool.imap_unordered(|n: u64| n * n, 1..=4) {
    ///     sum += square?;
    /// }
    /// assert_eq!(sum, 30);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn imap_unordered<F, M, I>(
        &self,
        function: F,
        inputs: I,
    ) -> ImapUnordered<'_, F, M, I::IntoIter>
    where
        F: Callable<M>,
        I: IntoIterator<Item = F::Input>,
    {
        ImapUnordered::new(&self.inner, function, inputs.into_iter())
    }

    /// Returns what the workers are at.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(2)?;
    /// pool.map(|n: u8| n, 0..10)?;
    /// let done: u64 = pool.workers().iter().map(|worker| worker.tasks_done).sum();
    /// assert_eq!(done, 10);
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn workers(&self) -> Vec<WorkerInfo> {
        let info = |view: engine::WorkerView| WorkerInfo {
            index: view.index,
            pid: view.pid,
            tasks_done: view.done,
        };
        self.inner.engine.workers().into_iter().map(info).collect()
    }

    /// Takes no more tasks; the workers end when they have done what they have.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// let pending = pool.apply_async(|| 42, ())?;
    /// pool.close();
    /// assert!(pool.apply(|| 43, ()).unwrap_err().is_closed());
    /// pool.join()?;
    /// assert_eq!(pending.get()?, 42);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn close(&self) {
        self.inner.engine.close();
    }

    /// Ends the workers, busy or not; what they have not done fails.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Event, Pool};
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// let stuck = pool.apply_async(|go: Event| go.wait().is_ok(), Event::new()?)?;
    /// pool.terminate();
    /// pool.join()?;
    /// assert!(stuck.get().unwrap_err().is_closed());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn terminate(&self) {
        self.inner.engine.terminate();
    }

    /// Blocks until all workers have ended, after [`close`](Self::close) or
    /// [`terminate`](Self::terminate).
    ///
    /// # Errors
    /// `is_invalid` when the pool is still open.
    pub fn join(&self) -> Result<()> {
        uninterrupted(|| self.inner.engine.join(Deadline::NEVER))
    }

    /// As [`join`](Self::join), for at most `timeout`.
    ///
    /// # Errors
    /// As [`join`](Self::join), and `is_timeout`.
    pub fn join_timeout(&self, timeout: Duration) -> Result<()> {
        let deadline = Deadline::after(timeout);
        uninterrupted(|| self.inner.engine.join(deadline))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.terminate();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("workers", &self.workers())
            .finish_non_exhaustive()
    }
}

impl Inner {
    /// Hands in a task.
    pub(crate) fn submit<F: Callable<M>, M>(
        &self,
        function: F,
        input: &F::Input,
        token: Token,
    ) -> Result<()> {
        let what = std::any::type_name::<F>();
        let mut bytes = codec::encode(input, format_args!("the arguments of {what}"))?;
        let payload = match bytes.take_block() {
            Some((block, len)) => engine::Payload::Block(block, len as u64),
            None => engine::Payload::new(&[&bytes])?,
        };
        let task = engine::Task {
            token,
            payload,
            job: Some(self.job(EntryRef::of(function)?)?),
        };
        Ok(self.engine.submit(task)?)
    }

    /// Drives the pool until `done`.
    pub(crate) fn drive(&self, done: &dyn Fn() -> bool, deadline: Deadline) -> Result<()> {
        uninterrupted(|| self.engine.drive(done, deadline))
    }

    fn job(&self, entry: EntryRef) -> Result<engine::Job> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(job) = jobs.get(&entry) {
            return Ok(job.clone());
        }
        let job = engine::Job::new(&codec::encode(&entry, "a function")?)?;
        jobs.insert(entry, job.clone());
        Ok(job)
    }
}
