//! What collects the outcomes of tasks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use procession_engine::pool::{Ending, Outcome, PoolEnd, ResultBytes, Sink};
use serde::de::DeserializeOwned;

use crate::error::{Death, Error, Overrun, Result};
use crate::handle;
use crate::outcome::{self, ItemOutcome};

/// Hands each outcome to the call that waits for it.
#[derive(Debug)]
pub struct Deliver {
    /// How many bytes of memory a worker may have.
    pub memory_limit: Option<u64>,
}

/// Which inputs of a call make a task.
#[derive(Clone, Copy, Debug)]
pub enum Inputs {
    /// The one at this place.
    One(usize),
    /// A chunk, from this place on, and how many it has. The reply has an outcome for each.
    Chunk(usize, usize),
}

impl Inputs {
    /// Yields each input's place and result. What ended the task as a whole is the outcome of
    /// each of its inputs.
    fn results<R: DeserializeOwned>(
        self,
        outcome: Result<&ResultBytes<'_>>,
        what: &str,
    ) -> impl Iterator<Item = (usize, Result<R>)> {
        let (first, one, many) = match self {
            Self::One(index) => {
                let result = outcome.and_then(|body| read(body, what));
                (index, Some(result), Vec::new())
            }
            Self::Chunk(first, count) => (first, None, of_chunk(outcome, count, what)),
        };
        (first..).zip(one.into_iter().chain(many))
    }
}

/// Returns the results of the inputs of a chunk.
fn of_chunk<R: DeserializeOwned>(
    outcome: Result<&ResultBytes<'_>>,
    count: usize,
    what: &str,
) -> Vec<Result<R>> {
    let whole = outcome.and_then(|body| read::<Vec<ItemOutcome<R>>>(body, what));
    let whole = whole.and_then(|items| match items.len() {
        len if len == count => Ok(items),
        len => Err(Error::refused(format!(
            "a task of {count} inputs of {what} came back with {len} results"
        ))),
    });
    match whole {
        Ok(items) => items.into_iter().map(ItemOutcome::into_result).collect(),
        Err(error) => std::iter::repeat_with(|| Err(error.clone()))
            .take(count)
            .collect(),
    }
}

/// What a task is known by: its call and its inputs.
pub struct Token {
    call: Arc<dyn Collect>,
    inputs: Inputs,
    /// Bytes of its input.
    size: usize,
}

impl Token {
    pub fn new(call: Arc<dyn Collect>, inputs: Inputs) -> Self {
        Self {
            call,
            inputs,
            size: 0,
        }
    }

    /// Counts the bytes of the task's input as ahead, until its outcome is in.
    pub fn weigh(&mut self, size: usize) {
        self.size = size;
        self.call.ahead().add(size);
    }

    /// Returns the address of the call.
    pub fn call(&self) -> *const () {
        Arc::as_ptr(&self.call).cast()
    }
}

/// Counts the bytes of inputs that were handed in, and of results that are kept
/// for whoever fetches them one by one.
#[derive(Debug, Default)]
pub struct Ahead(AtomicUsize);

impl Ahead {
    /// Returns how many it is.
    pub fn bytes(&self) -> usize {
        // Relaxed: it bounds, nothing is read because of it.
        self.0.load(Ordering::Relaxed)
    }

