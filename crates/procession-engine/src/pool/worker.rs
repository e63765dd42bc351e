//! The worker's side of a pool: takes tasks and replies to them.
//!
//! The face runs the tasks: it calls [`Worker::next`] and [`Worker::reply`] in turn until
//! there is no next task.
//!
//! # Safety
//! The pool keeps a task's record, its block and its job's prologue as they are until the task
//! has a reply. So their bytes are lent for the running task only, and no longer than until
//! the worker replies, for which it must not be borrowed. There is one worker for a channel.

#![expect(
    unsafe_code,
    reason = "bytes in rings and blocks are borrowed by the protocol"
)]

use crate::family;
use crate::pool::api::limits::WorkerLimits;
use crate::pool::shm::record::{Content, INLINE, ReplyKind, TaskRecord, read_task, write_reply};
use crate::pool::shm::ring::Ring;
use crate::pool::shm::task_clock::SETUP;
use crate::pool::shm::worker_channel::{WorkerChannel, bytes_at, prologue_at};
use crate::trace;
use procession_shm::{Block, Family, Handle, Stamp};
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::mem::out_of_memory;
use procession_sys::primitive::Ordering;
use procession_sys::process::crash_stack;
use procession_sys::process::liveness::boot_time;
use procession_sys::wait::adaptive_spin::AdaptiveSpin;
use procession_sys::wait::doorbell;
use procession_sys::wait::futex::Woken;
use procession_sys::wait::time::Deadline;

/// How long a reply may stay unannounced while the pool sleeps and asks for
/// [`Bell::Some`](crate::pool::shm::reply_queue::Bell::Some), in nanoseconds.
const UNANNOUNCED: u64 = 300_000;

/// Takes the tasks of one channel and replies to them.
#[derive(Debug)]
pub struct Worker {
    channel: WorkerChannel,
    tasks: Ring,
    results: Ring,
    pool: Stamp,
    /// The position of the next task.
    position: u64,
    /// How many tasks were taken.
    taken: u64,
    /// How many bytes were published.
    tail: u64,
    /// How many of them the pool had read at the last look.
    head: u64,
    /// When the running task began, or else when the last reply was published.
    now: u64,
    /// When the oldest unannounced reply was published; 0 if there is none.
    unannounced: u64,
    /// The number of the running task, from 1; 0 while none runs.
    running: u64,
    /// The job of the task before, whose prologue was found; 0 stands for none. A later task
    /// keeps it.
    latest_job: u64,
    /// The number by which a trace knows the name of its function.
    name: u64,
    /// Whether the running task's block has been claimed.
    claimed: bool,
    limits: WorkerLimits,
    spin: AdaptiveSpin,
}

/// A task that was taken and not yet replied to.
#[derive(Clone, Copy, Debug)]
#[must_use = "the pool waits for a reply"]
pub struct TakenTask {
    record: TaskRecord,
    number: u64,
}

impl TakenTask {
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
    /// Joins the pool that started this process, by the channel's handle.
    ///
    /// # Errors
    /// `Stale` when the pool is gone.
    pub fn attach(handle: Handle) -> Result<Self> {
        let channel = WorkerChannel::attach(handle)?;
        doorbell::prepare()?;
        let me = channel.family().me();
        channel.worker.store(me.raw(), Ordering::Relaxed);
        Ok(Self {
            tasks: channel.tasks(),
            results: channel.results(),
            pool: Stamp::from_raw(channel.pool.load(Ordering::Relaxed)),
            position: 0,
            taken: 0,
            tail: 0,
            head: 0,
            now: boot_time(),
            unannounced: 0,
            running: 0,
            latest_job: 0,
            name: 0,
            claimed: false,
            limits: WorkerLimits::default(),
            spin: AdaptiveSpin::default(),
            channel,
        })
    }

