//! The owner's side of one worker: its channel, its process, and the tasks posted to it.
//!
//! # Safety
//! The slot alone writes the task ring, and not over the record of a task without a reply.
//! The worker writes no reply over one that was not yet read ([`ReplyQueue::read_up_to`]).
//!
//! [`ReplyQueue::read_up_to`]: crate::pool::shm::reply_queue::ReplyQueue::read_up_to

#![expect(unsafe_code, reason = "bytes in rings are borrowed by the protocol")]

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::pool::api::outcome::{KillReason, Lost, Outbox};
use crate::pool::api::starter::WorkerProcess;
use crate::pool::api::task::{Job, TaskBytes, TaskPolicy};
use crate::pool::owner::prefetch::PrefetchEstimate;
use crate::pool::owner::tally::{CountedReply, Tally};
use crate::pool::shm::label_log::LabelWriter;
use crate::pool::shm::record::{
    ByteLocation, Content, ReplyKind, ReplyRecord, read_reply, write_task,
};
use crate::pool::shm::ring::Ring;
use crate::pool::shm::task_clock::SETUP;
use crate::pool::shm::worker_channel::{WorkerChannel, claim_result};
use crate::process::child::KILL;
use procession_shm::member::table::Stage;
use procession_shm::{Block, Loans, Stamp};
use procession_sys::error;
use procession_sys::primitive::Ordering;

/// Bytes of blocks above which a worker has no more than [`FEW`] tasks, however short they
/// are: copying so many bytes takes longer than getting the next task does.
const MUCH: u64 = 8 << 20;

/// How many tasks a worker has when they are large.
const FEW: u32 = 2;

/// A task that waits for a worker, with its number, which is its place in the queue.
#[derive(Debug)]
pub(crate) struct QueuedTask<T> {
    pub number: u64,
    pub token: T,
    pub payload: TaskBytes,
    pub job: Option<Job>,
    pub policy: TaskPolicy,
    pub loans: Loans,
    /// How many workers have died in it.
    pub deaths: u32,
}

impl<T> QueuedTask<T> {
    /// Returns its place among those that wait: higher priorities come first.
    pub(crate) fn place(&self) -> (Reverse<i32>, u64) {
        (Reverse(self.policy.priority), self.number)
    }
}

/// A task that was posted to a worker.
#[derive(Debug)]
struct Posted<T> {
    number: u64,
    token: T,
    job: Option<Job>,
    /// Where its record begins, skipped bytes before it included.
    start: u64,
    place: ByteLocation,
    /// The block with its bytes, if they are in one.
    block: Option<Block>,
    policy: TaskPolicy,
    loans: Loans,
    deaths: u32,
}

/// The state of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkerState {
    /// It has not set itself up yet.
    Starting,
    /// It takes tasks.
    Ready,
    /// It gets no more tasks and ends when it has done those that it has.
    Retiring,
}

/// Sums up the replies that were read from a worker.
#[derive(Debug, Default)]
pub(crate) struct ReadSummary {
    /// How many tasks were done.
    pub done: usize,
    /// How many of them had a deadline.
    pub timed: usize,
    /// Whether the worker has set itself up.
    pub ready: bool,
    /// The report of a worker that could not set itself up.
    pub failed: Option<Vec<u8>>,
}

/// One worker.
pub(crate) struct WorkerSlot<T> {
    /// Names the slot in the set of descriptors.
    pub key: u64,
    pub channel: WorkerChannel,
    tasks: Ring,
    results: Ring,
    pub process: Box<dyn WorkerProcess>,
    pub life: WorkerState,
    /// How many more tasks it may be given; `None` for any number.
    pub tasks_left: Option<u32>,
    /// Whether it took no task while other workers were idle; then nothing is queued on it
    /// until it replies.
    pub slow: bool,
    /// Whether its ring had no room for the last task; cleared when it replies.
    pub full: bool,
    /// When a task was last assigned to it, for choosing the worker with the warmest caches.
    pub last_used: u64,
    /// How many tasks it had taken when the leader went to sleep.
    pub taken_before_sleep: u32,
    /// Since when it has had nothing to do, as far as a leader has noticed.
    pub idle_since: Option<Instant>,
    /// The tasks without a reply, in the order of the ring.
    posted: VecDeque<Posted<T>>,
    /// Bytes of the blocks of `posted`.
    bytes: u64,
    /// Why the pool has killed the worker, if it has; a late reply is thrown away then.
    kill_reason: Option<KillReason>,
    /// Records written and not yet posted.
    unposted: u32,
    /// Where the next task is written.
    position: u64,
    /// Up to where replies were read.
    head: u64,
    /// How many tasks were replied to.
    pub done: u64,
    /// Notes in the channel which functions its tasks are of.
    labels: LabelWriter,
    started: Instant,
    /// When it became ready for tasks.
    ready: Option<Instant>,
}

