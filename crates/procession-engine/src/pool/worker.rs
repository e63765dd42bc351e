//! The worker's side of a pool: takes tasks, gives results.
//!
//! What a task is, and how it is run, is the face's business: it calls
//! [`Worker::next`] and [`Worker::reply`] in turn until there is no next task.

use crate::arena::{Block, Family, Handle, Stamp};
use crate::error::{Error, ErrorKind, Result};
use crate::os::doorbell;
use crate::os::futex::Woken;
use crate::os::last_words;
use crate::os::liveness::boot_time;
use crate::os::patience::Patience;
use crate::os::time::Deadline;
use crate::pool::bounds::Bounds;
use crate::pool::lane::{Lane, bytes_at, prologue_at};
use crate::pool::record::{Content, INLINE, Kind, TaskRecord, read_task, write_reply};
use crate::pool::ring::Ring;
use crate::primitive::Ordering;

/// The longest that a result waits unannounced when the pool sleeps and wants
/// only some rings, in nanoseconds.
const UNANNOUNCED: u64 = 300_000;

/// Runs the tasks of one lane.
#[derive(Debug)]
pub struct Worker {
    lane: Lane,
    tasks: Ring,
    results: Ring,
    pool: Stamp,
    doorbell: u32,
    /// Where the next task lies.
    position: u64,
    /// How many tasks were taken.
    taken: u64,
    /// What was published, and what the pool had read of it when last seen.
    tail: u64,
    head: u64,
    /// The time: when the last reply was given, or the running task began.
    now: u64,
    /// When the oldest result that was not announced was published, or 0.
    unannounced: u64,
    /// Whether the running task's block has been claimed.
    claimed: bool,
    bounds: Bounds,
    patience: Patience,
}

/// A task that was taken and is to be replied to.
#[derive(Clone, Copy, Debug)]
#[must_use = "the pool waits for a reply"]
pub struct Taken {
    record: TaskRecord,
}

impl Taken {
    /// Returns the number of the job that the task belongs to; see
    /// [`Worker::prologue`].
    #[must_use]
    pub fn job(&self) -> Option<u64> {
        self.record.job.map(|job| job.id)
    }

    /// Tells whether the task's bytes lie in a block.
    #[must_use]
    pub fn is_block(&self) -> bool {
        self.record.place.in_block
    }

    /// Tells whether the task's bytes lie in a block that may be claimed.
    #[must_use]
    pub fn is_claimable(&self) -> bool {
        self.record.place.in_block && !self.record.kept
    }