    /// Returns the worker's place in the pool, from 0.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.channel.index.load(Ordering::Relaxed)
    }

    /// Limits this process, before it sets itself up.
    ///
    /// # Errors
    /// `Invalid` when the process has more memory than its limit already, or the
    /// processors do not exist.
    pub fn confine(&mut self, limits: WorkerLimits) -> Result<()> {
        limits.apply("a worker")?;
        if let Some(limit) = limits.memory {
            self.channel.memory_limit.store(limit, Ordering::Relaxed);
            self.channel.report_out_of_memory()?;
        }
        self.limits = limits;
        Ok(())
    }

    /// Has the pool told what this process's runtime writes to the descriptor `number` when it
    /// crashes. The runtime has its handlers installed; nothing need be open there.
    ///
    /// # Errors
    /// When handlers for the signals cannot be installed.
    pub fn report_crash(&self, number: i32) -> Result<()> {
        self.channel.report_crash(number)
    }

    /// Calls `report`, which reports that a task was refused memory, without the memory
    /// limit.
    ///
    /// # Errors
    /// When the kernel does not change the limit.
    pub fn with_memory<T>(&mut self, report: impl FnOnce(&mut Self) -> T) -> Result<T> {
        self.limits.relax()?;
        let result = report(self);
        self.limits.restrict()?;
        Ok(result)
    }

    /// Returns how much private memory this worker may have, if that is limited.
    #[must_use]
    pub fn memory_limit(&self) -> Option<u64> {
        self.limits.memory
    }

    /// Notes that this worker begins to set itself up, for which the pool may have a time limit.
    pub fn begin_setup(&self) {
        self.channel.task_clock.store(SETUP, boot_time());
    }

    /// Tells the pool that this worker has set itself up.
    ///
    /// # Errors
    /// When the pool's doorbell cannot be rung.
    pub fn ready(&mut self) -> Result<()> {
        self.publish(ReplyKind::Ready, Content::Inline(&[]))
    }

    /// Tells the pool that this worker could not set itself up, and why. The pool ends with
    /// that error, and this process has to end now.
    ///
    /// # Errors
    /// `OutOfMemory` when the reason is long and the arena is full.
    pub fn failed(&mut self, reason: &[u8]) -> Result<()> {
        self.send(ReplyKind::Failed, &[reason])
    }

    /// Blocks until there is a task. Returns `None` when there will be no more, and the
    /// process has to end.
    ///
    /// # Errors
    /// `Interrupted` when a signal arrived first, `TimedOut` at the deadline;
    /// `Invalid` or `Stale` when there is no valid task in the ring.
    pub fn next(&mut self, deadline: Deadline) -> Result<Option<TakenTask>> {
        if self.taken > 0 && self.limits.is_outgrown() {
            // The tasks queued here go to other workers when this process has ended.
            return Ok(None);
        }
        loop {
            if self.channel.task_queue.take() {
                return self.begin().map(Some);
            }
            if self.channel.task_queue.is_closed() {
                // Tasks that were posted before the closing come first.
                let one_more = self.channel.task_queue.take();
                return one_more.then(|| self.begin()).transpose();
            }
            let queue = &self.channel.task_queue;
            if self.spin.spin(|| queue.is_ready()) {
                self.now = boot_time();
                continue;
            }
            if self.family().is_traced() {
                trace::all_tasks_done();
            }
            let woken = queue.park(deadline);
            self.now = boot_time();
            match woken {
                Woken::Changed => {}
                Woken::TimedOut => {
                    if !queue.is_ready() {
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

    /// Returns the bytes of the running task; none if its block was claimed.
    #[must_use]
    pub fn bytes(&self, task: &TakenTask) -> &[u8] {
        if task.number != self.running || self.claimed {
            return &[];
        }
        // SAFETY: the task runs, and has no reply before the borrow ends; nor is its block
        // claimed before.
        let bytes = unsafe { bytes_at(self.family(), self.tasks, task.record.place) };
        // `begin` has checked that they are there.
        bytes.unwrap_or_default()
    }

    /// Returns the prologue of the running task's job, the bytes that all its tasks have in
    /// common; empty for a task without a job. Read it once per job: the bytes are freed when
    /// the job's last task is done.
    #[must_use]
    pub fn prologue(&self, task: &TakenTask) -> &[u8] {
        match task.record.job {
            Some(job) if task.number == self.running => {
                // SAFETY: the task runs, and has no reply before the borrow ends.
                unsafe { prologue_at(self.family(), job.offset) }.unwrap_or_default()
            }
            _ => &[],
        }
    }

    /// Takes over the running task's block, which this process may then keep for as long as it
    /// likes.
    ///
    /// # Errors
    /// `Invalid` when the task's bytes are not in a block that may be claimed, or the block
    /// was claimed already.
    pub fn claim(&mut self, task: &TakenTask) -> Result<Block> {
        let place = task.record.place;
        if !task.is_claimable() || self.claimed {
            return Err(Error::new(
                ErrorKind::Invalid,
                "the task has no block to claim",
            ));
        }
        // A kill may come between these three steps, see README.md, "Blocks of
        // tasks". Release: the pool sees them in this order.
        let claim = &self.channel.claim;
        claim.store(2 * self.taken, Ordering::Release);
        let block = Block::claim(place.at, self.pool)?;
        claim.store(2 * self.taken + 1, Ordering::Release);
        self.claimed = true;
        Ok(block)
    }

    /// Replies to the running task with a code of the face's choice, and the parts of a
    /// result. With any other code than 0 the task is counted as one that has failed.
    ///
    /// Blocks while the reply ring is full.
    ///
    /// # Errors
    /// `OutOfMemory` when the result needs a block and the arena is full; then the task still
    /// has no reply.
    pub fn reply(&mut self, code: u8, parts: &[&[u8]]) -> Result<()> {
        self.send(ReplyKind::Reply(code), parts)
    }

    /// Replies to the running task with a result in a block, of which `len` bytes count.
    ///
    /// # Errors
    /// When the pool's doorbell cannot be rung.
    pub fn reply_block(&mut self, code: u8, block: Block, len: u64) -> Result<()> {
        // The block is ours until the pool claims it. If this process dies before the reply
        // is published, reclaim frees the block; after that, it gives the block to the pool.
        self.publish(ReplyKind::Reply(code), Content::Block(block.leak(), len))
    }

    fn begin(&mut self) -> Result<TakenTask> {
        let (record, next) = read_task(self.tasks, self.position)?;
        // SAFETY: the task was taken and has no reply; the borrow ends here.
        unsafe { bytes_at(self.family(), self.tasks, record.place) }?;
        if let Some(job) = record.job
            && job.id != self.latest_job
        {
            // SAFETY: the same.
            unsafe { prologue_at(self.family(), job.offset) }?;
            self.latest_job = job.id;
        }
        self.position = next;
        self.taken += 1;
        self.running = self.taken;
        self.claimed = false;
        self.channel.task_clock.store(self.taken, self.now);
        self.name = record.name;
        if self.family().is_traced() {
            trace::task_begins(self.now, record.name);
        }
        let number = self.running;
        Ok(TakenTask { record, number })
    }

    fn send(&mut self, kind: ReplyKind, parts: &[&[u8]]) -> Result<()> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if len <= INLINE {
            return self.publish(kind, Content::Inline(parts));
        }
        let block = Block::of(family()?, parts, len as u64)?;
        self.publish(kind, Content::Block(block.leak(), len as u64))
    }

    fn publish(&mut self, kind: ReplyKind, content: Content<'_>) -> Result<()> {
        let now = boot_time();
        let about = (kind, now.saturating_sub(self.now), self.claimed);
        let began = std::mem::replace(&mut self.now, now);
        let capacity = self.results.capacity();
        let end = loop {
            let limit = self.head + capacity;
            // SAFETY: only this worker writes replies, and nobody looks at what is between the
            // last one that was published and the oldest one that was not yet read.
            let range = unsafe { self.results.writable(self.tail, limit) };
            if let Some(end) = write_reply(range, about, content) {
                break end;
            }
            let head = self.channel.reply_queue.head();
            if head == self.head {
                self.ring(true)?;
                self.channel
                    .reply_queue
                    .park_for_room(head, Deadline::NEVER);
            }
            self.head = self.channel.reply_queue.head();
        };
        self.tail = end;
        if self.running != 0 && self.family().is_traced() {
            // Before the pool can know of it: a trace that ends then has it.
            let failed = matches!(kind, ReplyKind::Reply(code) if code != 0);
            let last = self.channel.task_queue.counts().queued() == 0;
            let took = now.saturating_sub(began);
            trace::task_done(began, took, self.name, failed, last);
        }
        self.running = 0;
        self.claimed = false;
        self.channel.reply_queue.publish(end);
        let oldest = match self.unannounced {
            0 => now,
            oldest => oldest,
        };
        let soon = now - oldest > UNANNOUNCED
            || end - self.head > capacity / 2
            || self.channel.task_queue.counts().queued()
                <= self.channel.low.load(Ordering::Relaxed);
        self.unannounced = oldest;
        self.ring(soon)
    }

    /// Rings the pool's doorbell, if the pool is asleep and has asked for it.
    fn ring(&mut self, soon: bool) -> Result<()> {
        if soon {
            self.unannounced = 0;
        }
        if self.channel.reply_queue.take_ring(soon) {
            self.unannounced = 0;
            // Read each time: the pool may have had to replace its doorbell.
            let number = self.channel.doorbell.load(Ordering::Relaxed);
            doorbell::ring(self.family().id(), self.pool.raw(), number)?;
        }
        Ok(())
    }

    fn family(&self) -> &'static Family {
        self.channel.family()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        out_of_memory::forget();
        crash_stack::forget();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::pool::shm::record::write_task;

    #[test]
    fn bytes_are_lent_until_the_reply_and_no_longer() {
        let channel = WorkerChannel::create().unwrap();
        let mut worker = Worker::attach(channel.handle()).unwrap();
        // SAFETY: the worker has not been posted anything.
        let range = unsafe { channel.tasks().writable(0, channel.tasks().capacity()) };
        write_task(range, None, 0, Content::Inline(&[b"input"])).unwrap();
        channel.task_queue.post(1);
        let task = worker.next(Deadline::NEVER).unwrap().unwrap();
        assert_eq!(worker.bytes(&task), b"input");
        worker.reply(0, &[]).unwrap();
        assert_eq!(worker.bytes(&task), b"");
    }
}
