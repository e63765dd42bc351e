//! The side of a pool that gives its tasks to an engine.

use std::sync::{Arc, Mutex, PoisonError};

use procession_engine::ErrorKind;
use procession_engine::pool::{
    AfterPut, FedCall, Job, RunningTasks, StreamLimits, Task, TimeLimit,
};
use procession_engine::sys::wait::time::Deadline;

use crate::codec;
use crate::distributed::engine::{Answers, Engine};
use crate::distributed::envelope::TaskEnvelope;
use crate::distributed::node_info::NodeInfo;
use crate::distributed::outstanding::Outstanding;
use crate::error::{Error, Result};
use crate::pool::{Prologue, Token};

/// How many workers are reckoned with where it matters how many results may be ahead.
const WORKERS: usize = 64;

/// A pool whose tasks an engine carries. All clones are the same.
#[derive(Clone)]
pub struct RemotePool {
    engine: Arc<dyn Engine>,
    outstanding: Arc<Outstanding>,
    /// The process that made the pool: a forked copy of it must not use it.
    owner: u32,
    /// The job of the latest task, as envelopes have it: most tasks are of the same job as the one
    /// before.
    latest: Arc<Mutex<Option<SharedJob>>>,
}

/// What the envelopes of a job's tasks have in common.
#[derive(Clone)]
struct SharedJob {
    id: u64,
    bytes: Arc<[u8]>,
    build: Option<u64>,
}

impl RemotePool {
    pub fn new(engine: impl Engine) -> Result<Self> {
        #[cfg(feature = "tasks")]
        crate::distributed::registered::check_names()?;
        let outstanding = Arc::<Outstanding>::default();
        engine.open(Answers {
            outstanding: Arc::clone(&outstanding),
        })?;
        Ok(Self {
            engine: Arc::new(engine),
            outstanding,
            owner: std::process::id(),
            latest: Arc::default(),
        })
    }

    pub fn submit(&self, task: Task<Token>) -> Result<()> {
        self.check_owner()?;
        let (token, envelope) = self.envelope(task)?;
        let bytes = envelope.input.len();
        let id = self.outstanding.add(token, bytes)?;
        let shipped = self.engine.ship(TaskEnvelope { id, ..envelope });
        shipped.inspect_err(|_| self.outstanding.forget(id))
    }

    pub fn feed(&self, call: Box<dyn FedCall>) -> Result<RemoteFeed> {
        self.check_owner()?;
        if let Some(end) = self.outstanding.why_ended() {
            return Err(end);
        }
        Ok(RemoteFeed {
            pool: self.clone(),
            call,
        })
    }

    /// Waits until `done`.
    pub fn drive(&self, done: &dyn Fn() -> bool, deadline: Deadline) -> Result<()> {
        self.check_owner()?;
        let is_over = || done() || self.has_ended();
        self.outstanding.wait(&is_over, deadline)?;
        if done() {
            return Ok(());
        }
        Err(match self.outstanding.why_ended() {
            Some(end) if self.has_ended() => end,
            _ => late(),
        })
    }

    /// Cancels the tasks that `which` selects; returns how many those are.
    pub fn cancel(&self, which: &dyn Fn(&Token) -> bool, running: RunningTasks) -> Result<usize> {
        self.check_owner()?;
        let tasks = self.outstanding.select(which);
        if !tasks.is_empty() {
            self.engine.cancel(&tasks, running.into())?;
        }
        Ok(tasks.len())
    }

    pub fn stream_limits(inputs: usize) -> StreamLimits {
        StreamLimits::new(WORKERS, inputs)
    }

    pub fn nodes(&self) -> Result<Vec<NodeInfo>> {
        self.check_owner()?;
        self.engine.nodes()
    }

    pub fn close(&self) {
        if self.check_owner().is_ok() {
            self.outstanding.close(closed());
        }
    }

