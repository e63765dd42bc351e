//! The ways in which a pool calls functions, with limits, retries and priorities.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use procession_engine::pool::{Job, ResultOrder, Task, TimeLimit, Turn};
use procession_engine::sys::wait::time::Deadline;
use serde_core::Serialize;
use serde_core::de::DeserializeOwned;

use crate::error::Result;
use crate::function::{Callable, CapturesNothing, EntryRef, must_be_bare};
use crate::pool::async_result::AsyncResult;
use crate::pool::call::{Call, Inputs, MapCall, Pending as _, Token};
use crate::pool::imap::Imap;
use crate::pool::tasks::Tasks;
use crate::pool::terms::Terms;

/// The calls of a [`Pool`](crate::Pool), with a limit to their time or a number
/// of retries.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use procession::Pool;
///
/// # procession::init();
/// let pool = Pool::new(2)?;
/// let careful = pool.timeout(Duration::from_secs(10)).retries(2);
/// assert_eq!(careful.map(|n: u64| n * n, 1..=4)?, [1, 4, 9, 16]);
/// assert_eq!(careful.apply(u64::pow, (2, 10))?, 1024);
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Copy)]
#[must_use = "it is a way to call; nothing is called yet"]
pub struct Calls<'a>(Terms<'a>);

impl<'a> Calls<'a> {
    pub(super) fn new(terms: Terms<'a>) -> Self {
        Self(terms)
    }