impl<T> WorkerSlot<T> {
    pub(crate) fn new(
        key: u64,
        channel: WorkerChannel,
        process: Box<dyn WorkerProcess>,
        tasks_left: Option<u32>,
    ) -> Self {
        Self {
            tasks: channel.tasks(),
            results: channel.results(),
            key,
            channel,
            process,
            life: WorkerState::Starting,
            tasks_left,
            slow: false,
            full: false,
            last_used: 0,
            taken_before_sleep: 0,
            idle_since: None,
            posted: VecDeque::new(),
            bytes: 0,
            kill_reason: None,
            unposted: 0,
            position: 0,
            head: 0,
            done: 0,
            labels: LabelWriter::default(),
            started: Instant::now(),
            ready: None,
        }
    }

    /// Returns its place in the pool.
    pub(crate) fn place(&self) -> u32 {
        // Relaxed: this process has set it.
        self.channel.index.load(Ordering::Relaxed)
    }

    /// Returns how many tasks it has, the running one included.
    pub(crate) fn load(&self) -> u32 {
        self.posted.len() as u32
    }

    /// Returns how many tasks it may have at once.
    pub(crate) fn most(&self, prefetch: PrefetchEstimate) -> u32 {
        if self.full {
            return 0;
        }
        let most = match self.life {
            WorkerState::Retiring => return 0,
            WorkerState::Starting => 1,
            WorkerState::Ready if self.slow => 1,
            WorkerState::Ready if self.bytes > MUCH => FEW,
            WorkerState::Ready => prefetch.at_hand(),
        };
        self.tasks_left
            .map_or(most, |left| most.min(self.load() + left))
    }

    /// Tells whether the worker waits for a task.
    pub(crate) fn is_idle(&self) -> bool {
        self.posted.is_empty() && self.life == WorkerState::Ready
    }

    /// Returns how many tasks it has started.
    pub(crate) fn taken(&self) -> u32 {
        self.channel.task_queue.counts().taken
    }

    /// Returns how many tasks it has not started yet.
    pub(crate) fn queued(&self) -> u32 {
        self.channel.task_queue.counts().queued()
    }

    /// Tells whether it has tasks that it has not started, and some that another may do.
    pub(crate) fn has_movable(&self) -> bool {
        let mut last_first = self.posted.iter().rev();
        self.queued() > 0 && last_first.any(|posted| posted.policy.turn.is_none())
    }

    /// Tells whether it gets no more tasks and has none.
    pub(crate) fn is_ending(&self) -> bool {
        self.life == WorkerState::Retiring && self.posted.is_empty()
    }

    /// Tells whether it has started any task. If it has died, it has done a task then, or
    /// died in one.
    pub(crate) fn took_any(&self) -> bool {
        self.taken() > 0
    }

    /// Tells whether there are replies to read.
    pub(crate) fn has_replies(&self) -> bool {
        self.channel.reply_queue.tail() != self.head
    }

