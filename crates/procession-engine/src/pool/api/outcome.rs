//! Outcomes of tasks, on their way to the face.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;
use std::time::Duration;

use crate::pool::api::pool_end::PoolEnd;
use crate::pool::api::task::TaskPolicy;
use procession_shm::transfer::loans;
use procession_shm::{Block, HandleSource};
use procession_sys::error::Error;
use procession_sys::process::exit_status::ExitStatus;

/// Receives outcomes; the faces turn them into futures.
pub trait Sink: Send + Sync + 'static {
    /// What the face knows a task by; the pool returns it with the task's outcome.
    type Token: Send + 'static;

    /// Takes the outcomes of some tasks. Each task has exactly one.
    ///
    /// The leader calls it without holding any lock of the pool; it may call the pool.
    fn deliver(&self, outcomes: &mut dyn Iterator<Item = Outcome<'_, Self::Token>>);
}

/// The outcome of one task.
#[derive(Debug)]
pub struct Outcome<'a, T> {
    /// The task's token.
    pub token: T,
    /// How it ended.
    pub ending: Ending<'a>,
}

/// How a task ended.
#[derive(Debug)]
pub enum Ending<'a> {
    /// The worker replied.
    Reply {
        /// A number whose meaning the face chooses; 0 stands for success.
        code: u8,
        /// The result.
        body: ResultBytes<'a>,
        /// How long the task ran.
        elapsed: Duration,
    },
    /// The worker died while it ran the task.
    Died(Death),
    /// The task took too long, and was killed with its worker.
    TimedOut(Overrun),
    /// The task was cancelled.
    Cancelled,
    /// The worker replied, but the result cannot be read.
    Lost(Error),
    /// The pool ended before the task had run.
    Ended(Arc<PoolEnd>),
}

/// The bytes of a result.
#[derive(Debug)]
pub enum ResultBytes<'a> {
    /// A few bytes, valid during the delivery.
    Inline(&'a [u8]),
    /// A block, which the receiver may keep, and how many of its bytes count.
    Block(Block, usize),
}

impl ResultBytes<'_> {
    /// Calls `read` with the bytes. `read` may attach to the objects whose handles are in the
    /// bytes; the objects that it has not attached to when it fails are released with the block.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn read<T, E>(
        &self,
        read: impl FnOnce(&[u8], &HandleSource) -> Result<T, E>,
    ) -> Result<T, E> {
        match self {
            Self::Inline(bytes) => read(bytes, &HandleSource::UNTRACKED),
            Self::Block(block, len) => loans::reading(block, |source| read(&block[..*len], source)),
        }
    }
}

impl Deref for ResultBytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Inline(bytes) => bytes,
            Self::Block(block, len) => &block[..*len],
        }
    }
}

/// The death of a worker that ended a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// The worker's process id.
    pub pid: u32,
    /// Its exit status, if known.
    pub status: Option<ExitStatus>,
    /// How many workers have died in the task, this one included.
    pub deaths: u32,
    /// The worker's limit of private memory in bytes, if the worker died because the system refused
    /// it more.
    pub memory_limit: Option<u64>,
    /// What the worker's runtime wrote when the worker crashed; `None` if it did not crash, or the
    /// face had not asked for it.
    pub crash: Option<Arc<str>>,
}

/// The end of a task that took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overrun {
    /// The process id of the worker, which was killed.
    pub pid: u32,
    /// How long the task was allowed to take.
    pub limit: Duration,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "worker process {} {status}", self.pid),
            None => write!(f, "worker process {} died", self.pid),
        }
    }
}

/// A task in which its worker has died.
#[derive(Debug)]
pub(crate) struct Lost<T> {
    pub token: T,
    pub policy: TaskPolicy,
    /// How many workers have died in it, this one included.
    pub deaths: u32,
    /// Why the pool killed the worker, if it did.
    pub kill_reason: Option<KillReason>,
}

