//! Results one by one, over inputs that may be endless.

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use procession_engine::pool::RunningTasks;
use procession_engine::sys::wait::time::Deadline;

use crate::error::Result;
use crate::function::Callable;
use crate::pool::call::{Ahead, Collect as _, CollectedResult, StreamCall, Token};
use crate::pool::calls::{BYTES_AHEAD, Calls};

/// In which order results are fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    OfInputs,
    OfArrivals,
}

/// Iterates over the results of [`Pool::imap`](crate::Pool::imap) and
/// [`Pool::imap_unordered`](crate::Pool::imap_unordered).
///
/// Inputs are handed in ahead of the results that were fetched. When it is dropped before
/// its end, the tasks that have not begun never will.
pub struct Imap<'a, F: Callable<M>, M, I> {
    calls: Calls<'a>,
    function: F,
    inputs: Option<I>,
    call: Arc<StreamCall<F::Output>>,
    order: Order,
    /// Results from the next to fetch on; `None` where one is to come.
    waiting: VecDeque<Option<Waiting<F::Output>>>,
    /// How many inputs may be ahead whatever their size, and if they are small.
    least: usize,
    most: usize,
    handed_in: usize,
    arrived: usize,
    fetched: usize,
    marker: PhantomData<fn(M)>,
}

/// A result, and how many bytes it came in.
type Waiting<R> = (usize, Result<R>);

impl<'a, F, M, I> Imap<'a, F, M, I>
where
    F: Callable<M>,
    I: Iterator<Item = F::Input>,
{
    pub(crate) fn new(calls: Calls<'a>, function: F, inputs: I, order: Order) -> Self {
        let (least, most) = calls.bounds_ahead();
        Self {
            calls,
            function,
            inputs: Some(inputs),
            call: Arc::new(StreamCall::new(std::any::type_name::<F>())),
            order,
            waiting: VecDeque::new(),
            least,
            most,
            handed_in: 0,
            arrived: 0,
            fetched: 0,
            marker: PhantomData,
        }
    }

    fn ahead(&self) -> &Ahead {
        self.call.ahead()
    }

    /// Tells whether there is room for `1 / part` of what may be ahead.
    fn has_room(&self, part: usize) -> bool {
        let ahead = self.handed_in - self.fetched;
        let is_small = self.ahead().bytes() < BYTES_AHEAD / part;
        ahead < self.most / part && (is_small || ahead < self.least)
    }

    /// Hands in as many inputs as may be ahead.
    fn fill(&mut self) -> Result<()> {
        while self.has_room(1) {
            let Some(inputs) = &mut self.inputs else {
                return Ok(());
            };
            let token = |inputs| Token::new(self.call.clone(), inputs);
            let count = self
                .calls
                .submit_next(self.function, inputs, self.handed_in, token)?;
            if count == 0 {
                self.inputs = None;
            }
            self.handed_in += count;
        }
        Ok(())
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
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Result<F::Output>> {
        let next = self.next_until(Deadline::after(timeout))?;
        Some(next.map_err(|error| {
            error.or_late(format_args!(
                "the next result was not there after {timeout:?}: its task may still come to an end"
            ))
        }))
    }

    fn next_until(&mut self, deadline: Deadline) -> Option<Result<F::Output>> {
        loop {
            if let Some((size, result)) = self.waiting.front_mut().and_then(Option::take) {
                self.waiting.pop_front();
                self.fetched += 1;
                self.ahead().remove(size);
                return Some(result);
            }
            match self.arrivals(deadline) {
                Ok(None) => return None,
                Ok(Some(arrivals)) => self.sort_in(arrivals),
                Err(error) if error.is_timeout() => return Some(Err(error)),
                Err(error) => {
                    // No more is to come.
                    self.inputs = None;
                    self.arrived = self.handed_in;
                    return Some(Err(error));
                }
            }
        }
    }

    /// Waits for arrivals; `None` when no more are to come.
    fn arrivals(&mut self, deadline: Deadline) -> Result<Option<Vec<CollectedResult<F::Output>>>> {
        // Half of the room is kept in reserve: filling by single inputs would
        // interrupt the fetching each time.
        if self.has_room(2) {
            self.fill()?;
        }
        if self.arrived == self.handed_in {
            return Ok(None);
        }
        let call = &self.call;
        self.calls.drive(&|| call.has_arrivals(), deadline)?;
        let arrivals = self.call.take();
        self.arrived += arrivals.len();
        Ok(Some(arrivals))
    }

    fn sort_in(&mut self, arrivals: Vec<CollectedResult<F::Output>>) {
        for arrival in arrivals {
            let place = match self.order {
                Order::OfInputs => arrival.index - self.fetched,
                Order::OfArrivals => self.waiting.len(),
            };
            if self.waiting.len() <= place {
                self.waiting.resize_with(place + 1, || None);
            }
            self.waiting[place] = Some((arrival.size, arrival.result));
        }
    }
}

impl<F, M, I> Iterator for Imap<'_, F, M, I>
where
    F: Callable<M>,
    I: Iterator<Item = F::Input>,
{
    type Item = Result<F::Output>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_until(Deadline::NEVER)
    }
}

impl<F: Callable<M>, M, I> Imap<'_, F, M, I> {
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
        let was_open = self.inputs.take().is_some();
        let call = Arc::as_ptr(&self.call).cast::<()>();
        let which = |token: &Token| std::ptr::eq(token.call(), call);
        let count = self.calls.cancel(&which, running)?;
        Ok(was_open || count > 0)
    }
}

impl<F: Callable<M>, M, I> Drop for Imap<'_, F, M, I> {
    fn drop(&mut self) {
        if self.arrived < self.handed_in {
            // In a forked copy there is nothing to cancel.
            let _ = self.cancel_with(RunningTasks::Spared);
        }
    }
}

impl<F: Callable<M>, M, I> fmt::Debug for Imap<'_, F, M, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imap")
            .field("handed_in", &self.handed_in)
            .field("fetched", &self.fetched)
            .finish_non_exhaustive()
    }
}
