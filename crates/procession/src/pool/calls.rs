//! The ways to have a pool call functions, and on what terms.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use procession_engine::pool as engine;
use procession_engine::sys::wait::time::Deadline;
use serde::Serialize;

use crate::codec;
use crate::error::{Error, Result};
use crate::function::{Callable, EntryRef, must_be_bare};
use crate::pool::async_result::AsyncResult;
use crate::pool::call::{Call, Collect as _, Inputs, MapCall, Pending as _, Token};
use crate::pool::imap::{Imap, Order};
use crate::pool::pool::Inner;

/// Tasks that are handed in before the first results are back: enough to keep
/// many workers busy with tiny ones, few enough to hold in memory.
const LOOK_AHEAD: usize = 4096;

/// Bytes of inputs and unfetched results that are ahead at the most, where that
/// leaves each worker something to do.
pub(crate) const BYTES_AHEAD: usize = 16 << 20;

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
pub struct Calls<'a> {
    inner: &'a Arc<Inner>,
    terms: engine::TaskPolicy,
    /// How many inputs of a map make a task.
    chunk: usize,
}

impl<'a> Calls<'a> {
    pub(crate) fn new(inner: &'a Arc<Inner>, terms: engine::TaskPolicy) -> Self {
        Self {
            inner,
            terms,
            chunk: 1,
        }
    }

