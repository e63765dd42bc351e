//! What a pool shares with its calls, and with the results that are still out.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

use procession_engine::pool::{self as engine, RunningTasks};
use procession_engine::shm::Loans;
use serde_core::Serialize;

use crate::codec;
use crate::error::Result;
use crate::function::EntryRef;
use crate::pool::call::Token;
use crate::pool::carrier::Carrier;
use crate::pool::known_jobs::Prologue;

pub struct Core {
    pub carrier: Carrier,
    /// Jobs by function: a worker looks a function up once for each job.
    jobs: Mutex<HashMap<EntryRef, engine::Job>>,
}

impl Core {
    pub fn new(carrier: Carrier) -> Self {
        let jobs = Mutex::default();
        Self { carrier, jobs }
    }

    /// Cancels the tasks of the call at an address; tells whether there were any.
    pub fn cancel(&self, call: *const (), running: RunningTasks) -> Result<bool> {
        let which = |token: &Token| std::ptr::eq(token.call(), call);
        let count = self.carrier.cancel(&which, running)?;
        // Somebody has to deliver the outcomes of tasks that were killed.
        self.carrier.deliver_in_background()?;
        Ok(count > 0)
    }

    /// Returns the job of a function whose tasks have nothing else in common.
    pub fn job(&self, entry: EntryRef) -> Result<engine::Job> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(job) = jobs.get(&entry) {
            return Ok(job.clone());
        }
        let bytes = codec::encode(&Prologue::new(entry), "a function")?;
        let job = engine::Job::new(&[&bytes], Loans::default())?;
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
    let prologue = Prologue::stateful(entry);
    let encode = || codec::encode_after(&prologue, context, what);
    let (bytes, loans) = codec::collecting(encode)?;
    Ok(engine::Job::new(&[&bytes], loans)?)
}