    pub fn join(&self, deadline: Deadline) -> Result<()> {
        self.check_owner()?;
        if self.outstanding.why_ended().is_none() {
            return Err(Error::invalid(
                "the pool still takes tasks: close or terminate it before it is joined",
            ));
        }
        match self
            .outstanding
            .wait(&|| self.outstanding.is_empty(), deadline)?
        {
            true => {
                self.engine.close();
                Ok(())
            }
            false => Err(late()),
        }
    }

    pub fn terminate(&self) {
        if self.check_owner().is_ok() {
            self.outstanding.end(&closed());
            self.engine.close();
        }
    }

    /// Makes the envelope of a task, but for its id.
    fn envelope(&self, task: Task<Token>) -> Result<(Token, TaskEnvelope)> {
        let what = task.token.what();
        if task.policy.turn.is_some() {
            return Err(unsupported(format!(
                "tasks of {what} cannot be dealt to workers in a fixed order on other machines: \
                 leave order_tasks out"
            )));
        }
        let Some(job) = &task.job else {
            return Err(Error::invalid("a task has no function"));
        };
        if job.lends() || !task.loans.is_empty() {
            return Err(unsupported(format!(
                "the arguments of {what} have a queue, a lock or another object that lies in the \
                 memory of this machine, and the pool's workers are on others: pass values instead"
            )));
        }
        let SharedJob { bytes, build, .. } = self.shared_job(job)?;
        let envelope = TaskEnvelope {
            id: 0,
            function: what.to_owned(),
            build,
            job: bytes,
            input: task.payload.bytes().to_vec(),
            timeout: task.policy.timeout.map(TimeLimit::get),
            retries: task.policy.retries,
            priority: task.policy.priority,
        };
        Ok((task.token, envelope))
    }

    fn shared_job(&self, job: &Job) -> Result<SharedJob> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = latest.as_ref().filter(|shared| shared.id == job.id()) {
            return Ok(shared.clone());
        }
        let (prologue, _) = codec::decode_first::<Prologue>(job.prologue(), "a function")?;
        let shared = SharedJob {
            id: job.id(),
            bytes: job.prologue().into(),
            build: prologue.build(),
        };
        *latest = Some(shared.clone());
        Ok(shared)
    }

    fn has_ended(&self) -> bool {
        self.outstanding.why_ended().is_some() && self.outstanding.is_empty()
    }

    fn check_owner(&self) -> Result<()> {
        if self.owner == std::process::id() {
            return Ok(());
        }
        let message = "the pool belongs to the process that made it: a forked copy of that process \
                       has to make one of its own";
        Err(procession_engine::Error::new(ErrorKind::NotOwner, message).into())
    }
}

/// Puts the tasks of one call.
pub struct RemoteFeed {
    pool: RemotePool,
    call: Box<dyn FedCall>,
}

impl RemoteFeed {
    pub fn put(&self, task: Task<Token>) -> Result<AfterPut> {
        if self.call.is_cancelled() {
            let what = task.token.what();
            task.token.collect(Err(Error::cancelled(what)));
            return Ok(AfterPut::GoOn);
        }
        self.pool.submit(task)?;
        Ok(match self.has_room(1) {
            true => AfterPut::GoOn,
            false => AfterPut::MakeRoom,
        })
    }

    /// Tells whether another task may go out; `part` of the room must be free.
    pub fn has_room(&self, part: usize) -> bool {
        self.pool.outstanding.has_room(part)
    }

    pub fn make_room(&self) -> Result<()> {
        let outstanding = &self.pool.outstanding;
        outstanding.wait(&|| outstanding.has_room(2), Deadline::NEVER)?;
        Ok(())
    }
}

/// Makes the error of something that only workers of this machine can do.
pub fn unsupported(message: impl Into<String>) -> Error {
    procession_engine::Error::new(ErrorKind::Unsupported, message).into()
}

fn late() -> Error {
    let message = "the pool had no answer before the deadline";
    procession_engine::Error::new(ErrorKind::TimedOut, message).into()
}

fn closed() -> Error {
    Error::closed("the pool takes no more tasks: it was closed or terminated")
}