    /// Lets each task take so long once it runs, as [`Pool::timeout`].
    ///
    /// [`Pool::timeout`]: crate::Pool::timeout
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.terms.timeout = Some(limit);
        self
    }

    /// Has each task run again so often when its worker has died in it, as
    /// [`Pool::retries`].
    ///
    /// [`Pool::retries`]: crate::Pool::retries
    pub fn retries(mut self, times: u32) -> Self {
        self.terms.retries = times;
        self
    }

    /// Has so many inputs of a map make one task, as [`Pool::chunk_size`].
    ///
    /// [`Pool::chunk_size`]: crate::Pool::chunk_size
    pub fn chunk_size(mut self, inputs: usize) -> Self {
        self.chunk = inputs;
        self
    }

    /// Runs a function in a worker and returns its result.
    ///
    /// # Errors
    /// As [`Pool::apply`](crate::Pool::apply).
    pub fn apply<F: Callable<M>, M>(self, function: F, arguments: F::Input) -> Result<F::Output> {
        const { must_be_bare::<F>() };
        self.call(function, arguments)?.wait_for_result()
    }

    /// Runs a function in a worker, and returns at once with a handle on its
    /// result.
    ///
    /// # Errors
    /// As [`Pool::apply_async`](crate::Pool::apply_async).
    pub fn apply_async<F: Callable<M>, M>(
        self,
        function: F,
        arguments: F::Input,
    ) -> Result<AsyncResult<F::Output>> {
        const { must_be_bare::<F>() };
        let result = self.call(function, arguments)?;
        self.inner.engine.deliver_in_background()?;
        Ok(result)
    }

    /// Runs a function on each input, and returns the results in their order.
    ///
    /// # Errors
    /// As [`Pool::map`](crate::Pool::map).
    pub fn map<F, M, I>(self, function: F, inputs: I) -> Result<Vec<F::Output>>
    where
        F: Callable<M>,
        I: IntoIterator<Item = F::Input>,
    {
        const { must_be_bare::<F>() };
        let call = self.hand_in(function, inputs, |call, handed_in| {
            let ahead = || handed_in - call.done();
            let is_large = || call.ahead().bytes() >= BYTES_AHEAD;
            // With few inputs ahead it need not be looked how many workers there are.
            if ahead() < LOOK_AHEAD && !is_large() {
                return Ok(());
            }
            let (least, most) = self.bounds_ahead();
            if ahead() < most && !is_large() {
                return Ok(());
            }
            let has_room = || {
                let is_small = call.ahead().bytes() <= BYTES_AHEAD / 2;
                ahead() <= most / 2 && is_small || ahead() < least
            };
            self.drive(&has_room, Deadline::NEVER)
        })?;
        self.drive(&|| call.is_done(), Deadline::NEVER)?;
        call.take()
    }

    /// Runs a function on each input, and returns at once with a handle on the
    /// results, in the order of the inputs.
    ///
    /// # Errors
    /// As [`Pool::map_async`](crate::Pool::map_async).
    pub fn map_async<F, M, I>(self, function: F, inputs: I) -> Result<AsyncResult<Vec<F::Output>>>
    where
        F: Callable<M>,
        I: IntoIterator<Item = F::Input>,
    {
        const { must_be_bare::<F>() };
        let call = self.hand_in(function, inputs, |_, _| Ok(()))?;
        self.inner.engine.deliver_in_background()?;
        Ok(AsyncResult::new(Arc::clone(self.inner), call))
    }

    /// Runs a function on each input as the results are fetched, in the order
    /// of the inputs.
    ///
    /// # Errors
    /// As [`Pool::imap`](crate::Pool::imap).
    pub fn imap<F, M, I>(self, function: F, inputs: I) -> Imap<'a, F, M, I::IntoIter>
    where
        F: Callable<M>,
        I: IntoIterator<Item = F::Input>,
    {
        const { must_be_bare::<F>() };
        Imap::new(self, function, inputs.into_iter(), Order::OfInputs)
    }

    /// As [`imap`](Self::imap), in the order in which the results come.
    ///
    /// # Errors
    /// As [`Pool::imap`](crate::Pool::imap).
    pub fn imap_unordered<F, M, I>(self, function: F, inputs: I) -> Imap<'a, F, M, I::IntoIter>
    where
        F: Callable<M>,
        I: IntoIterator<Item = F::Input>,
    {
        const { must_be_bare::<F>() };
        Imap::new(self, function, inputs.into_iter(), Order::OfArrivals)
    }

    fn call<F: Callable<M>, M>(
        self,
        function: F,
        arguments: F::Input,
    ) -> Result<AsyncResult<F::Output>> {
        let call = Arc::new(Call::new(std::any::type_name::<F>()));
        let job = self.inner.job(EntryRef::of(function)?)?;
        let token = Token::new(call.clone(), Inputs::One(0));
        self.submit::<F, _>(job, &arguments, token)?;
        Ok(AsyncResult::new(Arc::clone(self.inner), call))
    }

    /// Hands in the tasks of all inputs. `pause` is called after each with how
    /// many inputs it is, and may wait.
    fn hand_in<F, M, I>(
        self,
        function: F,
        inputs: I,
        pause: impl Fn(&MapCall<F::Output>, usize) -> Result<()>,
    ) -> Result<Arc<MapCall<F::Output>>>
    where
        F: Callable<M>,
        I: IntoIterator<Item = F::Input>,
    {
        let call = Arc::new(MapCall::new(std::any::type_name::<F>()));
        let mut inputs = inputs.into_iter();
        let mut handed_in = 0;
        loop {
            let token = |inputs| Token::new(call.clone(), inputs);
            let count = self
                .submit_next(function, &mut inputs, handed_in, token)
                .inspect_err(|_| call.abandon())?;
            if count == 0 {
                break;
            }
            handed_in += count;
            pause(&call, handed_in)?;
        }
        call.expect(handed_in);
        Ok(call)
    }

    /// Hands in a task of the next inputs, whose first has the place `first`; returns how many
    /// they are, 0 when there are none left.
    pub(crate) fn submit_next<F, M, I>(
        self,
        function: F,
        inputs: &mut I,
        first: usize,
        token: impl FnOnce(Inputs) -> Token,
    ) -> Result<usize>
    where
        F: Callable<M>,
        I: Iterator<Item = F::Input>,
    {
        if self.chunk == 0 {
            return Err(Error::invalid(
                "a chunk of no inputs was asked for: chunk_size takes at least 1",
            ));
        }
        if self.chunk == 1 {
            let Some(input) = inputs.next() else {
                return Ok(0);
            };
            let job = self.inner.job(EntryRef::of(function)?)?;
            self.submit::<F, _>(job, &input, token(Inputs::One(first)))?;
            return Ok(1);
        }
        let chunk: Vec<F::Input> = inputs.take(self.chunk).collect();
        let count = chunk.len();
        if count > 0 {
            let job = self.inner.job(EntryRef::of_chunk(function)?)?;
            self.submit::<F, _>(job, &chunk, token(Inputs::Chunk(first, count)))?;
        }
        Ok(count)
    }

    /// Hands in a task of a function.
    fn submit<F, T: Serialize>(self, job: engine::Job, input: &T, mut token: Token) -> Result<()> {
        let what = std::any::type_name::<F>();
        let encode = || codec::encode(input, format_args!("the arguments of {what}"));
        let (mut bytes, loans) = codec::collecting(encode)?;
        let job = Some(job);
        token.weigh(bytes.len());
        let payload = match bytes.take_block() {
            Some((block, len)) => engine::TaskBytes::Block(block, len as u64),
            None => engine::TaskBytes::new(&[&bytes])?,
        };
        let task = engine::Task {
            token,
            payload,
            job,
            policy: self.terms,
            loans,
        };
        self.inner.engine.submit(task)?;
        if self.terms.timeout.is_some() {
            // The deadline is kept though nobody may wait.
            self.inner.engine.deliver_in_background()?;
        }
        Ok(())
    }

    /// Cancels the tasks that `which` picks; returns how many it was.
    pub(crate) fn cancel(
        self,
        which: &dyn Fn(&Token) -> bool,
        running: engine::RunningTasks,
    ) -> Result<usize> {
        let count = self.inner.engine.cancel(which, running)?;
        // The deaths of those that were killed are to be told.
        self.inner.engine.deliver_in_background()?;
        Ok(count)
    }

    /// Drives the pool until `done`.
    pub(crate) fn drive(self, done: &dyn Fn() -> bool, deadline: Deadline) -> Result<()> {
        self.inner.drive(done, deadline)
    }

    /// Returns how many inputs may be ahead: whatever their size, or workers would be idle, and
    /// if they are small.
    pub(crate) fn bounds_ahead(self) -> (usize, usize) {
        let workers = self.inner.engine.workers().len().max(1);
        let least = self.chunk.saturating_mul(2 * workers);
        (least, LOOK_AHEAD.max(least.saturating_mul(2)))
    }
}

impl fmt::Debug for Calls<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls")
            .field("timeout", &self.terms.timeout)
            .field("retries", &self.terms.retries)
            .field("chunk_size", &self.chunk)
            .finish()
    }
}
