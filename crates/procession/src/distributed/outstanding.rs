//! The tasks of a pool that are out: shipped, and not answered yet.

use std::collections::HashMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Mutex, MutexGuard, PoisonError};

use procession_engine::pool::ResultBytes;
use procession_engine::sys::wait::signal::Signal;
use procession_engine::sys::wait::time::Deadline;

use crate::distributed::answer::Answer;
use crate::error::{Death, Error, Overrun, Result};
use crate::handle;
use crate::pool::Token;
use crate::sync::uninterrupted;

/// How many tasks may be out.
const MOST: usize = 8192;

/// How many bytes of their arguments may be out, the last task not counted.
const MOST_BYTES: usize = 64 << 20;

/// Stands for an exit code that nobody could learn, as in `multiprocessing`.
const UNKNOWN: i32 = 255;

#[derive(Default)]
pub struct Outstanding {
    state: Mutex<OutTasks>,
    /// Tells that a task was answered.
    answered: Signal,
}

#[derive(Default)]
struct OutTasks {
    tasks: HashMap<u64, OutTask>,
    bytes: usize,
    /// How many tasks there were so far.
    made: u64,
    /// How many answers are on their way to their calls.
    delivering: usize,
    /// Why no task is taken any more.
    end: Option<Error>,
}

struct OutTask {
    token: Token,
    bytes: usize,
}

impl Outstanding {
    /// Counts a task of so many bytes among those that are out; returns its id.
    pub fn add(&self, token: Token, bytes: usize) -> Result<u64> {
        let mut state = self.lock();
        if let Some(end) = &state.end {
            return Err(end.clone());
        }
        let id = state.made;
        state.made += 1;
        state.bytes += bytes;
        state.tasks.insert(id, OutTask { token, bytes });
        Ok(id)
    }

    /// Forgets a task that was not shipped after all.
    pub fn forget(&self, id: u64) {
        self.lock().take(id);
    }

    /// Hands an answer to the call of its task, if the task has none yet.
    pub fn answer(&self, id: u64, answer: Answer) -> bool {
        let Some(token) = self.lock().begin_delivery(id) else {
            return false;
        };
        deliver(token, answer);
        self.lock().delivering -= 1;
        self.answered.notify();
        true
    }

    /// Takes no more tasks, and says why.
    pub fn close(&self, why: Error) {
        self.lock().end.get_or_insert(why);
    }

    /// As [`close`](Self::close), and fails all that are out with the same error.
    pub fn end(&self, why: &Error) {
        let tokens = {
            let mut state = self.lock();
            state.end = Some(why.clone());
            let ids: Vec<u64> = state.tasks.keys().copied().collect();
            let tokens: Vec<Token> = ids
                .into_iter()
                .filter_map(|id| state.begin_delivery(id))
                .collect();
            tokens
        };
        let count = tokens.len();
        for token in tokens {
            token.collect(Err(why.clone()));
        }
        self.lock().delivering -= count;
        self.answered.notify();
    }

    /// Fails all, as the engine is gone.
    pub fn fail(&self, why: &str) {
        self.end(&Error::unavailable(why));
    }

    /// Returns the ids of the tasks that `which` selects.
    pub fn select(&self, which: &dyn Fn(&Token) -> bool) -> Vec<u64> {
        let state = self.lock();
        let selected = state.tasks.iter().filter(|(_, task)| which(&task.token));
        selected.map(|(id, _)| *id).collect()
    }

    /// Tells whether another task may go out; `part` of the room must be free.
    pub fn has_room(&self, part: usize) -> bool {
        let state = self.lock();
        state.end.is_some() || state.tasks.len() < MOST / part && state.bytes < MOST_BYTES / part
    }

    /// Tells whether no task is out.
    pub fn is_empty(&self) -> bool {
        let state = self.lock();
        state.tasks.is_empty() && state.delivering == 0
    }

    /// Returns why no task is taken any more.
    pub fn why_ended(&self) -> Option<Error> {
        self.lock().end.clone()
    }

    /// Waits until `done`, which is asked at each answer; tells whether it is.
    pub fn wait(&self, done: &dyn Fn() -> bool, deadline: Deadline) -> Result<bool> {
        uninterrupted(|| self.answered.wait(done, deadline))
    }

    fn lock(&self) -> MutexGuard<'_, OutTasks> {
        // Every change is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OutTasks {
    fn take(&mut self, id: u64) -> Option<Token> {
        let task = self.tasks.remove(&id)?;
        self.bytes -= task.bytes;
        Some(task.token)
    }

    fn begin_delivery(&mut self, id: u64) -> Option<Token> {
        let token = self.take(id)?;
        self.delivering += 1;
        Some(token)
    }
}

/// Hands an answer to its call. Reading a result runs code of the program, so nothing is locked; if
/// that code panics, it is the call that fails, and not the engine's thread.
fn deliver(token: Token, answer: Answer) {
    let what = token.what();
    let failure = match answer {
        Answer::Done(bytes) => {
            let again = token.again();
            let collect = || token.collect(Ok(&ResultBytes::Inline(&bytes)));
            match panic::catch_unwind(AssertUnwindSafe(|| handle::from_afar(collect))) {
                Ok(()) => return,
                Err(_) => {
                    let why = format!("the result of {what} made its Deserialize panic");
                    return again.collect(Err(Error::refused(why)));
                }
            }
        }
        Answer::Died {
            pid,
            code,
            deaths,
            memory_limit,
        } => Error::died(Death {
            process: "on a node".to_owned(),
            pid,
            code: code.unwrap_or(UNKNOWN),
            doing: Some(what.to_owned()),
            tries: deaths,
            memory_limit,
        }),
        Answer::TimedOut { pid, limit } => Error::overrun(Overrun {
            what: what.to_owned(),
            pid,
            limit,
        }),
        Answer::Cancelled => Error::cancelled(what),
        Answer::Failed(why) => {
            Error::closed(format!("{what} was not run, or left no result: {why}"))
        }
        Answer::NodeLost { losses } => Error::node_lost(what, losses),
    };
    token.collect(Err(failure));
}
