//! The pool, seen from the process that made it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use procession_engine::pool as engine;
use procession_engine::sys::wait::time::Deadline;
use serde_core::Serialize;
use serde_core::de::DeserializeOwned;

use crate::distributed::{Engine, NodeInfo, RemotePool};
use crate::error::Result;
use crate::function::{Callable, CapturesNothing, EntryRef, must_be_bare};
use crate::pool::async_result::AsyncResult;
use crate::pool::calls::Calls;
use crate::pool::carrier::Carrier;
use crate::pool::core::Core;
use crate::pool::imap::Imap;
use crate::pool::stats::PoolStats;
use crate::pool::terms::Terms;
use crate::sync::uninterrupted;

/// Worker processes that run functions.
///
/// The thread that waits for a result drives the pool. There is no other thread behind it, unless
/// results are asked for that no thread waits for ([`apply_async`]). A worker that dies costs the
/// task that it was running, which fails with `is_died`; its other tasks go to other workers, and a
/// new one takes its place. A worker that dies without having been given a task is replaced, too;
/// but a hundred of these in ten seconds, or a few in a row that have not even set themselves up,
/// end the pool. A panic comes back to the caller as an error, with its backtrace if
/// `RUST_BACKTRACE` asks for one, and is not printed. Dropping the pool terminates it.
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
    core: Arc<Core>,
    /// Limits and retries of tasks whose call sets none.
    policy: engine::TaskPolicy,
}

