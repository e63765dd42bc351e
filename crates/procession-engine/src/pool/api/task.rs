//! Tasks as the face hands them in, and what tasks of one job share.

use std::iter;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use crate::family;
use crate::pool::shm::record::{INLINE, JobName};
use procession_shm::{Block, Loans};
use procession_sys::error::Result;

/// One piece of work for a worker.
#[derive(Debug)]
pub struct Task<T> {
    /// Returned to the face with the outcome.
    pub token: T,
    /// The bytes that the worker reads.
    pub payload: TaskBytes,
    /// The job that the task belongs to, if any.
    pub job: Option<Job>,
    /// How long it may take, how often it is tried, and which tasks it goes before.
    pub policy: TaskPolicy,
    /// The objects whose handles are in the payload, kept alive until the outcome is in. The
    /// worker attaches to them
    /// with [`KEPT`](procession_shm::HandleSource::KEPT).
    pub loans: Loans,
}

/// How long a task may take, how often it may be tried, and which tasks it goes before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskPolicy {
    /// How long it may run before its worker is killed; `None` for any time.
    pub timeout: Option<TimeLimit>,
    /// How often it is run again after its worker has died in it. The pool keeps its block
    /// for that, so the worker cannot claim the block.
    pub retries: u32,
    /// A task with a higher priority begins before all tasks with a lower one that have not begun.
    pub priority: i32,
    /// Its turn, if the tasks of its call are dealt in a fixed order of workers.
    pub turn: Option<Turn>,
    /// The number of the function that it is counted for, from
    /// [`Pool::label`](crate::pool::Pool::label).
    pub label: u32,
    /// How many calls of the function it is counted as; 0 stands for 1.
    pub calls: u32,
}

impl TaskPolicy {
    /// Returns the policy of the call's task of that number: the same, but for its turn.
    #[must_use]
    pub fn of_task(self, number: usize) -> Self {
        Self {
            turn: self.turn.map(|_| Turn::new(number)),
            ..self
        }
    }
}

/// How long a task may run: up to 584 years, and what is longer is that.
// One nanosecond more, so that no limit takes no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimit(NonZeroU64);

impl TimeLimit {
    /// Returns the time.
    #[must_use]
    pub fn get(self) -> Duration {
        Duration::from_nanos(self.0.get() - 1)
    }
}

impl From<Duration> for TimeLimit {
    fn from(time: Duration) -> Self {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self(NonZeroU64::MIN.saturating_add(nanoseconds))
    }
}

/// The number of a task in a call whose tasks are dealt in a fixed order of workers: it is for the
/// worker whose index is that number, modulo the pool's size. One that comes to replace the worker
/// has its tasks.
// One more than the number, so that a policy without a turn is no larger for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn(NonZeroU64);

impl Turn {
    /// Returns the turn of the task of that number.
    #[must_use]
    pub fn new(number: usize) -> Self {
        Self(NonZeroU64::MIN.saturating_add(number as u64))
    }

    /// Returns the index of its worker in a pool of so many.
    pub(crate) fn seat(self, size: usize) -> u32 {
        ((self.0.get() - 1) % size as u64) as u32
    }
}

/// The bytes of a task.
#[derive(Debug)]
pub enum TaskBytes {
    /// A few bytes, which are copied into the worker's ring.
    Inline(InlineBytes),
    /// A block, and how many of its bytes count.
    Block(Block, u64),
}

impl TaskBytes {
    /// Returns how many bytes it has.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "nobody asks")]
    pub fn len(&self) -> usize {
        match self {
            Self::Inline(bytes) => bytes.as_slice().len(),
            Self::Block(_, len) => *len as usize,
        }
    }

    /// Returns its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Inline(bytes) => bytes.as_slice(),
            Self::Block(block, len) => &block[..*len as usize],
        }
    }

    /// Makes a payload of the parts, inline or in a block as their length demands.
    ///
    /// # Errors
    /// `OutOfMemory` when a block is needed and the arena is full.
    pub fn new(parts: &[&[u8]]) -> Result<Self> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if len <= INLINE {
            return Ok(Self::Inline(InlineBytes::new(parts, len)));
        }
        Ok(Self::Block(
            Block::of(family()?, parts, len as u64)?,
            len as u64,
        ))
    }
}

/// The few bytes of a task. A handful of bytes is stored in place, because to ask the heap for
/// memory takes longer than all else about a short task.
#[derive(Debug)]
pub struct InlineBytes(Storage);

#[derive(Debug)]
enum Storage {
    Here([u8; HANDFUL], u8),
    Heap(Box<[u8]>),
}

/// How many bytes are stored in place: as many as fit without making [`TaskBytes`] larger than its
/// other form needs.
const HANDFUL: usize = 30;

const _: () = assert!(size_of::<TaskBytes>() == 32);

impl InlineBytes {
    fn new(parts: &[&[u8]], len: usize) -> Self {
        if len <= HANDFUL {
            let mut bytes = [0; HANDFUL];
            let mut end = 0;
            for part in parts {
                bytes[end..end + part.len()].copy_from_slice(part);
                end += part.len();
            }
            return Self(Storage::Here(bytes, end as u8));
        }
        Self(Storage::Heap(parts.concat().into()))
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Storage::Here(bytes, len) => &bytes[..usize::from(*len)],
            Storage::Heap(bytes) => bytes,
        }
    }
}

impl From<&[u8]> for InlineBytes {
    fn from(bytes: &[u8]) -> Self {
        Self::new(&[bytes], bytes.len())
    }
}

/// A job: its prologue, the bytes that its tasks have in common. Each worker reads it once.
#[derive(Clone, Debug)]
pub struct Job(Arc<JobHeader>);

#[derive(Debug)]
struct JobHeader {
    id: u64,
    block: Block,
    /// The objects whose handles are in the prologue.
    loans: Loans,
}

impl Job {
    /// Makes a job of the parts of its prologue, one after the other, and the objects whose handles
    /// are in it. A worker reads the prologue at its first task of the job; it attaches to them with
    /// [`KEPT`](procession_shm::HandleSource::KEPT).
    ///
    /// # Errors
    /// `OutOfMemory` when the arena is full.
    pub fn new(prologue: &[&[u8]], loans: Loans) -> Result<Self> {
        let family = family()?;
        let len: usize = prologue.iter().map(|part| part.len()).sum();
        let head = (len as u64).to_le_bytes();
        let parts: Vec<&[u8]> = iter::once(&head[..])
            .chain(prologue.iter().copied())
            .collect();
        let block = Block::of(family, &parts, len as u64 + 8)?;
        let id = family.next_serial();
        Ok(Self(Arc::new(JobHeader { id, block, loans })))
    }

    /// Returns the bytes that its tasks have in common.
    #[must_use]
    pub fn prologue(&self) -> &[u8] {
        let (len, rest) = self.0.block.split_at(8);
        let len = len.try_into().map_or(0, u64::from_le_bytes);
        &rest[..len as usize]
    }

    /// Tells whether there are handles in the prologue.
    #[must_use]
    pub fn lends(&self) -> bool {
        !self.0.loans.is_empty()
    }

    /// Returns a number that no other job of the family has.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.0.id
    }

    pub(crate) fn name(&self) -> JobName {
        JobName {
            id: self.0.id,
            offset: self.0.block.offset(),
        }
    }
}
