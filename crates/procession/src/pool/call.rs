//! The collectors of outcomes of tasks.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::{option, vec};

use procession_engine::pool::{
    Ending, FedCall, Outcome, PoolEnd, ResultBytes, ResultOrder, ResultStream, Sink, StreamLimits,
    Task,
};
use serde_core::de::DeserializeOwned;

use crate::error::{Death, Error, Overrun, Result};
use crate::handle;
use crate::outcome::{self, ItemOutcome};

/// Hands each outcome to the call that waits for it.
#[derive(Debug)]
pub struct Deliver;

/// How many inputs of a call make a task.
#[derive(Clone, Copy, Debug)]
pub enum Inputs {
    /// One; the reply has its outcome.
    One,
    /// A chunk of so many; the reply has an outcome for each.
    Chunk(NonZeroUsize),
}

/// The results of a task's inputs, in their order.
pub type TaskResults<R> = std::iter::Chain<option::IntoIter<Result<R>>, vec::IntoIter<Result<R>>>;

impl Inputs {
    /// Returns the result of each input. If the task as a whole has failed, that is the outcome of
    /// each of its inputs.
    fn results<R: DeserializeOwned>(
        self,
        outcome: Result<&ResultBytes<'_>>,
        what: &str,
    ) -> TaskResults<R> {
        let (one, many) = match self {
            Self::One => (Some(outcome.and_then(|body| read(body, what))), Vec::new()),
            Self::Chunk(count) => (None, of_chunk(outcome, count.get(), what)),
        };
        one.into_iter().chain(many)
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
        Ok(items) => {
            let item = |item: ItemOutcome<R>| item.map_err(Error::panic);
            items.into_iter().map(item).collect()
        }
        Err(error) => std::iter::repeat_with(|| Err(error.clone()))
            .take(count)
            .collect(),
    }
}

/// Identifies a task: its call, its number there, and its inputs.
pub struct Token {
    call: Arc<dyn Collect>,
    number: usize,
    inputs: Inputs,
}

// What is larger than two cache lines is moved by a call of `memcpy`, several times for each task.
const _: () = assert!(size_of::<Task<Token>>() <= 128);

impl Token {
    pub fn new(call: Arc<dyn Collect>, number: usize, inputs: Inputs) -> Self {
        Self {
            call,
            number,
            inputs,
        }
    }

    /// Returns the same token once more, for an outcome that could not be handed over.
    pub fn again(&self) -> Self {
        Self {
            call: Arc::clone(&self.call),
            ..*self
        }
    }

    /// Returns the name of the function.
    pub fn what(&self) -> &'static str {
        self.call.what()
    }

    /// Returns the address of the call.
    pub fn call(&self) -> *const () {
        Arc::as_ptr(&self.call).cast()
    }

    /// Hands the outcome of the task to its call.
    pub fn collect(self, outcome: Result<&ResultBytes<'_>>) {
        self.call.collect(self.number, self.inputs, outcome);
    }
}

/// Takes the outcomes of one call's tasks.
pub trait Collect: Send + Sync {
    /// Returns the name of the function.
    fn what(&self) -> &'static str;

    /// Tells whether the call was cancelled, so that tasks which have not begun are not wanted.
    fn is_cancelled(&self) -> bool;

    /// Takes the outcome of the task of that number: the bytes of the reply, or why there is none.
    fn collect(&self, number: usize, inputs: Inputs, outcome: Result<&ResultBytes<'_>>);
}

/// A call as the feed of its tasks has it.
pub struct Fed {
    pub call: Arc<dyn Collect>,
    pub priority: i32,
}

impl FedCall for Fed {
    fn priority(&self) -> i32 {
        self.priority
    }

    fn is_cancelled(&self) -> bool {
        self.call.is_cancelled()
    }
}

impl Sink for Deliver {
    type Token = Token;

