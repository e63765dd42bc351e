//! The queue of tasks, and their assignment to workers.
//!
//! All of this runs under the pool's mutex and calls no face.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::pool::api::limits::SetupLimit;
use crate::pool::api::outcome::{Lost, Outbox};
use crate::pool::api::pool_end::PoolEnd;
use crate::pool::api::source::{Source, SourceStatus};
use crate::pool::api::task::{Task, TaskPolicy};
use crate::pool::owner::function_names::FunctionNames;
use crate::pool::owner::prefetch::PrefetchEstimate;
use crate::pool::owner::priority_queue::PriorityQueue;
use crate::pool::owner::restart_budget::RestartBudget;
use crate::pool::owner::tally::Tally;
use crate::pool::owner::turn_lines::TurnLines;
use crate::pool::owner::watch::Watch;
use crate::pool::owner::worker_slot::{QueuedTask, WorkerSlot, WorkerState};
use crate::pool::shm::reply_queue::Bell;
use crate::pool::shm::summary::PoolSummary;
use crate::pool::shm::worker_channel::WorkerChannel;
use procession_sys::limits::cpu::usable_cpus_at_first;

/// The most tasks requested of a source at once, so that a poll does not delay the
/// delivery of results for long.
const MOST_AT_ONCE: u32 = 128;

/// The phase of a pool's life.
#[derive(Debug)]
pub(crate) enum Phase {
    /// It takes tasks.
    Running,
    /// It takes no more tasks, and ends when it has done those that it has.
    Closed,
    /// It has ended.
    Ended(Arc<PoolEnd>),
}

/// The state of a pool, under its mutex.
pub(crate) struct PoolState<T> {
    pub phase: Phase,
    /// How many workers there should be.
    pub size: usize,
    pub slots: Vec<WorkerSlot<T>>,
    /// Workers being started right now: by the leader, and by threads that call.
    pub starting: Vec<Start>,
    /// Channels of dead workers, for later ones.
    pub spare_channels: Vec<WorkerChannel>,
    pub dead_workers: Vec<DeadWorker<T>>,
    /// Keys of the slots whose workers' exits were reported and not yet handled.
    pub exits: Vec<u64>,
    /// The descriptors that the leader sleeps on.
    pub watch: Arc<Watch>,
    pub restart_budget: RestartBudget,
    /// After how long without a task a worker ends.
    pub idle_timeout: Option<Duration>,
    /// How long a worker may take to set itself up.
    pub setup_limit: Option<SetupLimit>,
    /// Until when no worker is started, as the last one could not be.
    pub no_start_before: Option<Instant>,
    pub prefetch: PrefetchEstimate,
    /// Processors that this process may use.
    processors: usize,
    pub outstanding: Outstanding,
    /// What was done so far.
    pub(crate) tally: Tally,
    /// The names of functions, for a trace.
    names: Arc<FunctionNames>,
    /// What viewers outside of the family see of this pool.
    pub(crate) summary: Arc<PoolSummary>,
    /// Tasks that go before all of `queue` that have no higher priority, by priority and
    /// number.
    pub(crate) requeued: BTreeMap<(Reverse<i32>, u64), QueuedTask<T>>,
    pub(crate) queue: PriorityQueue<QueueEntry<T>>,
    /// Whether any task or source has had a priority.
    has_priorities: bool,
    /// Whether any task has had a turn.
    pub(crate) has_turns: bool,
    /// Tasks that were in the queue, and wait for the worker whose turn they are.
    pub(crate) turns: TurnLines<T>,
    /// Sources that had nothing for now.
    pub(crate) idle_sources: Vec<Box<dyn Source<T>>>,
    /// How many sources are being polled right now.
    polled_sources: usize,
    /// Whether sources were resumed during a poll: a polled source that then reports
    /// [`SourceStatus::Later`] is queued again, as it may have more by now.
    woken_source: bool,
    next_number: u64,
    tick: u64,
    pub next_key: u64,
    pub sleeper: Sleeper,
    pub collector: Collector,
}

/// Who sleeps on the doorbell, or is about to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sleeper {
    Nobody,
    /// A thread that waits for something.
    Caller,
    /// The collector, which may lose the lead meanwhile.
    Collector,
}

/// The background thread that leads while no caller does; see [`background`](super::background).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Collector {
    /// There is no such thread.
    Absent,
    /// No results are owed; the thread ends soon.
    Idle,
    /// Results are owed.
    Wanted,
}

/// A worker that is being started.
pub(crate) struct Start {
    pub index: u32,
    /// The thread that does so.
    pub thread: u64,
}

