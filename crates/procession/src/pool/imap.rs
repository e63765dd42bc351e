//! Results one by one, over inputs that may be endless.

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use procession_engine::os::time::Deadline;

use crate::error::Result;
use crate::function::Callable;
use crate::pool::call::{StreamCall, Token};
use crate::pool::pool::{Inner, LOOK_AHEAD};

/// Results with their places.
type Arrivals<R> = Vec<(usize, Result<R>)>;

/// Hands in inputs ahead of the results that were fetched, and fetches them.
struct Stream<'a, F: Callable<M>, M, I> {
    pool: &'a Inner,
    function: F,
    inputs: Option<I>,
    call: Arc<StreamCall<F::Output>>,
    handed_in: usize,
    arrived: usize,
    fetched: usize,
    marker: PhantomData<fn(M)>,
}

impl<'a, F, M, I> Stream<'a, F, M, I>
where
    F: Callable<M>,
    F::Output: Send,
    I: Iterator<Item = F::Input>,
{
    fn new(pool: &'a Inner, function: F, inputs: I) -> Self {
        Self {
            pool,
            function,
            inputs: Some(inputs),
            call: Arc::new(StreamCall::new(std::any::type_name::<F>())),
            handed_in: 0,
            arrived: 0,
            fetched: 0,
            marker: PhantomData,
        }
    }

    /// Hands in as many inputs as may be ahead.
    fn fill(&mut self) -> Result<()> {
        while self.handed_in - self.fetched < LOOK_AHEAD {
            let Some(input) = self.inputs.as_mut().and_then(Iterator::next) else {
                self.inputs = None;
                return Ok(());
            };
            let token = Token::new(self.call.clone(), self.handed_in);
            self.pool.submit(self.function, &input, token)?;
            self.handed_in += 1;
        }
        Ok(())
    }

    /// Waits for arrivals; `None` when no more are to come.
    fn arrivals(&mut self) -> Result<Option<Arrivals<F::Output>>> {
        // Half of the room is kept in reserve: filling by single inputs would
        // interrupt the fetching each time.
        if self.handed_in - self.fetched <= LOOK_AHEAD / 2 {
            self.fill()?;
        }
        if self.arrived == self.handed_in {
            return Ok(None);
        }
        let call = &self.call;
        self.pool.drive(&|| call.has_arrivals(), Deadline::NEVER)?;
        let arrivals = self.call.take();
        self.arrived += arrivals.len();
        Ok(Some(arrivals))
    }

    fn end(&mut self) {
        self.inputs = None;
        self.arrived = self.handed_in;
    }
}

/// Iterates over the results of [`Pool::imap`](crate::Pool::imap).
pub struct Imap<'a, F: Callable<M>, M, I> {
    stream: Stream<'a, F, M, I>,
    /// Results by place, from the next to fetch on.
    waiting: VecDeque<Option<Result<F::Output>>>,
}

impl<'a, F, M, I> Imap<'a, F, M, I>
where
    F: Callable<M>,
    F::Output: Send,
    I: Iterator<Item = F::Input>,
{
    pub(crate) fn new(pool: &'a Inner, function: F, inputs: I) -> Self {
        Self {
            stream: Stream::new(pool, function, inputs),
            waiting: VecDeque::new(),
        }
    }
}

impl<F, M, I> Iterator for Imap<'_, F, M, I>
where
    F: Callable<M>,
    F::Output: Send,
    I: Iterator<Item = F::Input>,
{
    type Item = Result<F::Output>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(Some(_)) = self.waiting.front() {
                self.stream.fetched += 1;
                return self.waiting.pop_front().flatten();
            }
            match self.stream.arrivals() {
                Ok(None) => return None,
                Ok(Some(arrivals)) => {
                    for (index, result) in arrivals {
                        let place = index - self.stream.fetched;
                        if self.waiting.len() <= place {
                            self.waiting.resize_with(place + 1, || None);
                        }
                        self.waiting[place] = Some(result);
                    }
                }
                Err(error) => {
                    self.stream.end();
                    return Some(Err(error));
                }
            }
        }
    }
}

/// Iterates over the results of
/// [`Pool::imap_unordered`](crate::Pool::imap_unordered).
pub struct ImapUnordered<'a, F: Callable<M>, M, I> {
    stream: Stream<'a, F, M, I>,
    waiting: VecDeque<Result<F::Output>>,
}

impl<'a, F, M, I> ImapUnordered<'a, F, M, I>
where
    F: Callable<M>,
    F::Output: Send,
    I: Iterator<Item = F::Input>,
{
    pub(crate) fn new(pool: &'a Inner, function: F, inputs: I) -> Self {
        Self {
            stream: Stream::new(pool, function, inputs),
            waiting: VecDeque::new(),
        }
    }
}

impl<F, M, I> Iterator for ImapUnordered<'_, F, M, I>
where
    F: Callable<M>,
    F::Output: Send,
    I: Iterator<Item = F::Input>,
{
    type Item = Result<F::Output>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.waiting.is_empty() {
            match self.stream.arrivals() {
                Ok(None) => return None,
                Ok(Some(arrivals)) => {
                    self.waiting
                        .extend(arrivals.into_iter().map(|(_, result)| result));
                }
                Err(error) => {
                    self.stream.end();
                    return Some(Err(error));
                }
            }
        }
        self.stream.fetched += 1;
        self.waiting.pop_front()
    }
}

impl<F: Callable<M>, M, I> fmt::Debug for Imap<'_, F, M, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stream.describe("Imap", f)
    }
}

impl<F: Callable<M>, M, I> fmt::Debug for ImapUnordered<'_, F, M, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stream.describe("ImapUnordered", f)
    }
}

impl<F: Callable<M>, M, I> Stream<'_, F, M, I> {
    fn describe(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("handed_in", &self.handed_in)
            .field("fetched", &self.fetched)
            .finish_non_exhaustive()
    }
}