    fn deliver(&self, outcomes: &mut dyn Iterator<Item = Outcome<'_, Token>>) {
        for Outcome { token, ending } in outcomes {
            match ending {
                Ending::Reply { body, .. } => token.collect(Ok(&body)),
                ending => {
                    let failure = failure(ending, token.what());
                    token.collect(Err(failure));
                }
            }
        }
    }
}

/// Says why there is no reply.
fn failure(ending: Ending<'_>, what: &str) -> Error {
    match ending {
        Ending::Died(death) => Error::died(Death {
            process: "of the pool".to_owned(),
            pid: death.pid,
            code: death.status.map_or(UNKNOWN, |status| status.code()),
            doing: Some(what.to_owned()),
            tries: death.deaths,
            memory_limit: death.memory_limit,
        }),
        Ending::TimedOut(overrun) => Error::overrun(Overrun {
            what: what.to_owned(),
            pid: overrun.pid,
            limit: overrun.limit,
        }),
        Ending::Cancelled => Error::cancelled(what),
        Ending::Lost(error) => error.into(),
        Ending::Ended(end) => why_ended(&end),
        Ending::Reply { .. } => Error::closed("the reply was not read"),
    }
}

/// Says why a pool has ended.
pub fn why_ended(end: &PoolEnd) -> Error {
    match end {
        // The report of an initializer's failure is an outcome like any other.
        PoolEnd::Initializer(bytes) => outcome::read::<()>(bytes, "an initializer's failure")
            .err()
            .unwrap_or_else(|| Error::closed("a worker's initializer failed")),
        end => Error::closed(end.to_string()),
    }
}

/// Stands for an exit code that nobody could learn, as in `multiprocessing`.
const UNKNOWN: i32 = 255;

/// A result that can be waited for, of one task or many.
pub trait Pending<R>: Send + Sync {
    /// Tells whether the result is in, or was.
    fn is_done(&self) -> bool;

    /// Tells whether the result is in, or was; if it is not, `waker` is woken when it is.
    fn poll(&self, waker: &Waker) -> bool;

    /// Tells whether the result is in and is no error.
    fn is_successful(&self) -> bool;

    /// Returns the result, the first time.
    fn take(&self) -> Result<R>;

    /// Notes that the call was cancelled: tasks that have not begun are not wanted.
    fn set_cancelled(&self);
}

/// Collects one result.
#[derive(Debug)]
pub struct Call<R> {
    what: &'static str,
    result: Mutex<CallState<R>>,
}

#[derive(Debug)]
enum CallState<R> {
    /// The waker of the task that awaits it, if one does.
    Waiting(Option<Waker>),
    Here(Result<R>),
    Taken,
}

impl<R> Call<R> {
    pub fn new(what: &'static str) -> Self {
        Self {
            what,
            result: Mutex::new(CallState::Waiting(None)),
        }
    }
}

impl<R: Send> Pending<R> for Call<R> {
    fn is_done(&self) -> bool {
        !matches!(*locked(&self.result), CallState::Waiting(_))
    }

    fn poll(&self, waker: &Waker) -> bool {
        let mut state = locked(&self.result);
        let is_done = !matches!(*state, CallState::Waiting(_));
        if !is_done {
            *state = CallState::Waiting(Some(waker.clone()));
        }
        is_done
    }

    fn is_successful(&self) -> bool {
        matches!(*locked(&self.result), CallState::Here(Ok(_)))
    }

    fn take(&self) -> Result<R> {
        let mut state = locked(&self.result);
        match std::mem::replace(&mut *state, CallState::Taken) {
            CallState::Here(result) => result,
            CallState::Taken => Err(Error::invalid("the result was fetched before")),
            waiting @ CallState::Waiting(_) => {
                *state = waiting;
                Err(Error::closed("the pool has ended without this result"))
            }
        }
    }

    /// Its one task is in the pool, where a cancel finds it.
    fn set_cancelled(&self) {}
}

impl<R: DeserializeOwned + Send> Collect for Call<R> {
    fn what(&self) -> &'static str {
        self.what
    }

    fn is_cancelled(&self) -> bool {
        false
    }

    fn collect(&self, _number: usize, inputs: Inputs, outcome: Result<&ResultBytes<'_>>) {
        if let Some(result) = inputs.results(outcome, self.what).next() {
            let here = CallState::Here(result);
            let before = std::mem::replace(&mut *locked(&self.result), here);
            if let CallState::Waiting(Some(waker)) = before {
                waker.wake();
            }
        }
    }
}

/// Collects the results of many inputs.
#[derive(Debug)]
pub struct MapCall<R> {
    what: &'static str,
    /// How many inputs make a task.
    chunk: usize,
    is_cancelled: AtomicBool,
    results: Mutex<Results<R>>,
    /// Whether all outcomes are in.
    is_done: AtomicBool,
}

