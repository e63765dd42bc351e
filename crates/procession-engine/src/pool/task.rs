//! Tasks as the face hands them in, and what tasks of one job share.

use std::sync::Arc;
use std::time::Duration;

use crate::arena::{Block, Family, Loans};
use crate::error::Result;
use crate::pool::outcome::PoolEnd;
use crate::pool::record::{INLINE, JobName};

/// One piece of work for a worker.
#[derive(Debug)]
pub struct Task<T> {
    /// Comes back to the face with the outcome.
    pub token: T,
    /// What the worker is to read.
    pub payload: Payload,
    /// What the task shares with others, if it does.
    pub job: Option<Job>,
    /// How long it may take, and how often.
    pub terms: Terms,
    /// What the payload has handles of, kept alive until the outcome is in. The
    /// payload is read by [`visiting`](crate::arena::loans::visiting).
    pub loans: Loans,
}

/// How long a task may take, and how often it may be tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// After so long its worker is killed; `None` never.
    pub timeout: Option<Duration>,
    /// So often it is run again when its worker has died in it. Its block is
    /// kept for that, and cannot be claimed.
    pub retries: u32,
}

/// The bytes of a task.
#[derive(Debug)]
pub enum Payload {
    /// Few of them: they are copied into the worker's ring.
    Inline(Box<[u8]>),
    /// Many: a block and how many of its bytes count.
    Block(Block, u64),
}

impl Payload {
    /// Makes a payload of bytes in parts, wherever they fit best.
    ///
    /// # Errors
    /// `OutOfMemory` when they are many and the arena is full.
    pub fn new(parts: &[&[u8]]) -> Result<Self> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if len <= INLINE {
            let mut bytes = Vec::with_capacity(len);
            for part in parts {
                bytes.extend_from_slice(part);
            }
            return Ok(Self::Inline(bytes.into()));
        }
        Ok(Self::Block(Block::of(parts, len as u64)?, len as u64))
    }
}

/// What the tasks of one job have in common, sent to each worker once.
#[derive(Clone, Debug)]
pub struct Job(Arc<Prologue>);

#[derive(Debug)]
struct Prologue {
    id: u64,
    block: Block,
    /// What it has handles of.
    _loans: Loans,
}

impl Job {
    /// Makes a job of its common bytes, which workers read, by
    /// [`visiting`](crate::arena::loans::visiting), at its first task, and of what
    /// they have handles of.
    ///
    /// # Errors
    /// `OutOfMemory` when the arena is full.
    pub fn new(prologue: &[u8], loans: Loans) -> Result<Self> {
        let family = Family::get()?;
        let len = prologue.len();
        let mut block = family.alloc(len as u64 + 8)?;
        block[..8].copy_from_slice(&(len as u64).to_le_bytes());
        block[8..8 + len].copy_from_slice(prologue);
        let id = family.next_serial();
        Ok(Self(Arc::new(Prologue {
            id,
            block,
            _loans: loans,
        })))
    }

    /// Returns a number that no other job of the family has.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.0.id
    }

    pub(super) fn name(&self) -> JobName {
        JobName {
            id: self.0.id,
            offset: self.0.block.offset(),
        }
    }
}

/// Makes tasks as the workers need them, so that a long job is neither held in
/// memory nor made before the first task runs.
pub trait Source<T>: Send {
    /// Appends up to `most` tasks. It is called by whoever leads, without any
    /// lock of the pool, and by one thread at a time.
    fn fill(&mut self, tasks: &mut Vec<Task<T>>, most: usize) -> Supply;

    /// Is told that the pool has ended before the source was used up.
    fn end(self: Box<Self>, end: &PoolEnd);

    /// Tells whether the source is to be dropped at the next
    /// [`cancel`](super::Pool::cancel).
    fn is_cancelled(&self) -> bool {
        false
    }

    /// Is told that it was.
    fn cancel(self: Box<Self>) {}
}

/// Says what a source has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Supply {
    /// More, perhaps; ask again when workers need it.
    More,
    /// Nothing for now; ask again after
    /// [`resume_sources`](super::Pool::resume_sources).
    Later,
    /// Nothing; drop the source.
    Done,
}