    /// Writes a task into the ring, with the number of its function's name for a trace;
    /// returns it if there is no room.
    pub(crate) fn write(&mut self, task: QueuedTask<T>, name: u64) -> Result<(), QueuedTask<T>> {
        let start = self.position;
        // The ring is free up to the beginning of the oldest task's record.
        let oldest = self.posted.front().map_or(start, |posted| posted.start);
        let limit = oldest + self.tasks.capacity();
        let job = task.job.as_ref().map(Job::name);
        let parts: [&[u8]; 1];
        let content = match &task.payload {
            TaskBytes::Inline(bytes) => {
                parts = [bytes.as_slice()];
                Content::Inline(&parts)
            }
            TaskBytes::Block(block, len) => match task.policy.retries {
                0 => Content::Block(block.offset(), *len),
                _ => Content::Kept(block.offset(), *len),
            },
        };
        // SAFETY: no task without a reply lies there, and the worker does not look at others.
        let range = unsafe { self.tasks.writable(start, limit) };
        let Some((place, end)) = write_task(range, job, name, content) else {
            self.full = true;
            return Err(task);
        };
        self.position = end;
        self.unposted += 1;
        let number = || (self.done as u32).wrapping_add(self.posted.len() as u32 + 1);
        let log = &self.channel.labels;
        self.labels.note(log, number, task.policy.label);
        self.idle_since = None;
        if let Some(left) = &mut self.tasks_left {
            *left -= 1;
        }
        if place.in_block {
            self.bytes += place.len;
        }
        self.posted.push_back(Posted {
            number: task.number,
            token: task.token,
            job: task.job,
            start,
            place,
            block: match task.payload {
                TaskBytes::Inline(_) => None,
                TaskBytes::Block(block, _) => Some(block),
            },
            policy: task.policy,
            loans: task.loans,
            deaths: task.deaths,
        });
        Ok(())
    }

    /// Posts the tasks that were written, so that the worker can take them.
    pub(crate) fn post(&mut self, prefetch: PrefetchEstimate) {
        if self.unposted == 0 {
            return;
        }
        let low = prefetch.at_hand() / 4;
        self.channel.low.store(low, Ordering::Relaxed);
        self.channel.task_queue.post(self.unposted);
        self.unposted = 0;
    }

    /// Closes the task queue: the worker gets no more tasks, and ends after those that it has.
    pub(crate) fn retire(&mut self) {
        if self.life != WorkerState::Retiring {
            self.life = WorkerState::Retiring;
            self.channel.task_queue.close();
        }
    }

    /// Reads the replies that have arrived.
    pub(crate) fn read_replies(
        &mut self,
        outbox: &mut Outbox<T>,
        prefetch: &mut PrefetchEstimate,
        tally: &mut Tally,
    ) -> ReadSummary {
        let mut summary = ReadSummary::default();
        let tail = self.channel.reply_queue.tail();
        if tail == self.head {
            return summary;
        }
        if tail.wrapping_sub(self.head) > self.results.capacity() {
            self.give_up_on(tail);
        }
        while self.head < tail {
            let Ok((record, next)) = read_reply(self.results, self.head) else {
                self.give_up_on(tail);
                break;
            };
            match record.kind {
                ReplyKind::Ready => {
                    summary.ready = true;
                    let now = Instant::now();
                    self.ready = Some(now);
                    tally.ready(self.place(), now - self.started);
                    if self.life == WorkerState::Starting {
                        self.life = WorkerState::Ready;
                    }
                }
                ReplyKind::Failed => summary.failed = Some(self.report_at(record.place)),
                ReplyKind::Reply(code) => {
                    let Some(posted) = self.posted.pop_front() else {
                        self.give_up_on(tail);
                        break;
                    };
                    summary.done += 1;
                    summary.timed += usize::from(posted.policy.timeout.is_some());
                    prefetch.learn(record.elapsed);
                    if self.kill_reason.is_none() {
                        let reply = CountedReply {
                            code,
                            elapsed: record.elapsed,
                            bytes_sent: posted.place.len,
                            bytes_received: record.place.len,
                        };
                        tally.replied(self.place(), posted.policy, reply);
                    }
                    self.finish(posted, code, record, outbox);
                }
            }
            self.head = next;
        }
        self.done += summary.done as u64;
        if summary.done > 0 {
            self.slow = false;
            self.full = false;
        }
        self.channel.reply_queue.read_up_to(self.head);
        summary
    }

