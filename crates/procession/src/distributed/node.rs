//! A node: the workers of one machine, for tasks that an engine brings.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use procession_engine::pool::{
    self as engine, Ending, Job, Outcome, PoolEnd, Sink, Task, TaskBytes, TaskPolicy,
};
use procession_engine::shm::Loans;
use procession_engine::sys::wait::time::Deadline;

use crate::distributed::answer::Answer;
use crate::distributed::envelope::{RunningTasks, TaskEnvelope};
use crate::error::{Error, Result};
use crate::pool::{PoolBuilder, why_ended};
use crate::sync::uninterrupted;

/// How many jobs are kept for their next tasks.
const JOBS: usize = 64;

/// Runs tasks that an engine brings, in worker processes of this machine.
///
/// The engine's side in a process that is a node: it receives tasks, hands them to
/// [`run`](Self::run), and sends off the answers. Dropping it kills the workers.
///
/// # Examples
///
/// See [`Engine`](crate::distributed::Engine).
pub struct Node {
    pool: engine::Pool<GiveAnswers>,
    /// Jobs by their bytes: a worker looks at a job once.
    jobs: Mutex<HashMap<Arc<[u8]>, Job>>,
}

/// Hands each outcome to the engine.
struct GiveAnswers(Box<dyn Fn(u64, Answer) + Send + Sync>);

impl Node {
    /// Starts the workers that the builder describes. `answer` is called with the key and the answer of
    /// each task, once, from a thread of the node; what takes long there keeps other answers
    /// waiting.
    ///
    /// # Errors
    /// As [`PoolBuilder::start`].
    pub fn start(
        workers: PoolBuilder,
        answer: impl Fn(u64, Answer) + Send + Sync + 'static,
    ) -> Result<Self> {
        let (pool, _) = workers.start_with(GiveAnswers(Box::new(answer)))?;
        let jobs = Mutex::default();
        Ok(Self { pool, jobs })
    }

    /// Takes a task. Its answer comes with `key`, by which the caller tells it from the other tasks
    /// of this node.
    ///
    /// # Errors
    /// When the node takes no more, or has no memory left for it; then there is no answer.
    pub fn run(&self, key: u64, task: TaskEnvelope) -> Result<()> {
        let policy = TaskPolicy {
            timeout: task.timeout.map(Into::into),
            retries: task.retries,
            priority: task.priority,
            label: self.pool.label(&task.function),
            ..TaskPolicy::default()
        };
        let task = Task {
            token: key,
            payload: TaskBytes::new(&[&task.input])?,
            job: Some(self.job(&task.job)?),
            policy,
            loans: Loans::default(),
        };
        self.pool
            .submit(task)
            .map_err(|error| match self.pool.end() {
                Some(end) => why_ended(&end),
                None => Error::from(error),
            })?;
        Ok(self.pool.deliver_in_background()?)
    }

    /// Cancels tasks by their keys: those that have not begun never will, and of those that run
    /// `running` tells. Returns of how many the answer will be that they were cancelled.
    ///
    /// # Errors
    /// In a forked copy of the process.
    pub fn cancel(&self, keys: &[u64], running: RunningTasks) -> Result<usize> {
        let which = |key: &u64| keys.contains(key);
        let count = self.pool.cancel(&which, running.into())?;
        self.pool.deliver_in_background()?;
        Ok(count)
    }

    /// Returns how many workers there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.pool.workers().len()
    }

    /// Takes no more tasks; the workers end after the last one.
    pub fn close(&self) {
        self.pool.close();
    }

    /// Kills the workers. Tasks that have no answer get one that says so.
    pub fn terminate(&self) {
        self.pool.terminate();
    }

    /// Blocks until all workers have ended, for at most `timeout`.
    ///
    /// # Errors
    /// `is_timeout`, and `is_invalid` when the node still takes tasks.
    pub fn join_timeout(&self, timeout: Duration) -> Result<()> {
        let deadline = Deadline::after(timeout);
        uninterrupted(|| self.pool.join(deadline))
    }

    fn job(&self, prologue: &Arc<[u8]>) -> Result<Job> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(job) = jobs.get(prologue) {
            return Ok(job.clone());
        }
        if jobs.len() >= JOBS {
            jobs.clear();
        }
        let job = Job::new(&[prologue], Loans::default())?;
        jobs.insert(Arc::clone(prologue), job.clone());
        Ok(job)
    }
}

impl Sink for GiveAnswers {
    type Token = u64;

    fn deliver(&self, outcomes: &mut dyn Iterator<Item = Outcome<'_, u64>>) {
        for Outcome { token, ending } in outcomes {
            (self.0)(token, answer(ending));
        }
    }
}

fn answer(ending: Ending<'_>) -> Answer {
    match ending {
        Ending::Reply { body, .. } => Answer::Done(body.to_vec()),
        Ending::Died(death) => Answer::Died {
            pid: death.pid,
            code: death.status.map(|status| status.code()),
            deaths: death.deaths,
            memory_limit: death.memory_limit,
        },
        Ending::TimedOut(overrun) => Answer::TimedOut {
            pid: overrun.pid,
            limit: overrun.limit,
        },
        Ending::Cancelled => Answer::Cancelled,
        Ending::Lost(error) => Answer::Failed(error.to_string()),
        Ending::Ended(end) => Answer::Failed(ended(&end)),
    }
}

fn ended(end: &PoolEnd) -> String {
    format!("the node's workers have ended: {}", why_ended(end))
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("workers", &self.workers())
            .finish_non_exhaustive()
    }
}