#[derive(Debug)]
struct Results<R> {
    values: Vec<Option<R>>,
    /// How many outcomes are in.
    done: usize,
    /// How many are to come, once that is known.
    total: Option<usize>,
    /// The failure of the earliest input that failed.
    failure: Option<(usize, Error)>,
    /// Whether results are dropped, those that are in and those still to come.
    abandoned: bool,
    /// The waker of the task that awaits the results.
    waker: Option<Waker>,
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
    pub fn new(what: &'static str, chunk: usize) -> Self {
        let results = Results {
            values: Vec::new(),
            done: 0,
            total: None,
            failure: None,
            abandoned: false,
            waker: None,
        };
        Self {
            what,
            chunk,
            is_cancelled: AtomicBool::new(false),
            results: Mutex::new(results),
            is_done: AtomicBool::new(false),
        }
    }

    /// Notes that there are no more than `total` inputs.
    pub fn expect(&self, total: usize) {
        let mut results = locked(&self.results);
        results.total = Some(total);
        self.note_done(&results);
    }

    fn note_done(&self, results: &Results<R>) -> bool {
        let is_done = results.total.is_some_and(|total| results.done >= total);
        if is_done {
            // Release pairs with the Acquire in `is_done`.
            self.is_done.store(true, Ordering::Release);
        }
        is_done
    }

    /// Drops the results that are in, and those still to come.
    pub fn abandon(&self) {
        let mut results = locked(&self.results);
        results.abandoned = true;
        results.values.clear();
    }
}

impl<R: Send> Pending<Vec<R>> for MapCall<R> {
    fn is_done(&self) -> bool {
        // Acquire pairs with the Release in `note_done`.
        self.is_done.load(Ordering::Acquire)
    }

    fn poll(&self, waker: &Waker) -> bool {
        // Set before `is_done` is read: the thread that counts the last outcome takes it
        // afterwards.
        locked(&self.results).waker = Some(waker.clone());
        self.is_done()
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

    fn set_cancelled(&self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
    }
}

impl<R: DeserializeOwned + Send> Collect for MapCall<R> {
    fn what(&self) -> &'static str {
        self.what
    }

    fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }

    fn collect(&self, number: usize, inputs: Inputs, outcome: Result<&ResultBytes<'_>>) {
        // Decoded before the lock is taken, as decoding runs the program's code.
        let collected = inputs.results(outcome, self.what);
        let mut results = locked(&self.results);
        let first = number * self.chunk;
        for (index, result) in (first..).zip(collected) {
            results.put(index, result);
            results.done += 1;
        }
        if self.note_done(&results) {
            let waker = results.waker.take();
            drop(results);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// Collects results that are fetched one by one.
#[derive(Debug)]
pub struct StreamCall<R> {
    what: &'static str,
    is_cancelled: AtomicBool,
    stream: Mutex<ResultStream<TaskResults<R>>>,
    /// The waker of the task that awaits the next result, if `is_awaited`.
    waker: Mutex<Option<Waker>>,
    is_awaited: AtomicBool,
}

impl<R> StreamCall<R> {
    pub fn new(what: &'static str, order: ResultOrder, limits: StreamLimits) -> Self {
        Self {
            what,
            is_cancelled: AtomicBool::new(false),
            stream: Mutex::new(ResultStream::new(order, Some(limits))),
            waker: Mutex::default(),
            is_awaited: AtomicBool::new(false),
        }
    }

    /// Has `waker` woken by the next outcome. The caller looks at the results after that.
    pub fn wake_by_next(&self, waker: &Waker) {
        *locked(&self.waker) = Some(waker.clone());
        // Relaxed: the lock of the stream, which both sides take next, orders it.
        self.is_awaited.store(true, Ordering::Relaxed);
    }

    /// Returns the results, by task. No code of the program may run while they are locked.
    pub fn stream(&self) -> MutexGuard<'_, ResultStream<TaskResults<R>>> {
        locked(&self.stream)
    }

    /// Notes that the call was cancelled: tasks that have not begun are not wanted.
    pub fn set_cancelled(&self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
    }
}

impl<R: DeserializeOwned + Send> Collect for StreamCall<R> {
    fn what(&self) -> &'static str {
        self.what
    }

    fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }

    fn collect(&self, number: usize, inputs: Inputs, outcome: Result<&ResultBytes<'_>>) {
        let size = outcome.as_ref().map_or(0, |body| body.len());
        let results = inputs.results(outcome, self.what);
        let unwanted = self.stream().arrive(number, size, results);
        drop(unwanted);
        if self.is_awaited.swap(false, Ordering::Relaxed) {
            let waker = locked(&self.waker).take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

fn read<R: DeserializeOwned>(body: &ResultBytes<'_>, what: &str) -> Result<R> {
    body.read(|bytes, source| handle::reading(source, || outcome::read(bytes, what)))
}

/// Locks data that is sound after any panic, as every change of it is one assignment.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