/// One worker of a pool.
///
/// # Examples
///
/// ```
/// use procession::Pool;
///
/// # procession::init();
/// let pool = Pool::new(2)?;
/// pool.map(|n: u32| n, 0..10)?;
/// for worker in pool.workers() {
///     println!("{}: process {} has done {} tasks", worker.index, worker.pid, worker.tasks_done);
/// }
/// # assert_eq!(pool.workers().len(), 2);
/// # Ok::<(), procession::Error>(())
/// ```
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
    pub(super) fn of(carrier: Carrier, policy: engine::TaskPolicy) -> Self {
        Self {
            core: Arc::new(Core::new(carrier)),
            policy,
        }
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
        const { must_be_bare::<F>() };
        self.calls().apply(function, arguments)
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
        const { must_be_bare::<F>() };
        self.calls().apply_async(function, arguments)
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
        const { must_be_bare::<F>() };
        self.calls().map(function, inputs)
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
        const { must_be_bare::<F>() };
        self.calls().map_async(function, inputs)
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
    pub fn imap<F, M, I>(&self, function: F, inputs: I) -> Imap<'_, I::IntoIter, F::Output>
    where
        F: Callable<M>,
        I: IntoIterator<Item = F::Input>,
    {
        const { must_be_bare::<F>() };
        self.calls().imap(function, inputs)
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
    ) -> Imap<'_, I::IntoIter, F::Output>
    where
        F: Callable<M>,
        I: IntoIterator<Item = F::Input>,
    {
        const { must_be_bare::<F>() };
        self.calls().imap_unordered(function, inputs)
    }

    /// As [`map`](Self::map), with a context: what all calls need and a closure would have
    /// captured. It is serialised once, however many inputs there are, and deserialised once
    /// in each worker (once more after a panic, and where the tasks of more than four such maps
    /// are mixed).
    ///
    /// The function is called with a reference to it. For several arguments the inputs are
    /// tuples, which it takes as one argument.
    ///
    /// # Errors
    /// As [`map`](Self::map), and `is_codec` when the context does not cross.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(2)?;
    /// let prices = std::collections::HashMap::from([("tea".to_owned(), 3), ("cake".to_owned(), 4)]);
    /// let order = [("tea".to_owned(), 2), ("cake".to_owned(), 1)];
    /// let sums = pool.map_with(&prices, |prices, (what, count)| prices[&what] * count, order)?;
    /// assert_eq!(sums, [6, 4]);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn map_with<C, F, A, R>(
        &self,
        context: &C,
        function: F,
        inputs: impl IntoIterator<Item = A>,
    ) -> Result<Vec<R>>
    where
        C: Serialize + DeserializeOwned + 'static,
        F: Fn(&C, A) -> R + CapturesNothing,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        const { must_be_bare::<F>() };
        self.calls().map_with(context, function, inputs)
    }

    /// As [`map`](Self::map), with what `init` makes in each worker before the first call there:
    /// a connection, a buffer, a random generator. It never crosses, so it may be of any type.
    /// It is made anew after a panic, and where the tasks of more than four such maps are mixed.
    ///
    /// # Errors
    /// As [`map`](Self::map). A panic of `init` is the panic of the call that needed it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// let count = |calls: &mut Vec<u64>, n: u64| {
    ///     calls.push(n);
    ///     calls.len()
    /// };
    /// assert_eq!(pool.map_init(Vec::new, count, [5, 6, 7])?, [1, 2, 3]);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn map_init<N, S, F, A, R>(
        &self,
        init: N,
        function: F,
        inputs: impl IntoIterator<Item = A>,
    ) -> Result<Vec<R>>
    where
        N: Fn() -> S + CapturesNothing,
        S: 'static,
        F: Fn(&mut S, A) -> R + CapturesNothing,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        const { must_be_bare::<N>() };
        const { must_be_bare::<F>() };
        self.calls().map_init(init, function, inputs)
    }

    /// Returns the pool's calls with a limit: a task that takes longer once it
    /// runs is killed with its worker, and fails with `is_timeout`. Nothing
    /// else is lost. Of a map, it is the limit of each task.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use procession::{Event, Pool};
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// let quick = pool.timeout(Duration::from_millis(50));
    /// let stuck = quick.apply(|never: Event| never.wait().is_ok(), Event::new()?);
    /// assert!(stuck.unwrap_err().is_timeout());
    /// assert_eq!(pool.apply(|| 42, ())?, 42);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn timeout(&self, limit: Duration) -> Calls<'_> {
        self.calls().timeout(limit)
    }

    /// Returns the pool's calls with retries, for tasks that may run twice: a task whose worker
    /// dies in it is run again, up to `times` times. After that it fails with `is_died`, and the
    /// error says how often it was tried. A task that panics or times out is not run again.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Pool, Shared};
    /// # procession::init();
    /// fn dies_at_first(calls: Shared<u32>) -> u32 {
    ///     let mut called = 0;
    ///     let _ = calls.update(|calls| {
    ///         *calls += 1;
    ///         called = *calls;
    ///     });
    ///     if called == 1 {
    ///         std::process::abort();
    ///     }
    ///     called
    /// }
    ///
    /// let pool = Pool::new(1)?;
    /// assert_eq!(pool.retries(1).apply(dies_at_first, Shared::new(0)?)?, 2);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn retries(&self, times: u32) -> Calls<'_> {
        self.calls().retries(times)
    }

    /// Returns the pool's calls with a priority: their tasks begin before all that have a lower
    /// one and have not begun, whichever call came first. Without one it is 0. Those that run
    /// go on.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Event, Pool, Queue};
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// let (go, order) = (Event::new()?, Queue::new()?);
    /// let busy = pool.apply_async(|go: Event| go.wait().is_ok(), go.clone())?;
    /// let note = |order: Queue<u8>, number: u8| order.put(number).is_ok();
    /// let later = pool.priority(-1).apply_async(note, (order.clone(), 2))?;
    /// let sooner = pool.priority(1).apply_async(note, (order.clone(), 1))?;
    /// go.set();
    /// assert!(busy.get()? && later.get()? && sooner.get()?);
    /// assert_eq!((order.get()?, order.get()?), (1, 2));
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn priority(&self, priority: i32) -> Calls<'_> {
        self.calls().priority(priority)
    }

    /// Returns the pool's calls with chunks: so many inputs of a map make one task, which a
    /// worker takes and answers at once. That is quicker where a call takes less than some
    /// microseconds; otherwise leave the size at 1, so that no worker is idle while another
    /// has the rest of a chunk before it.
    ///
    /// Each input has a result of its own, and a panic is that of its input alone. What
    /// ends a task ends its chunk: a timeout is that of all its calls together, and when a
    /// worker dies, or a result does not cross, all inputs of the chunk fail with that.
    ///
    /// # Errors
    /// A size of 0 is refused by the call that is made so, with `is_invalid`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(2)?;
    /// let squares = pool.chunk_size(100).map(|n: u64| n * n, 0..1000)?;
    /// assert_eq!(squares[999], 998_001);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn chunk_size(&self, inputs: usize) -> Calls<'_> {
        self.calls().chunk_size(inputs)
    }

    /// Returns the pool's calls with a fixed order of workers: of each map, the task number `i`, which
    /// has one input or a chunk, goes to the worker whose index is `i` modulo the pool's size. So what a worker
    /// keeps between calls meets the same inputs in each map.
    ///
    /// A worker that comes in the place of one that has died has its index, and its tasks; that it
    /// is being replaced, or busy, holds up its own tasks alone. When the pool is resized, tasks that no
    /// worker has are dealt by the new size; if it shrinks while its first workers are idle and others
    /// are not, the latter are what is left, and have the tasks of the indices that are
    /// missing. A higher [priority](Self::priority) still goes first.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Pool, current_process};
    /// # procession::init();
    /// let pool = Pool::new(2)?;
    /// let index = |_: u32| current_process().worker_index();
    /// let indices = pool.order_tasks().map(index, 0..4)?;
    /// assert_eq!(indices, [Some(0), Some(1), Some(0), Some(1)]);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn order_tasks(&self) -> Calls<'_> {
        self.calls().order_tasks()
    }

    pub(super) fn calls(&self) -> Calls<'_> {
        Calls::new(Terms::new(&self.core, self.policy))
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
        self.core.carrier.close();
    }

    /// Blocks until all workers have ended, after [`close`](Self::close) or
    /// [`terminate`](Self::terminate).
    ///
    /// # Errors
    /// `is_invalid` when the pool is still open.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// let result = pool.apply_async(|| 1, ())?;
    /// pool.close();
    /// pool.join()?;
    /// assert_eq!(result.get()?, 1);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn join(&self) -> Result<()> {
        self.core.carrier.join(Deadline::NEVER)
    }

    /// As [`join`](Self::join), for at most `timeout`.
    ///
    /// # Errors
    /// As [`join`](Self::join), and `is_timeout`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// pool.close();
    /// pool.join_timeout(Duration::from_secs(60))?;
    /// assert!(pool.workers().is_empty());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn join_timeout(&self, timeout: Duration) -> Result<()> {
        let deadline = Deadline::after(timeout);
        self.core.carrier.join(deadline).map_err(|error| {
            let left = match &self.core.carrier {
                Carrier::Local(pool) => format!("{} workers", pool.workers().len()),
                Carrier::Remote(_) => "tasks".to_owned(),
            };
            error.or_late(format_args!(
                "{left} of the pool had not ended after {timeout:?}: wait longer, or terminate it"
            ))
        })
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
        self.core.carrier.terminate();
    }

    /// Makes a pool whose tasks an engine carries to other machines, where this program runs as a
    /// node: with the crate `procession-nats`,
    /// `Pool::on(procession_nats::connect("nats://hub:4222")?)`.
    ///
    /// Functions, closures, chunks, contexts, time limits, retries, priorities, cancels and futures
    /// are those of any pool. A task whose node is gone fails with
    /// [`is_node_lost`](crate::Error::is_node_lost), or runs again if it may by its
    /// [`retries`](Self::retries). What lies in the memory of one machine is refused as an argument.
    ///
    /// # Errors
    /// [`is_unavailable`](crate::Error::is_unavailable) when the engine cannot be reached, and
    /// what else it says.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession::distributed::Engine;
    /// use procession::{Pool, Result};
    ///
    /// /// Has any engine carry the tasks; the page of `Engine` has one.
    /// fn squares(engine: impl Engine) -> Result<Vec<u64>> {
    ///     Pool::on(engine)?.map(|n: u64| n * n, 1..=4)
    /// }
    /// ```
    pub fn on(engine: impl Engine) -> Result<Self> {
        let remote = RemotePool::new(engine)?;
        Ok(Self::of(
            Carrier::Remote(remote),
            engine::TaskPolicy::default(),
        ))
    }

    /// Returns the nodes that the pool's engine finds now, those of other builds of the program
    /// among them; none for a pool of this machine.
    ///
    /// # Errors
    /// [`is_unavailable`](crate::Error::is_unavailable) when the engine cannot be asked.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// assert!(pool.nodes()?.is_empty());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn nodes(&self) -> Result<Vec<NodeInfo>> {
        match &self.core.carrier {
            Carrier::Local(_) => Ok(Vec::new()),
            Carrier::Remote(pool) => pool.nodes(),
        }
    }

    /// Returns the workers, and how many tasks each has done.
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
        let workers = match &self.core.carrier {
            Carrier::Local(pool) => pool.workers(),
            Carrier::Remote(_) => Vec::new(),
        };
        let live = workers.into_iter().filter(|view| !view.is_ending);
        live.map(info).collect()
    }

    /// Returns what the pool has done since it was made, and what it does, by worker and by
    /// function. Nothing is measured for it: all is counted as results come.
    ///
    /// # Errors
    /// `is_not_owner` in a forked copy of the process that has made the pool.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// fn square(number: u64) -> u64 {
    ///     number * number
    /// }
    ///
    /// let pool = Pool::new(2)?;
    /// pool.map(square, 0..10)?;
    /// let stats = pool.stats()?;
    /// assert_eq!((stats.work.calls, stats.work.failed, stats.work.deaths), (10, 0, 0));
    /// assert!(stats.functions[0].name.ends_with("square"));
    /// let busiest = stats.workers.iter().max_by_key(|worker| worker.work.tasks);
    /// assert!(busiest.unwrap().work.total() <= stats.age);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn stats(&self) -> Result<PoolStats> {
        Ok(self.core.carrier.local("what it has done")?.stats()?.into())
    }

    /// Changes the number of workers; tasks go on. Missing workers are started; if one cannot be
    /// started, the pool tries again while there is something to do. Of surplus workers, idle ones
    /// end first, and others when their running task is done.
    ///
    /// # Errors
    /// `is_invalid` for 0 workers, `is_closed` when the pool takes no more tasks; when none
    /// of its workers lives and none can be started.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// pool.resize(3)?;
    /// assert_eq!(pool.workers().len(), 3);
    /// pool.resize(1)?;
    /// assert_eq!(pool.workers().len(), 1);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn resize(&self, workers: usize) -> Result<()> {
        let pool = self.core.carrier.local("another number of workers")?;
        pool.resize(workers)?;
        uninterrupted(|| pool.start())
    }

    /// Has a worker run the wrapper that `entry` names; `what` names it in errors.
    pub(crate) fn request<R: DeserializeOwned + Send + 'static>(
        &self,
        entry: EntryRef,
        what: &'static str,
        arguments: &impl Serialize,
        limit: Option<Duration>,
    ) -> Result<AsyncResult<R>> {
        let calls = match limit {
            Some(limit) => self.timeout(limit),
            None => self.calls(),
        };
        calls.request(entry, what, arguments)
    }

    pub(crate) fn deliver_in_background(&self) -> Result<()> {
        self.core.carrier.deliver_in_background()
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