/// Why the pool kills a worker because of its running task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KillReason {
    /// The task has taken longer than this.
    TimedOut(Duration),
    /// The task was cancelled.
    Cancelled,
}

/// Outcomes that were collected and not yet delivered.
#[derive(Debug)]
pub(crate) struct Outbox<T> {
    bytes: Vec<u8>,
    items: Vec<(T, OutboxEntry)>,
}

#[derive(Debug)]
enum OutboxEntry {
    Inline(u8, Duration, Range<usize>),
    Block(u8, Duration, Block, usize),
    Died(Death),
    TimedOut(Overrun),
    Cancelled,
    Lost(Error),
    Ended(Arc<PoolEnd>),
}

impl<T> Default for Outbox<T> {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            items: Vec::new(),
        }
    }
}

impl<T> Outbox<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn inline(&mut self, token: T, code: u8, elapsed: u64, bytes: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        let item =
            OutboxEntry::Inline(code, Duration::from_nanos(elapsed), start..self.bytes.len());
        self.items.push((token, item));
    }

    pub(crate) fn block(&mut self, token: T, code: u8, elapsed: u64, block: Block, len: usize) {
        let item = OutboxEntry::Block(code, Duration::from_nanos(elapsed), block, len);
        self.items.push((token, item));
    }

    pub(crate) fn died(&mut self, token: T, death: Death) {
        self.items.push((token, OutboxEntry::Died(death)));
    }

    pub(crate) fn killed(&mut self, token: T, kill_reason: KillReason, pid: u32) {
        let item = match kill_reason {
            KillReason::TimedOut(limit) => OutboxEntry::TimedOut(Overrun { pid, limit }),
            KillReason::Cancelled => OutboxEntry::Cancelled,
        };
        self.items.push((token, item));
    }

    pub(crate) fn cancelled(&mut self, token: T) {
        self.items.push((token, OutboxEntry::Cancelled));
    }

    /// Adds the outcome of a task that was running when the pool ended its worker.
    pub(crate) fn lost_at_end(&mut self, lost: Lost<T>, pid: u32, end: &Arc<PoolEnd>) {
        match lost.kill_reason {
            Some(kill_reason) => self.killed(lost.token, kill_reason, pid),
            None => self.ended(lost.token, end),
        }
    }

    pub(crate) fn lost(&mut self, token: T, error: Error) {
        self.items.push((token, OutboxEntry::Lost(error)));
    }

    pub(crate) fn ended(&mut self, token: T, end: &Arc<PoolEnd>) {
        self.items
            .push((token, OutboxEntry::Ended(Arc::clone(end))));
    }

    /// Delivers everything to the face.
    pub(crate) fn deliver(&mut self, sink: &impl Sink<Token = T>) {
        let bytes = std::mem::take(&mut self.bytes);
        let mut items = std::mem::take(&mut self.items);
        let mut outcomes = items.drain(..).map(|(token, item)| Outcome {
            token,
            ending: match item {
                OutboxEntry::Inline(code, elapsed, range) => Ending::Reply {
                    code,
                    body: ResultBytes::Inline(&bytes[range]),
                    elapsed,
                },
                OutboxEntry::Block(code, elapsed, block, len) => Ending::Reply {
                    code,
                    body: ResultBytes::Block(block, len),
                    elapsed,
                },
                OutboxEntry::Died(death) => Ending::Died(death),
                OutboxEntry::TimedOut(overrun) => Ending::TimedOut(overrun),
                OutboxEntry::Cancelled => Ending::Cancelled,
                OutboxEntry::Lost(error) => Ending::Lost(error),
                OutboxEntry::Ended(end) => Ending::Ended(end),
            },
        });
        sink.deliver(&mut outcomes);
        drop(outcomes);
        // The next round reuses the memory.
        self.bytes = bytes;
        self.bytes.clear();
        self.items = items;
    }
}
