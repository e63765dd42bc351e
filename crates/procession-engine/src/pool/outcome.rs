//! What became of tasks, on its way to the face.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;
use std::time::Duration;

use crate::arena::{Block, loans};
use crate::error::Error;
use crate::os::exit_status::ExitStatus;
use crate::pool::seat::{Doom, Lost};

/// Receives outcomes; what the faces turn into futures.
pub trait Sink: Send + Sync + 'static {
    /// What the face knows a task by.
    type Token: Send + 'static;

    /// Takes the outcomes of some tasks. Each task has exactly one.
    ///
    /// It is called by whoever leads, without any lock of the pool; it may call
    /// the pool.
    fn deliver(&self, outcomes: &mut dyn Iterator<Item = Outcome<'_, Self::Token>>);
}

/// What became of one task.
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
        /// What the worker's face chose.
        code: u8,
        /// What it sent.
        body: Body<'a>,
        /// How long the task ran.
        elapsed: Duration,
    },
    /// The worker died while it ran the task.
    Died(Death),
    /// The task took too long, and was killed with its worker.
    TimedOut(Overrun),
    /// The task was cancelled.
    Cancelled,
    /// The worker replied, but the reply cannot be had.
    Lost(Error),
    /// The pool ended before the task had run.
    Ended(Arc<PoolEnd>),
}

/// The bytes of a result.
#[derive(Debug)]
pub enum Body<'a> {
    /// A few, to be read now.
    Inline(&'a [u8]),
    /// Many, in a block that is the receiver's to keep, of which so many count.
    Block(Block, usize),
}

impl Body<'_> {
    /// Has `read` read the bytes. What it attaches to by handles in them is its own; if
    /// it fails, all others are given back.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn read<T, E>(&self, read: impl FnOnce(&[u8]) -> Result<T, E>) -> Result<T, E> {
        match self {
            Self::Inline(bytes) => read(bytes),
            Self::Block(block, len) => loans::reading(block, || read(&block[..*len])),
        }
    }
}

impl Deref for Body<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Inline(bytes) => bytes,
            Self::Block(block, len) => &block[..*len],
        }
    }
}

/// Whose death cost a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Death {
    /// The worker's process id.
    pub pid: u32,
    /// How it ended, if that could be learnt.
    pub status: Option<ExitStatus>,
    /// How many workers have died in the task, this one included.
    pub deaths: u32,
    /// It died because it was refused more memory than it may have.
    pub starved: bool,
}

/// Which task took how much too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overrun {
    /// The process id of the worker, which was killed.
    pub pid: u32,
    /// How long the task might have taken.
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

/// Why a pool runs no more tasks.
#[derive(Debug)]
pub enum PoolEnd {
    /// It was closed, and has done all that it had.
    Closed,
    /// It was terminated.
    Terminated,
    /// A worker could not set itself up; what its face said about it.
    Initializer(Vec<u8>),
    /// Workers could not be started, or died too often.
    Workers(Error),
}

impl fmt::Display for PoolEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the pool is closed and its workers have ended"),
            Self::Terminated => f.write_str("the pool was terminated"),
            Self::Initializer(_) => f.write_str("a worker's initializer failed"),
            Self::Workers(error) => error.fmt(f),
        }
    }
}

/// Outcomes that were collected and not yet delivered.
#[derive(Debug)]
pub(super) struct Outbox<T> {
    bytes: Vec<u8>,
    items: Vec<(T, Item)>,
}

#[derive(Debug)]
enum Item {
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
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn inline(&mut self, token: T, code: u8, elapsed: u64, bytes: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        let item = Item::Inline(code, Duration::from_nanos(elapsed), start..self.bytes.len());
        self.items.push((token, item));
    }

    pub(super) fn block(&mut self, token: T, code: u8, elapsed: u64, block: Block, len: usize) {
        let item = Item::Block(code, Duration::from_nanos(elapsed), block, len);
        self.items.push((token, item));
    }

    pub(super) fn died(&mut self, token: T, death: Death) {
        self.items.push((token, Item::Died(death)));
    }

    pub(super) fn doomed(&mut self, token: T, doom: Doom, pid: u32) {
        let item = match doom {
            Doom::TimedOut(limit) => Item::TimedOut(Overrun { pid, limit }),
            Doom::Cancelled => Item::Cancelled,
        };
        self.items.push((token, item));
    }

    pub(super) fn cancelled(&mut self, token: T) {
        self.items.push((token, Item::Cancelled));
    }

    /// Takes what a worker that the pool has ended took with it.
    pub(super) fn lost_at_end(&mut self, lost: Lost<T>, pid: u32, end: &Arc<PoolEnd>) {
        match lost.doom {
            Some(doom) => self.doomed(lost.token, doom, pid),
            None => self.ended(lost.token, end),
        }
    }

    pub(super) fn lost(&mut self, token: T, error: Error) {
        self.items.push((token, Item::Lost(error)));
    }

    pub(super) fn ended(&mut self, token: T, end: &Arc<PoolEnd>) {
        self.items.push((token, Item::Ended(Arc::clone(end))));
    }

    /// Gives everything to the face.
    pub(super) fn deliver(&mut self, sink: &impl Sink<Token = T>) {
        let bytes = std::mem::take(&mut self.bytes);
        let mut items = std::mem::take(&mut self.items);
        let mut outcomes = items.drain(..).map(|(token, item)| Outcome {
            token,
            ending: match item {
                Item::Inline(code, elapsed, range) => Ending::Reply {
                    code,
                    body: Body::Inline(&bytes[range]),
                    elapsed,
                },
                Item::Block(code, elapsed, block, len) => Ending::Reply {
                    code,
                    body: Body::Block(block, len),
                    elapsed,
                },
                Item::Died(death) => Ending::Died(death),
                Item::TimedOut(overrun) => Ending::TimedOut(overrun),
                Item::Cancelled => Ending::Cancelled,
                Item::Lost(error) => Ending::Lost(error),
                Item::Ended(end) => Ending::Ended(end),
            },
        });
        sink.deliver(&mut outcomes);
        drop(outcomes);
        // Their memory serves the next round.
        self.bytes = bytes;
        self.bytes.clear();
        self.items = items;
    }
}