    /// Gives the outcome of a task that has a reply to the outbox.
    fn finish(&mut self, posted: Posted<T>, code: u8, record: ReplyRecord, outbox: &mut Outbox<T>) {
        if posted.place.in_block {
            self.bytes -= posted.place.len;
        }
        if record.claimed {
            posted.block.map(Block::leak);
        }
        let (token, place) = (posted.token, record.place);
        if let Some(kill_reason) = self.kill_reason {
            // The reply came too late. Its block, if it has one, is freed.
            let _block = place.in_block.then(|| self.claim(place));
            outbox.killed(token, kill_reason, self.process.pid());
        } else if place.in_block {
            match self.claim(place) {
                Ok(block) => outbox.block(token, code, record.elapsed, block, place.len as usize),
                Err(error) => outbox.lost(token, error),
            }
        } else {
            // SAFETY: it is read up to here only later; the outbox copies them.
            let bytes = unsafe { self.results.bytes(place.at, place.len) };
            outbox.inline(token, code, record.elapsed, bytes);
        }
    }

    /// Returns the report of a worker that could not set itself up.
    fn report_at(&self, place: ByteLocation) -> Vec<u8> {
        match place.in_block.then(|| self.claim(place)) {
            // SAFETY: it is read up to here only later.
            None => unsafe { self.results.bytes(place.at, place.len) }.to_vec(),
            Some(Ok(block)) => block[..place.len as usize].to_vec(),
            Some(Err(error)) => error.to_string().into_bytes(),
        }
    }

    /// Takes over the block with the bytes of a reply.
    fn claim(&self, place: ByteLocation) -> error::Result<Block> {
        let me = self.channel.family().me();
        claim_result(place, self.process.stamp(), me)
    }

    /// Kills a worker that has written invalid replies; its task fails with its death.
    fn give_up_on(&mut self, tail: u64) {
        self.head = tail;
        // Fails if the worker has ended by itself.
        let _ = self.process.signal(KILL);
    }

    /// Takes back the tasks that the worker has not started, in order.
    pub(crate) fn take_back(&mut self) -> Vec<QueuedTask<T>> {
        let count = self.channel.task_queue.take_back(u32::MAX) as usize;
        let keep = self.posted.len() - count;
        if let Some(first) = self.posted.get(keep) {
            self.position = first.start;
        }
        if let Some(left) = &mut self.tasks_left {
            *left += count as u32;
        }
        let back = self.posted.split_off(keep);
        if !back.is_empty() {
            let last = (self.done as u32).wrapping_add(keep as u32);
            self.labels.take_back(&self.channel.labels, last);
        }
        let blocks = back.iter().filter(|posted| posted.place.in_block);
        self.bytes -= blocks.map(|posted| posted.place.len).sum::<u64>();
        back.into_iter()
            .map(|posted| to_queued(posted, self.tasks))
            .collect()
    }

    /// Returns how much longer it may take to set itself up; `None` if it has done so, or has
    /// yet to begin with it.
    pub(crate) fn setup_left(&self, limit: Duration, now: u64) -> Option<Duration> {
        if self.life != WorkerState::Starting {
            return None;
        }
        let elapsed = self.channel.task_clock.elapsed(SETUP, now)?;
        Some(limit.saturating_sub(elapsed))
    }

    /// Returns how much longer its running task may run: all of the limit, if the task has yet
    /// to begin. `None` without a limit.
    pub(crate) fn time_left(&self, now: u64) -> Option<Duration> {
        let limit = self.posted.front()?.policy.timeout?.get();
        if self.kill_reason.is_some() {
            return None;
        }
        let elapsed = self.channel.task_clock.elapsed(self.done + 1, now);
        Some(limit.saturating_sub(elapsed.unwrap_or_default()))
    }

    /// Returns how long its running task has been running; `None` if it runs none.
    pub(crate) fn running(&self, now: u64) -> Option<Duration> {
        self.posted.front()?;
        self.channel.task_clock.elapsed(self.done + 1, now)
    }

    /// Returns how long it has been ready for tasks.
    pub(crate) fn present(&self, now: Instant) -> Duration {
        self.ready.map_or(Duration::ZERO, |ready| now - ready)
    }

    /// Returns the limit of the running task, if it has taken longer.
    pub(crate) fn overdue(&self, now: u64) -> Option<Duration> {
        let limit = self.posted.front()?.policy.timeout?.get();
        let elapsed = self.channel.task_clock.elapsed(self.done + 1, now)?;
        (self.kill_reason.is_none() && elapsed >= limit).then_some(limit)
    }