/// A worker that has died, while its exit status is not known yet.
pub(crate) struct DeadWorker<T> {
    pub slot: WorkerSlot<T>,
    /// The task that it was running, if it was.
    pub lost: Vec<Lost<T>>,
    pub noticed: Instant,
}

/// An entry of the queue.
pub(crate) enum QueueEntry<T> {
    Task(QueuedTask<T>),
    Source(Box<dyn Source<T>>),
}

/// Counts the tasks that were submitted and have no outcome yet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outstanding {
    pub tasks: usize,
    /// How many of them have a deadline.
    pub timed: usize,
}

impl Outstanding {
    fn add(&mut self, policy: TaskPolicy) {
        self.tasks += 1;
        self.timed += usize::from(policy.timeout.is_some());
    }

    pub(crate) fn remove(&mut self, policy: TaskPolicy) {
        self.tasks -= 1;
        self.timed -= usize::from(policy.timeout.is_some());
    }
}

impl<T> PoolState<T> {
    pub(crate) fn new(
        size: usize,
        budget: RestartBudget,
        watch: Watch,
        names: Arc<FunctionNames>,
        summary: Arc<PoolSummary>,
    ) -> Self {
        Self {
            phase: Phase::Running,
            size,
            slots: Vec::new(),
            starting: Vec::new(),
            spare_channels: Vec::new(),
            dead_workers: Vec::new(),
            exits: Vec::new(),
            watch: Arc::new(watch),
            restart_budget: budget,
            idle_timeout: None,
            setup_limit: None,
            no_start_before: None,
            prefetch: PrefetchEstimate::default(),
            processors: usable_cpus_at_first(),
            outstanding: Outstanding::default(),
            tally: Tally::default(),
            names,
            summary,
            requeued: BTreeMap::new(),
            queue: PriorityQueue::default(),
            has_priorities: false,
            has_turns: false,
            turns: TurnLines::default(),
            idle_sources: Vec::new(),
            polled_sources: 0,
            woken_source: false,
            next_number: 0,
            tick: 0,
            // 0 is the doorbell.
            next_key: 1,
            sleeper: Sleeper::Nobody,
            collector: Collector::Absent,
        }
    }

    /// Tells whether there is nothing left to do.
    pub(crate) fn is_drained(&self) -> bool {
        self.is_quiet() && self.idle_sources.is_empty()
    }

    /// Tells whether there is nothing to do until a source is resumed.
    pub(crate) fn is_quiet(&self) -> bool {
        self.outstanding.tasks == 0
            && self.polled_sources == 0
            && self.queue.is_empty()
            && self.dead_workers.is_empty()
    }

