//! Results one by one, over inputs that may be endless.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use procession_engine::pool::{Fetched, Job, ResultOrder, RunningTasks};
use procession_engine::sys::wait::time::Deadline;
use serde_core::Serialize;
use serde_core::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::pool::call::{StreamCall, TaskResults};
use crate::pool::core::Core;
use crate::pool::tasks::Tasks;
use crate::pool::terms::Terms;

/// Iterates over the results of [`Pool::imap`](crate::Pool::imap),
/// [`Pool::imap_unordered`](crate::Pool::imap_unordered) and
/// [`ParProcesses::map`](crate::ParProcesses::map).
///
/// Collecting into a `Result` stops at the first error: tasks that have not begun never will.
///
/// Tasks are made ahead of the results that were fetched: of 4,096 inputs at the most, or until
/// results of 16 MiB wait to be fetched. So inputs must not wait for results: `next` may ask for
/// another input before it returns a result that is there. When it is dropped before its end, the
/// tasks that have not begun never will.
///
/// # Examples
///
/// ```
/// use procession::{Pool, Result};
///
/// # procession::init();
/// let pool = Pool::new(2)?;
/// let mut squares = pool.imap(|n: u64| n * n, 1..);
/// assert_eq!(squares.next().transpose()?, Some(1));
/// let more: Result<Vec<_>> = squares.take(2).collect();
/// assert_eq!(more?, [4, 9]);
/// # Ok::<(), procession::Error>(())
/// ```
pub struct Imap<'a, I, R> {
    core: &'a Core,
    /// Makes tasks, while there may be more inputs.
    tasks: Option<Tasks<'a, I>>,
    /// How many tasks were made.
    made: usize,
    /// Why there is no call, if it could not be made.
    failure: Option<Error>,
    call: Arc<StreamCall<R>>,
    /// The results that are left of the task that was fetched last.
    results: TaskResults<R>,
}

impl<'a, I, R> Imap<'a, I, R>
where
    I: Iterator<Item: Serialize>,
    R: DeserializeOwned + Send + 'static,
{
    /// Begins to run the tasks of `job`, whose function is `what`.
    pub(super) fn new(
        terms: Terms<'a>,
        job: Result<Job>,
        what: &'static str,
        inputs: I,
        order: ResultOrder,
    ) -> Self {
        let limits = terms.core.carrier.stream_limits(terms.chunk);
        let call = Arc::new(StreamCall::new(what, order, limits));
        let tasks = job.and_then(|job| Tasks::new(terms, job, inputs, call.clone()));
        let (tasks, failure) = match tasks {
            Ok(tasks) => (Some(tasks), None),
            Err(error) => (None, Some(error)),
        };
        if tasks.is_none() {
            call.stream().set_length(0);
        }
        Self {
            core: terms.core,
            tasks,
            made: 0,
            failure,
            call,
            results: None.into_iter().chain(Vec::new()),
        }
    }

    /// Tells whether there may be more inputs, and room for many tasks.
    fn may_make_many(&self) -> bool {
        let many = |tasks: &Tasks<'_, I>| {
            let (_, has_room) = tasks.room();
            has_room && self.call.stream().has_room(self.made, 2)
        };
        self.tasks.as_ref().is_some_and(many)
    }

    /// Makes as many tasks as may be ahead, or until a result is there.
    ///
    /// Not before a task is ahead of that result: a caller who takes long over a result leads no
    /// round meanwhile, and the workers would have nothing to do.
    fn make_many(&mut self) {
        if let Some(tasks) = &self.tasks {
            tasks.note_led();
        }
        while let Some(tasks) = &mut self.tasks {
            let (has_room, _) = tasks.room();
            let stream = self.call.stream();
            let is_enough = stream.ahead(self.made) > 1 && stream.has_news();
            if is_enough || !has_room || !stream.has_room(self.made, 1) {
                return;
            }
            drop(stream);
            let Some(task) = tasks.make() else {
                self.end();
                return;
            };
            let put = match task {
                Ok(task) => tasks.put(task).map(drop),
                // The other inputs are run nevertheless.
                Err((token, error)) => {
                    token.collect(Err(error));
                    Ok(())
                }
            };
            match put {
                Ok(()) => self.made = tasks.made(),
                Err(error) => {
                    self.failure = Some(error);
                    self.end();
                }
            }
        }
    }

    /// Takes no more inputs.
    fn end(&mut self) {
        self.tasks = None;
        self.call.stream().set_length(self.made);
    }

    /// As `next`, for at most `timeout`: then it is an error with `is_timeout`, after which
    /// one may ask again.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use procession::{Event, Pool};
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// let go = Event::new()?;
    /// let mut results = pool.imap(|go: Event| go.wait().is_ok(), [go.clone()]);
    /// let late = results.next_timeout(Duration::from_millis(1)).unwrap();
    /// assert!(late.unwrap_err().is_timeout());
    /// go.set();
    /// assert!(results.next_timeout(Duration::from_secs(60)).unwrap()?);
    /// assert!(results.next().is_none());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Result<R>> {
        let next = self.next_until(Deadline::after(timeout))?;
        Some(next.map_err(|error| {
            error.or_late(format_args!(
                "the next result was not there after {timeout:?}: its task may still come to an end"
            ))
        }))
    }

    /// Returns the next result if it is there, or the end. Makes tasks where there is room.
    #[expect(clippy::option_option, reason = "not there, the end, a result")]
    fn next_there(&mut self) -> Option<Option<Result<R>>> {
        loop {
            if let Some(result) = self.results.next() {
                return Some(Some(result));
            }
            let fetched = self.call.stream().fetch();
            match fetched {
                Fetched::Result { result, .. } => self.results = result,
                Fetched::End => return Some(self.failure.take().map(Err)),
                Fetched::NothingYet => break,
            }
        }
        if self.may_make_many() {
            self.make_many();
        }
        None
    }

    /// Ends the iteration with an error.
    fn give_up(&mut self, error: Error) -> Error {
        self.tasks = None;
        let unwanted = self.call.stream().close();
        drop(unwanted);
        error
    }

    fn next_until(&mut self, deadline: Deadline) -> Option<Result<R>> {
        loop {
            if let Some(next) = self.next_there() {
                return next;
            }
            let is_enough = || self.call.stream().has_news() || self.may_make_many();
            match self.core.carrier.drive(&is_enough, deadline) {
                Ok(()) => {}
                Err(error) if error.is_timeout() => return Some(Err(error)),
                Err(error) => return Some(Err(self.give_up(error))),
            }
        }
    }
}