    /// Tells whether it has a task of a lower priority.
    pub(crate) fn has_below(&self, priority: i32) -> bool {
        let mut tasks = self.posted.iter();
        tasks.any(|posted| posted.policy.priority < priority)
    }

    /// Returns the tokens of its tasks.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = &T> {
        self.posted.iter().map(|posted| &posted.token)
    }

    /// Tells whether `which` selects the task that it runs. The caller has read all replies
    /// that have arrived.
    pub(crate) fn runs(&self, which: &dyn Fn(&T) -> bool) -> bool {
        let running = self.taken() != self.done as u32;
        let first = self.posted.front();
        running && first.is_some_and(|posted| which(&posted.token))
    }

    /// Kills the worker because of the task that it runs, unless the task has just
    /// been done; returns the tasks that were queued behind it. The caller has read all
    /// replies that had arrived.
    pub(crate) fn kill_running_task(&mut self, why: KillReason) -> Vec<QueuedTask<T>> {
        // This comes first: from here on the worker can begin nothing else.
        let back = self.take_back();
        if self.kill_reason.is_none() && self.posted.len() == 1 && !self.has_replies() {
            self.kill_reason = Some(why);
            self.life = WorkerState::Retiring;
            // Fails if the worker is dead already, which is just as good.
            let _ = self.process.signal(KILL);
        }
        back
    }

    /// Tells whether the worker was killed because of its task.
    pub(crate) fn is_being_killed(&self) -> bool {
        self.kill_reason.is_some()
    }

    /// Takes the tasks without a reply after the worker's death and before its reclaim; returns
    /// the task that it died in, and the tasks to requeue: those that it never started, and
    /// the one it died in if that may be tried again. If the worker had claimed the block of
    /// its task, gives that up.
    pub(crate) fn take_unfinished(
        &mut self,
        tally: &mut Tally,
    ) -> (Vec<Lost<T>>, Vec<QueuedTask<T>>) {
        let started = self.taken().wrapping_sub(self.done as u32) as usize;
        let claim = self.channel.claim.load(Ordering::Acquire);
        let number = self.done + 1;
        let unstarted = self.posted.split_off(started.min(self.posted.len()));
        let mut lost = Vec::new();
        let mut back = Vec::new();
        for mut posted in std::mem::take(&mut self.posted) {
            posted.deaths += 1;
            if self.kill_reason.is_none() && posted.deaths <= posted.policy.retries {
                tally.retried(self.place(), posted.policy);
                back.push(to_queued(posted, self.tasks));
                continue;
            }
            if let Some(block) = posted.block
                && claim / 2 == number
                && !(claim.is_multiple_of(2)
                    && is_still_ours(&block, &self.channel, self.process.stamp()))
            {
                let _ = block.leak();
            }
            tally.lost(self.place(), posted.policy, self.kill_reason);
            lost.push(Lost {
                token: posted.token,
                policy: posted.policy,
                deaths: posted.deaths,
                kill_reason: self.kill_reason,
            });
        }
        let unstarted = unstarted.into_iter();
        back.extend(unstarted.map(|posted| to_queued(posted, self.tasks)));
        (lost, back)
    }
}

/// Tells whether this process still owns a block that a dead worker was about to claim. The
/// answer counts only while the worker is not reclaimed, see `README.md`, "Blocks of tasks".
fn is_still_ours(block: &Block, channel: &WorkerChannel, worker: Stamp) -> bool {
    let family = channel.family();
    let me = family.me();
    let ours = family.change_owner(block.offset(), me, me).is_ok();
    ours && family.member(worker).stage() == Stage::Alive
}

/// Turns a posted task back into one that waits for a worker; its bytes are still in the ring.
fn to_queued<T>(posted: Posted<T>, ring: Ring) -> QueuedTask<T> {
    let payload = match posted.block {
        Some(block) => TaskBytes::Block(block, posted.place.len),
        None => {
            // SAFETY: the slot, which has it taken back, writes nothing meanwhile.
            let bytes = unsafe { ring.bytes(posted.place.at, posted.place.len) };
            TaskBytes::Inline(bytes.into())
        }
    };
    QueuedTask {
        number: posted.number,
        token: posted.token,
        payload,
        job: posted.job,
        policy: posted.policy,
        loans: posted.loans,
        deaths: posted.deaths,
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