    pub fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn remove(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Takes the outcomes of one call's tasks.
pub trait Collect: Send + Sync {
    /// Returns the name of the function.
    fn what(&self) -> &'static str;

    /// Returns what counts the bytes ahead of the call.
    fn ahead(&self) -> &Ahead;

    /// Takes the outcome of one task: the bytes that came home, or why none did.
    fn collect(&self, inputs: Inputs, outcome: Result<&ResultBytes<'_>>);
}

impl Sink for Deliver {
    type Token = Token;

    fn deliver(&self, outcomes: &mut dyn Iterator<Item = Outcome<'_, Token>>) {
        for Outcome { token, ending } in outcomes {
            let Token { call, inputs, size } = token;
            call.ahead().remove(size);
            match ending {
                Ending::Reply { body, .. } => call.collect(inputs, Ok(&body)),
                ending => call.collect(inputs, Err(self.failure(ending, call.what()))),
            }
        }
    }
}

impl Deliver {
    /// Says why there is no reply.
    fn failure(&self, ending: Ending<'_>, what: &str) -> Error {
        match ending {
            Ending::Died(death) => Error::died(Death {
                process: "of the pool".to_owned(),
                pid: death.pid,
                code: death.status.map_or(UNKNOWN, |status| status.code()),
                doing: Some(what.to_owned()),
                tries: death.deaths,
                memory_limit: self.memory_limit.filter(|_| death.starved),
            }),
            Ending::TimedOut(overrun) => Error::overrun(Overrun {
                what: what.to_owned(),
                pid: overrun.pid,
                limit: overrun.limit,
            }),
            Ending::Cancelled => Error::cancelled(what),
            Ending::Lost(error) => error.into(),
            Ending::Ended(end) => match &*end {
                // What an initializer's failure says is an outcome like any other.
                PoolEnd::Initializer(bytes) => {
                    outcome::read::<()>(bytes, "an initializer's failure")
                        .err()
                        .unwrap_or_else(|| Error::closed("a worker's initializer failed"))
                }
                end => Error::closed(end.to_string()),
            },
            Ending::Reply { .. } => Error::closed("the reply was not read"),
        }
    }
}

/// Stands for an exit code that nobody could learn, as in `multiprocessing`.
const UNKNOWN: i32 = 255;

/// A result that is awaited, whatever it is made of.
pub trait Pending<R>: Send + Sync {
    /// Tells whether the result is in, or was.
    fn is_done(&self) -> bool;

    /// Tells whether the result is in and is no error.
    fn is_successful(&self) -> bool;

    /// Returns the result, the first time.
    fn take(&self) -> Result<R>;
}

/// Collects one result.
#[derive(Debug)]
pub struct Call<R> {
    what: &'static str,
    ahead: Ahead,
    result: Mutex<CallState<R>>,
}

#[derive(Debug)]
enum CallState<R> {
    Waiting,
    Here(Result<R>),
    Taken,
}

impl<R> Call<R> {
    pub fn new(what: &'static str) -> Self {
        Self {
            what,
            ahead: Ahead::default(),
            result: Mutex::new(CallState::Waiting),
        }
    }
}

impl<R: Send> Pending<R> for Call<R> {
    fn is_done(&self) -> bool {
        !matches!(*locked(&self.result), CallState::Waiting)
    }

    fn is_successful(&self) -> bool {
        matches!(*locked(&self.result), CallState::Here(Ok(_)))
    }

    fn take(&self) -> Result<R> {
        let mut state = locked(&self.result);
        match std::mem::replace(&mut *state, CallState::Taken) {
            CallState::Here(result) => result,
            CallState::Taken => Err(Error::invalid("the result was fetched before")),
            CallState::Waiting => {
                *state = CallState::Waiting;
                Err(Error::closed("the pool has ended without this result"))
            }
        }
    }
}

impl<R: DeserializeOwned + Send> Collect for Call<R> {
    fn what(&self) -> &'static str {
        self.what
    }

    fn ahead(&self) -> &Ahead {
        &self.ahead
    }

    fn collect(&self, inputs: Inputs, outcome: Result<&ResultBytes<'_>>) {
        if let Some((_, result)) = inputs.results(outcome, self.what).next() {
            *locked(&self.result) = CallState::Here(result);
        }
    }
}

/// Collects the results of many inputs.
#[derive(Debug)]
pub struct MapCall<R> {
    what: &'static str,
    ahead: Ahead,
    results: Mutex<Results<R>>,
    done: AtomicUsize,
    /// How many outcomes are to come, once that is known.
    total: OnceLock<usize>,
}

#[derive(Debug)]
struct Results<R> {
    values: Vec<Option<R>>,
    /// The failure of the earliest input that failed.
    failure: Option<(usize, Error)>,
    /// Nobody wants what is in, and what is still to come.
    abandoned: bool,
}

impl<R> Results<R> {
    fn put(&mut self, index: usize, result: Result<R>) {
        if self.abandoned {
            return;
        }
        if self.values.len() <= index {
            self.values.resize_with(index + 1, || None);
        }
        match result {
            Ok(value) => self.values[index] = Some(value),
            Err(error) => {
                if self.failure.as_ref().is_none_or(|(at, _)| index < *at) {
                    self.failure = Some((index, error));
                }
            }
        }
    }
}

impl<R> MapCall<R> {
    pub fn new(what: &'static str) -> Self {
        let results = Results {
            values: Vec::new(),
            failure: None,
            abandoned: false,
        };
        Self {
            what,
            ahead: Ahead::default(),
            results: Mutex::new(results),
            done: AtomicUsize::new(0),
            total: OnceLock::new(),
        }
    }

    /// Notes that there are no more than `total` inputs.
    pub fn expect(&self, total: usize) {
        // Only the first call counts, and there is one.
        let _ = self.total.set(total);
    }

    /// Returns how many outcomes are in.
    pub fn done(&self) -> usize {
        // Acquire pairs with the Release in `collect`.
        self.done.load(Ordering::Acquire)
    }

    /// Drops what is in, and what is still to come.
    pub fn abandon(&self) {
        let mut results = locked(&self.results);
        results.abandoned = true;
        results.values.clear();
    }
}

impl<R: Send> Pending<Vec<R>> for MapCall<R> {
    fn is_done(&self) -> bool {
        self.total.get().is_some_and(|total| self.done() >= *total)
    }

    fn is_successful(&self) -> bool {
        let results = locked(&self.results);
        self.is_done() && results.failure.is_none() && !results.abandoned
    }

    /// Returns all results, or the failure of the earliest input that failed.
    fn take(&self) -> Result<Vec<R>> {
        let mut results = locked(&self.results);
        if results.abandoned {
            return Err(Error::invalid("the result was fetched before"));
        }
        results.abandoned = true;
        if let Some((_, error)) = results.failure.take() {
            return Err(error);
        }
        let values = std::mem::take(&mut results.values);
        let all: Option<Vec<R>> = values.into_iter().collect();
        all.ok_or_else(|| Error::closed("the pool has ended without all results"))
    }
}

impl<R: DeserializeOwned + Send> Collect for MapCall<R> {
    fn what(&self) -> &'static str {
        self.what
    }

    fn ahead(&self) -> &Ahead {
        &self.ahead
    }

    fn collect(&self, inputs: Inputs, outcome: Result<&ResultBytes<'_>>) {
        // Read before the lock is taken: what reads is the program's code.
        let collected = inputs.results(outcome, self.what);
        let mut results = locked(&self.results);
        let mut count = 0;
        for (index, result) in collected {
            results.put(index, result);
            count += 1;
        }
        drop(results);
        // Release pairs with the Acquire in `done`.
        self.done.fetch_add(count, Ordering::Release);
    }
}

/// A result with its place, and how many bytes it came in.
#[derive(Debug)]
pub struct CollectedResult<R> {
    pub index: usize,
    pub size: usize,
    pub result: Result<R>,
}

/// Collects results that are fetched one by one.
#[derive(Debug)]
pub struct StreamCall<R> {
    what: &'static str,
    ahead: Ahead,
    arrived: Mutex<Vec<CollectedResult<R>>>,
    count: AtomicUsize,
}

impl<R> StreamCall<R> {
    pub fn new(what: &'static str) -> Self {
        Self {
            what,
            ahead: Ahead::default(),
            arrived: Mutex::default(),
            count: AtomicUsize::new(0),
        }
    }