    /// Returns how many bytes the task has.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.record.place.len
    }

    /// Tells whether the task has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Worker {
    /// Joins the pool that started this process, by the handle it was given.
    ///
    /// # Errors
    /// `Stale` when the pool is gone.
    pub fn attach(handle: Handle) -> Result<Self> {
        let lane = Lane::attach(handle)?;
        doorbell::prepare()?;
        Ok(Self {
            tasks: lane.tasks(),
            results: lane.results(),
            pool: Stamp::from_raw(lane.pool.load(Ordering::Relaxed)),
            doorbell: lane.doorbell.load(Ordering::Relaxed),
            position: 0,
            taken: 0,
            tail: 0,
            head: 0,
            now: boot_time(),
            unannounced: 0,
            claimed: false,
            bounds: Bounds::default(),
            patience: Patience::default(),
            lane,
        })
    }

    /// Returns the worker's place in the pool, from 0.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.lane.index.load(Ordering::Relaxed)
    }

    /// Binds this process to what it may use, before it sets itself up.
    ///
    /// # Errors
    /// `Invalid` when it has more memory than it may have already, or the
    /// processors are not there.
    pub fn confine(&mut self, bounds: Bounds) -> Result<()> {
        bounds.apply()?;
        if bounds.memory.is_some() {
            self.lane.leave_last_words()?;
        }
        self.bounds = bounds;
        Ok(())
    }

    /// Calls `report`, which tells of a task that was refused memory, with what
    /// memory there is.
    ///
    /// # Errors
    /// When the kernel does not change the limit.
    pub fn with_memory<T>(&mut self, report: impl FnOnce(&mut Self) -> T) -> Result<T> {
        self.bounds.relax()?;
        let result = report(self);
        self.bounds.restrict()?;
        Ok(result)
    }

    /// Tells whether this worker may have only so much memory.
    #[must_use]
    pub fn memory_limit(&self) -> Option<u64> {
        self.bounds.memory
    }

    /// Tells the pool that this worker has set itself up.
    ///
    /// # Errors
    /// When the pool's doorbell cannot be rung.
    pub fn ready(&mut self) -> Result<()> {
        self.publish(Kind::Ready, Content::Inline(&[]))
    }

    /// Tells the pool that this worker could not set itself up, and why; the
    /// process is to end now. The pool fails with it.
    ///
    /// # Errors
    /// `OutOfMemory` when the reason is long and the arena is full.
    pub fn failed(&mut self, reason: &[u8]) -> Result<()> {
        self.send(Kind::Failed, &[reason])
    }

    /// Blocks until there is a task; `None` when there will be no more, and the
    /// process is to end.
    ///
    /// # Errors
    /// `Interrupted` when a signal arrived first, `TimedOut` at the deadline;
    /// `Invalid` or `Stale` when what the pool wrote is no task.
    pub fn next(&mut self, deadline: Deadline) -> Result<Option<Taken>> {
        if self.taken > 0 && self.bounds.is_outgrown() {
            // What is queued here goes to others when this process has ended.
            return Ok(None);
        }
        loop {
            if self.lane.window.take() {
                return self.begin().map(Some);
            }
            if self.lane.window.is_closed() {
                // Tasks that were posted before the closing come first.
                let one_more = self.lane.window.take();
                return one_more.then(|| self.begin()).transpose();
            }
            let window = &self.lane.window;
            if self.patience.spin(|| window.has_news()) {
                self.now = boot_time();
                continue;
            }
            let woken = window.park(deadline);
            self.now = boot_time();
            match woken {
                Woken::Changed => {}
                Woken::TimedOut => {
                    if !window.has_news() {
                        return Err(Error::new(ErrorKind::TimedOut, "no task has come in time"));
                    }
                }
                Woken::Interrupted => {
                    return Err(Error::new(
                        ErrorKind::Interrupted,
                        "a signal arrived while waiting for a task",
                    ));
                }
            }
        }
    }

    /// Returns the bytes of the running task.
    #[must_use]
    pub fn bytes(&self, task: &Taken) -> &[u8] {
        // That they are there was seen when the task began.
        bytes_at(self.family(), self.tasks, task.record.place).unwrap_or_default()
    }

    /// Returns what all tasks of the running task's job have in common; empty
    /// for a task without a job. Read it once per job: the bytes go away when
    /// the job's last task is done.
    #[must_use]
    pub fn prologue(&self, task: &Taken) -> &[u8] {
        let Some(job) = task.record.job else {
            return &[];
        };
        prologue_at(self.family(), job.offset).unwrap_or_default()
    }

    /// Makes the running task's block this process's own, to keep for as long
    /// as it likes.
    ///
    /// # Errors
    /// `Invalid` when the task's bytes do not lie in a block that may be
    /// claimed, or were claimed.
    pub fn claim(&mut self, task: &Taken) -> Result<Block> {
        let place = task.record.place;
        if !task.is_claimable() || self.claimed {
            return Err(Error::new(
                ErrorKind::Invalid,
                "the task has no block to claim",
            ));
        }
        // Three steps that a kill may separate, see README.md, "Blocks of
        // tasks". Release: they are seen in this order.
        let claim = &self.lane.claim;
        claim.store(2 * self.taken, Ordering::Release);
        let block = Block::claim(place.at, self.pool)?;
        claim.store(2 * self.taken + 1, Ordering::Release);
        self.claimed = true;
        Ok(block)
    }

    /// Gives the result of the running task: a code of the face's choice, and
    /// bytes in parts.
    ///
    /// Blocks while the pool has no room for results.
    ///
    /// # Errors
    /// `OutOfMemory` when the result is long and the arena is full; the task is
    /// then still to be replied to.
    pub fn reply(&mut self, code: u8, parts: &[&[u8]]) -> Result<()> {
        self.send(Kind::Reply(code), parts)
    }

    /// Gives the result of the running task in a block, of which `len` bytes count.
    ///
    /// # Errors
    /// When the pool's doorbell cannot be rung.
    pub fn reply_block(&mut self, code: u8, block: Block, len: u64) -> Result<()> {
        // Ours until the pool claims it: if we die now, burial frees it; if
        // after publishing, it gives it to the pool.
        self.publish(Kind::Reply(code), Content::Block(block.leak(), len))
    }

    fn begin(&mut self) -> Result<Taken> {
        let (record, next) = read_task(self.tasks, self.position)?;
        bytes_at(self.family(), self.tasks, record.place)?;
        if let Some(job) = record.job {
            prologue_at(self.family(), job.offset)?;
        }
        self.position = next;
        self.taken += 1;
        self.claimed = false;
        self.lane.since.store(self.taken, self.now);
        Ok(Taken { record })
    }

    fn send(&mut self, kind: Kind, parts: &[&[u8]]) -> Result<()> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if len <= INLINE {
            return self.publish(kind, Content::Inline(parts));
        }
        let block = Block::of(parts, len as u64)?;
        self.publish(kind, Content::Block(block.leak(), len as u64))
    }

    fn publish(&mut self, kind: Kind, content: Content<'_>) -> Result<()> {
        let now = boot_time();
        let about = (kind, now.saturating_sub(self.now), self.claimed);
        self.now = now;
        let capacity = self.results.capacity();
        let end = loop {
            let limit = self.head + capacity;
            if let Some(end) = write_reply(self.results, self.tail, limit, about, content) {
                break end;
            }
            let head = self.lane.replies.head();
            if head == self.head {
                self.ring(true)?;
                self.lane.replies.park_for_room(head, Deadline::NEVER);
            }
            self.head = self.lane.replies.head();
        };
        self.tail = end;
        self.claimed = false;
        self.lane.replies.publish(end);
        let oldest = match self.unannounced {
            0 => now,
            oldest => oldest,
        };
        let soon = now - oldest > UNANNOUNCED
            || end - self.head > capacity / 2
            || self.lane.window.counts().queued() <= self.lane.low.load(Ordering::Relaxed);
        self.unannounced = oldest;
        self.ring(soon)
    }

    /// Rings the pool's doorbell, if the pool is asleep and wants it.
    fn ring(&mut self, soon: bool) -> Result<()> {
        if soon {
            self.unannounced = 0;
        }
        if self.lane.replies.take_ring(soon) {
            self.unannounced = 0;
            doorbell::ring(self.family().id(), self.pool.raw(), self.doorbell)?;
        }
        Ok(())
    }

    fn family(&self) -> &'static Family {
        self.lane.family()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        last_words::forget();
    }
}
