//! What collects the outcomes of tasks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use procession_engine::pool::{Body, Ending, Outcome, PoolEnd, Sink};
use serde::de::DeserializeOwned;

use crate::error::{Death, Error, Overrun, Result};
use crate::outcome;

/// Hands each outcome to the call that waits for it.
#[derive(Debug)]
pub struct Deliver {
    /// How many bytes of memory a worker may have.
    pub memory_limit: Option<u64>,
}

/// What a task is known by: its call and its place in it.
pub struct Token {
    call: Arc<dyn Collect>,
    index: usize,
    /// Bytes of its input.
    size: usize,
}

impl Token {
    pub fn new(call: Arc<dyn Collect>, index: usize) -> Self {
        Self {
            call,
            index,
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
    fn collect(&self, index: usize, outcome: Result<&Body<'_>>);
}

impl Sink for Deliver {
    type Token = Token;

    fn deliver(&self, outcomes: &mut dyn Iterator<Item = Outcome<'_, Token>>) {
        for Outcome { token, ending } in outcomes {
            let Token { call, index, size } = token;
            call.ahead().remove(size);
            match ending {
                Ending::Reply { body, .. } => call.collect(index, Ok(&body)),
                ending => call.collect(index, Err(self.failure(ending, call.what()))),
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
    result: Mutex<State<R>>,
}

#[derive(Debug)]
enum State<R> {
    Waiting,
    Here(Result<R>),
    Taken,
}

impl<R> Call<R> {
    pub fn new(what: &'static str) -> Self {
        Self {
            what,
            ahead: Ahead::default(),
            result: Mutex::new(State::Waiting),
        }
    }
}

impl<R: Send> Pending<R> for Call<R> {
    fn is_done(&self) -> bool {
        !matches!(*locked(&self.result), State::Waiting)
    }

    fn is_successful(&self) -> bool {
        matches!(*locked(&self.result), State::Here(Ok(_)))
    }

    fn take(&self) -> Result<R> {
        let mut state = locked(&self.result);
        match std::mem::replace(&mut *state, State::Taken) {
            State::Here(result) => result,
            State::Taken => Err(Error::invalid("the result was fetched before")),
            State::Waiting => {
                *state = State::Waiting;
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

    fn collect(&self, _index: usize, outcome: Result<&Body<'_>>) {
        let result = outcome.and_then(|body| read(body, self.what));
        *locked(&self.result) = State::Here(result);
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

    fn collect(&self, index: usize, outcome: Result<&Body<'_>>) {
        let result = outcome.and_then(|body| read(body, self.what));
        let mut results = locked(&self.results);
        if !results.abandoned {
            if results.values.len() <= index {
                results.values.resize_with(index + 1, || None);
            }
            match result {
                Ok(value) => results.values[index] = Some(value),
                Err(error) => {
                    if results.failure.as_ref().is_none_or(|(at, _)| index < *at) {
                        results.failure = Some((index, error));
                    }
                }
            }
        }
        drop(results);
        // Release pairs with the Acquire in `done`.
        self.done.fetch_add(1, Ordering::Release);
    }
}

/// A result with its place, and how many bytes it came in.
#[derive(Debug)]
pub struct Arrival<R> {
    pub index: usize,
    pub size: usize,
    pub result: Result<R>,
}

/// Collects results that are fetched one by one.
#[derive(Debug)]
pub struct StreamCall<R> {
    what: &'static str,
    ahead: Ahead,
    arrived: Mutex<Vec<Arrival<R>>>,
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
    pub fn take(&self) -> Vec<Arrival<R>> {
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

    fn collect(&self, index: usize, outcome: Result<&Body<'_>>) {
        // It counts as ahead until it is fetched.
        let size = outcome.as_ref().map_or(0, |body| body.len());
        self.ahead.add(size);
        let result = outcome.and_then(|body| read(body, self.what));
        let mut arrived = locked(&self.arrived);
        arrived.push(Arrival {
            index,
            size,
            result,
        });
        // Release pairs with the Acquire in `has_arrivals`.
        self.count.store(arrived.len(), Ordering::Release);
    }
}

fn read<R: DeserializeOwned>(body: &Body<'_>, what: &str) -> Result<R> {
    body.read(|bytes| outcome::read(bytes, what))
}

/// Locks what is sound after any panic: every change is one assignment.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