    /// Tells whether there is something to take.
    pub fn has_arrivals(&self) -> bool {
        // Acquire pairs with the Release in `collect`.
        self.count.load(Ordering::Acquire) > 0
    }

    /// Returns what has come since the last time.
    pub fn take(&self) -> Vec<CollectedResult<R>> {
        let mut arrived = locked(&self.arrived);
        self.count.store(0, Ordering::Relaxed);
        std::mem::take(&mut *arrived)
    }
}

impl<R: DeserializeOwned + Send> Collect for StreamCall<R> {
    fn what(&self) -> &'static str {
        self.what
    }

    fn ahead(&self) -> &Ahead {
        &self.ahead
    }

    fn collect(&self, inputs: Inputs, outcome: Result<&ResultBytes<'_>>) {
        // It counts as ahead until it is fetched; a chunk until its first result is.
        let mut size = outcome.as_ref().map_or(0, |body| body.len());
        self.ahead.add(size);
        let collected = inputs.results(outcome, self.what);
        let mut arrived = locked(&self.arrived);
        arrived.extend(collected.map(|(index, result)| CollectedResult {
            index,
            size: std::mem::take(&mut size),
            result,
        }));
        // Release pairs with the Acquire in `has_arrivals`.
        self.count.store(arrived.len(), Ordering::Release);
    }
}

fn read<R: DeserializeOwned>(body: &ResultBytes<'_>, what: &str) -> Result<R> {
    body.read(|bytes, source| handle::reading(source, || outcome::read(bytes, what)))
}

/// Locks what is sound after any panic: every change is one assignment.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