impl<I, R> Imap<'_, I, R> {
    /// Cancels what is left: no more inputs are taken, and tasks that have not begun
    /// never will; in the place of the result of each comes an error with
    /// `is_cancelled`. Those that run go on. Tells whether there was anything to cancel.
    ///
    /// # Errors
    /// In a forked copy of the pool's process.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// let mut squares = pool.imap(|n: u64| n * n, 1..);
    /// assert_eq!(squares.next().unwrap()?, 1);
    /// assert!(squares.cancel()?);
    /// assert!(squares.count() < 10_000);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn cancel(&mut self) -> Result<bool> {
        self.cancel_with(RunningTasks::Spared)
    }

    /// As [`cancel`](Self::cancel), but kills tasks that run, with their workers.
    /// Nothing else is lost.
    ///
    /// # Errors
    /// As [`cancel`](Self::cancel).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::{thread, time::Duration};
    /// use procession::Pool;
    ///
    /// # procession::init();
    /// fn work(number: u64) -> u64 {
    ///     if number == 2 {
    ///         thread::sleep(Duration::from_secs(1000));
    ///     }
    ///     number
    /// }
    ///
    /// let pool = Pool::new(1)?;
    /// let mut results = pool.imap(work, 1..=2);
    /// assert_eq!(results.next().unwrap()?, 1);
    /// assert!(results.kill()?);
    /// assert!(results.next().unwrap().unwrap_err().is_cancelled());
    /// assert!(results.next().is_none());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn kill(&mut self) -> Result<bool> {
        self.cancel_with(RunningTasks::Killed)
    }

    fn cancel_with(&mut self, running: RunningTasks) -> Result<bool> {
        let was_open = self.tasks.take().is_some();
        let mut stream = self.call.stream();
        if was_open {
            stream.set_length(self.made);
        }
        drop(stream);
        self.call.set_cancelled();
        let cancelled = self.core.cancel(Arc::as_ptr(&self.call).cast(), running)?;
        Ok(was_open || cancelled)
    }
}

impl<'a, I, R> Imap<'a, I, R>
where
    I: Iterator<Item: Serialize>,
    R: DeserializeOwned + Send + 'static,
{
    /// As `next`, for a task of an executor: no thread waits. With the feature `async`
    /// there is `into_stream`.
    ///
    /// The inputs are asked for in the thread that polls, and must not block it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::future::poll_fn;
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(2)?;
    /// let mut squares = pool.imap(|n: u64| n * n, 1..=3);
    /// let sum = futures_lite::future::block_on(async {
    ///     let mut sum = 0;
    ///     while let Some(square) = poll_fn(|context| squares.poll_next(context)).await {
    ///         sum += square?;
    ///     }
    ///     Ok::<_, procession::Error>(sum)
    /// });
    /// assert_eq!(sum?, 14);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<R>>> {
        loop {
            if let Some(next) = self.next_there() {
                return Poll::Ready(next);
            }
            self.call.wake_by_next(context.waker());
            if self.call.stream().has_news() || self.may_make_many() {
                continue;
            }
            return match self.core.carrier.deliver_in_background() {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Some(Err(self.give_up(error)))),
            };
        }
    }
}

impl<I, R> Iterator for Imap<'_, I, R>
where
    I: Iterator<Item: Serialize>,
    R: DeserializeOwned + Send + 'static,
{
    type Item = Result<R>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_until(Deadline::NEVER)
    }
}

/// Nothing in it is pinned.
impl<I, R> Unpin for Imap<'_, I, R> {}

impl<I, R> Drop for Imap<'_, I, R> {
    fn drop(&mut self) {
        let mut stream = self.call.stream();
        let unwanted = stream.close();
        let is_complete = stream.arrived() == self.made;
        drop(stream);
        drop(unwanted);
        if !is_complete {
            // In a forked copy there is nothing to cancel.
            let _ = self.cancel_with(RunningTasks::Spared);
        }
    }
}

impl<I, R> fmt::Debug for Imap<'_, I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imap")
            .field("made", &self.made)
            .field("arrived", &self.call.stream().arrived())
            .finish_non_exhaustive()
    }
}
