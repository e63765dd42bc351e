//! What a pool shares with its calls, and with the results that are still out.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

use procession_engine::pool::{self as engine, RunningTasks};
use procession_engine::shm::Loans;
use procession_engine::sys::wait::time::Deadline;
use serde::Serialize;

use crate::codec;
use crate::error::{Error, Result};
use crate::function::EntryRef;
use crate::pool::call::{Deliver, Token, why_ended};
use crate::pool::known_jobs::Prologue;
use crate::sync::uninterrupted;

pub struct Core {
    pub engine: engine::Pool<Deliver>,
    /// Jobs by function: a worker looks a function up once for each job.
    jobs: Mutex<HashMap<EntryRef, engine::Job>>,
}

impl Core {
    pub fn new(engine: engine::Pool<Deliver>) -> Self {
        let jobs = Mutex::default();
        Self { engine, jobs }
    }

    /// Drives the pool until `done`.
    pub fn drive(&self, done: &dyn Fn() -> bool, deadline: Deadline) -> Result<()> {
        uninterrupted(|| self.engine.drive(done, deadline))
    }

    /// Cancels the tasks of the call at an address; tells whether there were any.
    pub fn cancel(&self, call: *const (), running: RunningTasks) -> Result<bool> {
        let which = |token: &Token| std::ptr::eq(token.call(), call);
        let count = self.engine.cancel(&which, running)?;
        // Somebody has to deliver the outcomes of tasks that were killed.
        self.engine.deliver_in_background()?;
        Ok(count > 0)
    }

    /// Says why a task was refused: why the pool has ended, if it has.
    pub fn refused(&self, error: procession_engine::Error) -> Error {
        match self.engine.end() {
            Some(end) => why_ended(&end),
            None => error.into(),
        }
    }

    /// Returns the job of a function whose tasks have nothing else in common.
    pub fn job(&self, entry: EntryRef) -> Result<engine::Job> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(job) = jobs.get(&entry) {
            return Ok(job.clone());
        }
        let prologue = Prologue {
            entry,
            is_stateful: false,
        };
        let bytes = codec::encode(&prologue, "a function")?;
        let job = engine::Job::new(&bytes, Loans::default())?;
        jobs.insert(entry, job.clone());
        Ok(job)
    }
}

/// Makes a job for a function whose tasks keep a state in each worker, which is made of `context`
/// there.
pub fn stateful_job<C: Serialize + ?Sized>(
    entry: EntryRef,
    context: &C,
    what: impl Display,
) -> Result<engine::Job> {
    let prologue = Prologue {
        entry,
        is_stateful: true,
    };
    let encode = || codec::encode_after(&prologue, context, what);
    let (bytes, loans) = codec::collecting(encode)?;
    Ok(engine::Job::new(&bytes, loans)?)
}