    /// Tells whether no result is owed, and no worker is about to end.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_quiet() && !self.has_retiring()
    }

    /// Returns how many workers could have something to do: one for each task without an
    /// outcome, and one more if a source may have tasks.
    pub(crate) fn demand(&self) -> usize {
        let has_source = matches!(self.queue.front(), Some((_, QueueEntry::Source(_))));
        self.outstanding.tasks + usize::from(has_source || self.polled_sources > 0)
    }

    /// Returns how many tasks were handed in.
    pub(crate) fn submitted(&self) -> u64 {
        self.next_number
    }

    /// Tells whether tasks wait for a worker, whichever it is, or sources for a poll.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.requeued.is_empty() || !self.queue.is_empty()
    }

    /// Queues a task, or assigns it to a worker at once.
    pub(crate) fn submit(&mut self, task: Task<T>) {
        if let Err(task) = self.try_assign(task) {
            let priority = task.policy.priority;
            let queued = self.enqueue(task);
            self.queue.push_back(priority, QueueEntry::Task(queued));
            if !self.requeued.is_empty() {
                // Other tasks may have made way for it.
                self.dispatch();
            }
        }
    }

    /// Assigns a task to a worker that has room for it, unless others wait before it; else
    /// gives it back.
    pub(crate) fn try_assign(&mut self, task: Task<T>) -> Result<(), Task<T>> {
        let may_go = !self.make_way(task.policy.priority) && !self.is_waiting();
        match self.pick_worker_for(task.policy) {
            Some(slot) if may_go => {
                let queued = self.enqueue(task);
                self.assign(slot, queued);
                self.post();
                Ok(())
            }
            _ => Err(task),
        }
    }

    /// Queues a source.
    pub(crate) fn submit_source(&mut self, source: Box<dyn Source<T>>) {
        let priority = source.priority();
        self.make_way(priority);
        self.queue.push_back(priority, QueueEntry::Source(source));
    }

    /// Takes back the tasks that have a lower priority and that no worker has begun; tells
    /// whether there were any.
    fn make_way(&mut self, priority: i32) -> bool {
        self.has_priorities |= priority != 0;
        if !self.has_priorities {
            return false;
        }
        let mut back = Vec::new();
        for slot in &mut self.slots {
            if slot.queued() > 0 && slot.has_below(priority) {
                back.append(&mut slot.take_back());
            }
        }
        let any = !back.is_empty();
        self.requeue(back);
        any
    }

    /// Tells whether a task of those that go before the queue is next.
    pub(crate) fn is_requeued_next(&self) -> bool {
        let Some((&(Reverse(requeued), _), _)) = self.requeued.first_key_value() else {
            return false;
        };
        let queued = self.queue.front();
        queued.is_none_or(|(priority, _)| requeued >= priority)
    }

    /// Tells whether a source is next.
    fn is_source_next(&self) -> bool {
        !self.is_requeued_next() && matches!(self.queue.front(), Some((_, QueueEntry::Source(_))))
    }

    /// Queues tasks again, at the place that they had.
    pub(crate) fn requeue(&mut self, tasks: Vec<QueuedTask<T>>) {
        for task in tasks {
            self.put_back(task);
        }
    }

    /// Assigns waiting tasks to workers; tells whether it assigned any.
    pub(crate) fn dispatch(&mut self) -> bool {
        let mut assigned = self.deal_turns();
        while self.is_waiting() {
            if self.is_source_next() {
                break;
            }
            let Some(slot) = self.pick_worker() else {
                break;
            };
            let next = match self.is_requeued_next() {
                true => self.requeued.pop_first().map(|(_, task)| task),
                false => match self.queue.pop_front() {
                    Some(QueueEntry::Task(task)) => Some(task),
                    _ => None,
                },
            };
            if let Some(task) = next {
                self.assign(slot, task);
                assigned = true;
            }
            self.deal_turns();
        }
        self.post();
        assigned
    }

    /// Takes the source at the queue's front out of the queue, if it is next and workers need
    /// more tasks; returns it and how many tasks to request.
    pub(crate) fn poll_source(&mut self) -> Option<(Box<dyn Source<T>>, usize)> {
        if !self.is_source_next() {
            return None;
        }
        let mut room = 0;
        let mut needed = false;
        for slot in &self.slots[..self.preferred()] {
            let most = slot.most(self.prefetch);
            let load = slot.load();
            if load < most {
                room += most - load;
                // A source is not polled for each single task, but when half of a worker's tasks
                // are done.
                needed |= load <= most / 2;
            }
        }
        if !needed {
            return None;
        }
        let Some(QueueEntry::Source(source)) = self.queue.pop_front() else {
            return None;
        };
        self.polled_sources += 1;
        self.woken_source = false;
        Some((source, room.min(MOST_AT_ONCE) as usize))
    }

    /// Accepts the tasks of a polled source, and queues the source again. Returns the source if
    /// it is used up: the caller drops it without the lock.
    pub(crate) fn accept_batch(
        &mut self,
        tasks: &mut Vec<Task<T>>,
        source: Box<dyn Source<T>>,
        status: SourceStatus,
    ) -> Option<Box<dyn Source<T>>> {
        self.polled_sources -= 1;
        for task in tasks.drain(..) {
            let queued = self.enqueue(task);
            // If tasks have priorities, one that came meanwhile may go before these.
            let is_next = self.requeued.is_empty() && !self.has_priorities;
            match self.pick_worker_for(queued.policy) {
                Some(slot) if is_next => self.assign(slot, queued),
                _ => self.put_back(queued),
            }
        }
        let priority = source.priority();
        match status {
            SourceStatus::More => self.queue.push_front(priority, QueueEntry::Source(source)),
            SourceStatus::Later if self.woken_source => {
                self.queue.push_back(priority, QueueEntry::Source(source))
            }
            SourceStatus::Later => self.idle_sources.push(source),
            SourceStatus::Done => {
                self.dispatch();
                return Some(source);
            }
        }
        self.dispatch();
        None
    }

    /// Notes that a polled source was dropped.
    pub(crate) fn forget_polled(&mut self) {
        self.polled_sources -= 1;
    }

    /// Queues the idle sources again; tells whether there were any.
    pub(crate) fn resume(&mut self) -> bool {
        let any = !self.idle_sources.is_empty();
        self.woken_source = self.polled_sources > 0;
        for source in self.idle_sources.drain(..) {
            self.queue
                .push_back(source.priority(), QueueEntry::Source(source));
        }
        any
    }

    /// Takes back the tasks that are stuck behind a long one, and assigns them anew.
    pub(crate) fn rebalance(&mut self) {
        let mut back = Vec::new();
        for slot in &mut self.slots {
            if slot.taken() == slot.taken_before_sleep && slot.has_movable() {
                slot.slow = true;
                back.append(&mut slot.take_back());
            }
        }
        self.requeue(back);
        self.dispatch();
    }

    /// Tells whether a worker is idle while tasks are queued on others.
    pub(crate) fn is_uneven(&self) -> bool {
        self.slots.iter().any(WorkerSlot::is_idle) && self.slots.iter().any(WorkerSlot::has_movable)
    }

    /// Tells whether workers need not ring for each reply.
    pub(crate) fn may_batch(&self) -> bool {
        let low = self.prefetch.at_hand() / 4;
        self.prefetch.is_fast() && self.slots.iter().any(|slot| slot.load() > low.max(4))
    }

    /// Sets when all workers are to ring.
    pub(crate) fn request(&self, bell: Bell) {
        for slot in &self.slots {
            slot.channel.reply_queue.ask(bell);
        }
    }

    /// Tells whether there are replies to read.
    pub(crate) fn has_replies(&self) -> bool {
        self.slots.iter().any(WorkerSlot::has_replies)
    }

    /// Empties the queue when the pool has ended: adds outcomes for its tasks, and returns its
    /// sources.
    pub(crate) fn clear(
        &mut self,
        outbox: &mut Outbox<T>,
        end: &Arc<PoolEnd>,
    ) -> Vec<Box<dyn Source<T>>> {
        let mut sources = std::mem::take(&mut self.idle_sources);
        let requeued = std::mem::take(&mut self.requeued).into_values();
        for task in requeued.chain(self.turns.take()) {
            outbox.ended(task.token, end);
        }
        for (_, entry) in self.queue.take() {
            match entry {
                QueueEntry::Task(task) => outbox.ended(task.token, end),
                QueueEntry::Source(source) => sources.push(source),
            }
        }
        sources
    }

    fn enqueue(&mut self, task: Task<T>) -> QueuedTask<T> {
        let number = self.next_number;
        self.next_number += 1;
        self.outstanding.add(task.policy);
        self.has_turns |= task.policy.turn.is_some();
        QueuedTask {
            number,
            token: task.token,
            payload: task.payload,
            job: task.job,
            policy: task.policy,
            loans: task.loans,
            deaths: 0,
        }
    }

    /// Returns the worker for the next task: the one with the fewest tasks, and of several
    /// the one that was used last, because its caches are warm and it may still be spinning.
    pub(crate) fn pick_worker(&self) -> Option<usize> {
        let preferred = self.preferred();
        let picked = self.pick_worker_of(&self.slots[..preferred]);
        match picked {
            None if preferred < self.slots.len() => self.pick_worker_of(&self.slots),
            picked => picked,
        }
    }

    /// Returns how many workers, from the first on, get tasks before the others do. While tasks are
    /// tiny, those are as many as there are processors: more could not run at once, and to wake one
    /// costs more than its task.
    fn preferred(&self) -> usize {
        let all = self.slots.len();
        if all <= self.processors || !self.prefetch.is_tiny() {
            return all;
        }
        let works = |slot: &WorkerSlot<T>| slot.life == WorkerState::Ready && !slot.slow;
        let mut working = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| works(slot));
        working
            .nth(self.processors - 1)
            .map_or(all, |(at, _)| at + 1)
    }

    fn pick_worker_of(&self, slots: &[WorkerSlot<T>]) -> Option<usize> {
        let mut best: Option<(usize, (u32, bool, u64))> = None;
        for (at, slot) in slots.iter().enumerate() {
            let load = slot.load();
            if load >= slot.most(self.prefetch) {
                continue;
            }
            // Smaller is better.
            let rank = (
                load,
                slot.life != WorkerState::Ready,
                u64::MAX - slot.last_used,
            );
            if best.is_none_or(|(_, other)| rank < other) {
                best = Some((at, rank));
            }
        }
        best.map(|(at, _)| at)
    }

    pub(crate) fn assign(&mut self, at: usize, task: QueuedTask<T>) {
        self.tick += 1;
        let tick = self.tick;
        let slot = &mut self.slots[at];
        slot.last_used = tick;
        let family = slot.channel.family();
        let name = match family.is_traced() {
            true => self.names.number_in_trace(family, task.policy.label),
            false => 0,
        };
        if let Err(task) = slot.write(task, name) {
            // The ring has no room until the worker replies.
            self.put_back(task);
        }
    }

    fn post(&mut self) {
        for slot in &mut self.slots {
            slot.post(self.prefetch);
            if slot.tasks_left == Some(0) {
                slot.retire();
            }
        }
    }
}