    /// Limits how long each task may take once it runs, as [`Pool::timeout`].
    ///
    /// [`Pool::timeout`]: crate::Pool::timeout
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{thread, time::Duration};
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// let calls = pool.retries(1).timeout(Duration::from_millis(20));
    /// let error = calls.apply(|| thread::sleep(Duration::from_secs(1000)), ()).unwrap_err();
    /// assert!(error.is_timeout());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.0.policy.timeout = Some(limit.into());
        self
    }

    /// Runs each task again up to `times` times when its worker has died in it, as
    /// [`Pool::retries`].
    ///
    /// [`Pool::retries`]: crate::Pool::retries
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// let calls = pool.timeout(Duration::from_secs(60)).retries(2);
    /// let error = calls.apply(|| -> u8 { std::process::abort() }, ()).unwrap_err();
    /// assert_eq!(error.tries(), Some(3));
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn retries(mut self, times: u32) -> Self {
        self.0.policy.retries = times;
        self
    }

    /// Sets a priority: tasks with a higher one begin before all that have a lower one, as
    /// [`Pool::priority`].
    ///
    /// [`Pool::priority`]: crate::Pool::priority
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// let later = pool.map_async(|n: u32| n + 1, 0..100)?;
    /// // It does not wait for all of those.
    /// assert_eq!(pool.retries(1).priority(1).apply(|| 42, ())?, 42);
    /// assert_eq!(later.get()?.len(), 100);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn priority(mut self, priority: i32) -> Self {
        self.0.policy.priority = priority;
        self
    }

    /// Makes one task of so many inputs of a map, as [`Pool::chunk_size`].
    ///
    /// [`Pool::chunk_size`]: crate::Pool::chunk_size
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// pool.retries(1).chunk_size(25).map(|n: u32| n + 1, 0..100)?;
    /// assert_eq!(pool.stats()?.submitted, 4);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn chunk_size(mut self, inputs: usize) -> Self {
        self.0.chunk = inputs;
        self
    }

    /// Deals the tasks of a map to the workers in a fixed order, as [`Pool::order_tasks`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Pool, current_process};
    /// # procession::init();
    /// let pool = Pool::new(2)?;
    /// let index = |_: u32| current_process().worker_index();
    /// let indices = pool.retries(1).order_tasks().map(index, 0..4)?;
    /// assert_eq!(indices, [Some(0), Some(1), Some(0), Some(1)]);
    /// # Ok::<(), procession::Error>(())
    /// ```
    ///
    /// [`Pool::order_tasks`]: crate::Pool::order_tasks
    pub fn order_tasks(mut self) -> Self {
        self.0.policy.turn = Some(Turn::new(0));
        self
    }

    /// Runs a function in a worker and returns its result.
    ///
    /// # Errors
    /// As [`Pool::apply`](crate::Pool::apply).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// assert_eq!(pool.priority(1).apply(u32::pow, (2, 10))?, 1024);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn apply<F: Callable<M>, M>(self, function: F, arguments: F::Input) -> Result<F::Output> {
        const { must_be_bare::<F>() };
        self.call(function, arguments)?.wait_for_result()
    }

    /// Runs a function in a worker, and returns at once with a handle on its
    /// result.
    ///
    /// # Errors
    /// As [`Pool::apply_async`](crate::Pool::apply_async).
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// let result = pool.timeout(Duration::from_secs(60)).apply_async(|n: u32| n * 2, 21)?;
    /// assert_eq!(result.get()?, 42);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn apply_async<F: Callable<M>, M>(
        self,
        function: F,
        arguments: F::Input,
    ) -> Result<AsyncResult<F::Output>> {
        const { must_be_bare::<F>() };
        let result = self.call(function, arguments)?;
        self.0.core.carrier.deliver_in_background()?;
        Ok(result)
    }

    /// Runs a function on each input, and returns the results in their order.
    ///
    /// # Errors
    /// As [`Pool::map`](crate::Pool::map).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(2)?;
    /// assert_eq!(pool.chunk_size(2).map(|n: u32| n * n, 1..=4)?, [1, 4, 9, 16]);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn map<F, M, I>(self, function: F, inputs: I) -> Result<Vec<F::Output>>
    where
        F: Callable<M>,
        I: IntoIterator<Item = F::Input>,
    {
        const { must_be_bare::<F>() };
        let job = self.0.job_of_inputs(function)?;
        self.map_job(job, std::any::type_name::<F>(), inputs)
    }

    /// Runs a function on each input, and returns at once with a handle on the
    /// results, in the order of the inputs.
    ///
    /// # Errors
    /// As [`Pool::map_async`](crate::Pool::map_async).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(2)?;
    /// let squares = pool.retries(1).map_async(|n: u32| n * n, 1..=3)?;
    /// assert_eq!(squares.get()?, [1, 4, 9]);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn map_async<F, M, I>(self, function: F, inputs: I) -> Result<AsyncResult<Vec<F::Output>>>
    where
        F: Callable<M>,
        I: IntoIterator<Item = F::Input>,
    {
        const { must_be_bare::<F>() };
        let job = self.0.job_of_inputs(function)?;
        let put = |tasks: &Tasks<'_, _>, task| tasks.put(task).map(drop);
        let call = self.feed(job, std::any::type_name::<F>(), inputs, put)?;
        self.0.core.carrier.deliver_in_background()?;
        Ok(AsyncResult::new(Arc::clone(self.0.core), call))
    }

    /// Runs a function on each input as the results are fetched, in the order
    /// of the inputs.
    ///
    /// # Errors
    /// As [`Pool::imap`](crate::Pool::imap).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(2)?;
    /// let mut squares = pool.retries(1).imap(|n: u32| n * n, 1..);
    /// assert_eq!(squares.next().transpose()?, Some(1));
    /// assert_eq!(squares.next().transpose()?, Some(4));
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn imap<F, M, I>(self, function: F, inputs: I) -> Imap<'a, I::IntoIter, F::Output>
    where
        F: Callable<M>,
        I: IntoIterator<Item = F::Input>,
    {
        const { must_be_bare::<F>() };
        self.imap_in(ResultOrder::OfTasks, function, inputs)
    }

    /// As [`imap`](Self::imap), in the order in which the results come.
    ///
    /// # Errors
    /// As [`Pool::imap`](crate::Pool::imap).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Pool, Result};
    /// # procession::init();
    /// let pool = Pool::new(2)?;
    /// let squares = pool.retries(1).imap_unordered(|n: u32| n * n, 1..=4);
    /// assert_eq!(squares.sum::<Result<u32>>()?, 30);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn imap_unordered<F, M, I>(self, function: F, inputs: I) -> Imap<'a, I::IntoIter, F::Output>
    where
        F: Callable<M>,
        I: IntoIterator<Item = F::Input>,
    {
        const { must_be_bare::<F>() };
        self.imap_in(ResultOrder::OfArrivals, function, inputs)
    }

    /// Runs a function on each input, with a context that is sent once and made in each
    /// worker once.
    ///
    /// # Errors
    /// As [`Pool::map_with`](crate::Pool::map_with).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(2)?;
    /// let words = vec!["zero".to_owned(), "one".to_owned()];
    /// let length = |words: &Vec<String>, place: usize| words[place].len();
    /// assert_eq!(pool.retries(1).map_with(&words, length, [0, 1])?, [4, 3]);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn map_with<C, F, A, R>(
        self,
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
        let job = self.0.job_with(context, function)?;
        self.map_job(job, std::any::type_name::<F>(), inputs)
    }

    /// Runs a function on each input, with what `init` makes in each worker once.
    ///
    /// # Errors
    /// As [`Pool::map_init`](crate::Pool::map_init).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// let count = |seen: &mut u32, _: char| {
    ///     *seen += 1;
    ///     *seen
    /// };
    /// assert_eq!(pool.retries(1).map_init(|| 0, count, "abc".chars())?, [1, 2, 3]);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn map_init<N, S, F, A, R>(
        self,
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
        let job = self.0.job_init(init, function)?;
        self.map_job(job, std::any::type_name::<F>(), inputs)
    }

    pub(super) fn imap_in<F, M, I>(
        self,
        order: ResultOrder,
        function: F,
        inputs: I,
    ) -> Imap<'a, I::IntoIter, F::Output>
    where
        F: Callable<M>,
        I: IntoIterator<Item = F::Input>,
    {
        let job = self.0.job_of_inputs(function);
        let what = std::any::type_name::<F>();
        Imap::new(self.0, job, what, inputs.into_iter(), order)
    }

    pub(super) fn terms(self) -> Terms<'a> {
        self.0
    }

    fn call<F: Callable<M>, M>(
        self,
        function: F,
        arguments: F::Input,
    ) -> Result<AsyncResult<F::Output>> {
        let what = std::any::type_name::<F>();
        self.request(EntryRef::of(function)?, what, &arguments)
    }

    /// Has a worker run the wrapper that `entry` names; `what` names it in errors.
    pub(super) fn request<R: DeserializeOwned + Send + 'static>(
        self,
        entry: EntryRef,
        what: &'static str,
        arguments: &impl Serialize,
    ) -> Result<AsyncResult<R>> {
        let call = Arc::new(Call::new(what));
        let token = Token::new(call.clone(), 0, Inputs::One);
        let job = self.0.core.job(entry)?;
        let core = self.0.core;
        let mut terms = self.0;
        terms.policy.label = core.carrier.label(what);
        // A task that is alone may go to any worker.
        terms.policy.turn = None;
        let task = terms.task(&job, what, arguments, token)?;
        core.carrier.submit(task)?;
        if self.0.policy.timeout.is_some() {
            // Somebody has to enforce the deadline, even if nobody waits for the result.
            self.0.core.carrier.deliver_in_background()?;
        }
        Ok(AsyncResult::new(Arc::clone(self.0.core), call))
    }

    /// Runs the tasks of `job`, and returns the results.
    fn map_job<I, R>(self, job: Job, what: &'static str, inputs: I) -> Result<Vec<R>>
    where
        I: IntoIterator<Item: Serialize>,
        R: DeserializeOwned + Send + 'static,
    {
        let call = self.feed(job, what, inputs, Tasks::put_and_wait)?;
        self.0
            .core
            .carrier
            .drive(&|| call.is_done(), Deadline::NEVER)?;
        call.take()
    }

    /// Feeds the pool the tasks of all inputs, each by `put`.
    fn feed<I, R>(
        self,
        job: Job,
        what: &'static str,
        inputs: I,
        put: impl Fn(&Tasks<'a, I::IntoIter>, Task<Token>) -> Result<()>,
    ) -> Result<Arc<MapCall<R>>>
    where
        I: IntoIterator<Item: Serialize>,
        R: DeserializeOwned + Send + 'static,
    {
        let call = Arc::new(MapCall::new(what, self.0.chunk));
        let mut tasks = Tasks::new(self.0, job, inputs.into_iter(), call.clone())?;
        while let Some(task) = tasks.make() {
            task.map_err(|(_, error)| error)
                .and_then(|task| put(&tasks, task))
                .inspect_err(|_| call.abandon())?;
        }
        call.expect(tasks.taken());
        Ok(call)
    }
}

impl fmt::Debug for Calls<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls")
            .field("timeout", &self.0.policy.timeout.map(TimeLimit::get))
            .field("retries", &self.0.policy.retries)
            .field("priority", &self.0.policy.priority)
            .field("order_tasks", &self.0.policy.turn.is_some())
            .field("chunk_size", &self.0.chunk)
            .finish()
    }
}
