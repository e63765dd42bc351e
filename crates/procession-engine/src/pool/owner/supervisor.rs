//! Supervision: what happens when a worker dies, and how many workers there should be.
//!
//! All of this runs under the pool's mutex. Processes are started without it, by
//! [`event_loop`](super::event_loop).

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::pool::api::outcome::{Death, Outbox};
use crate::pool::api::pool_end::{PoolEnd, SetupOverrun};
use crate::pool::owner::leadership::this_thread;
use crate::pool::owner::restart_budget::RestartBudget;
use crate::pool::owner::scheduler::{Collector, DeadWorker, Outstanding, Phase, PoolState, Start};
use crate::pool::owner::worker_slot::{ReadSummary, WorkerSlot, WorkerState};
use procession_sys::primitive::Ordering;
use procession_sys::process::liveness::boot_time;

/// How long to wait for the exit status of a dead worker: another process, the fork server,
/// may have to pass it on.
const STATUS_WAIT: Duration = Duration::from_millis(100);

/// The shortest sleep until a worker has to be ended.
const SHORTEST: Duration = Duration::from_millis(1);

/// Which workers are to be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All that are missing.
    All,
    /// Those that have something to do; all, if idle ones do not end.
    Needed,
}

/// How long no worker is started after one could not be, while others work.
const BETWEEN_STARTS: Duration = Duration::from_millis(100);

impl<T> PoolState<T> {
    /// Reads the replies of all workers; returns why the pool must end, if it must.
    pub(crate) fn read_replies(&mut self, outbox: &mut Outbox<T>) -> Option<PoolEnd> {
        let mut end = None;
        for slot in &mut self.slots {
            let summary = slot.read_replies(outbox, &mut self.prefetch, &mut self.tally);
            end = account(&mut self.outstanding, &mut self.restart_budget, summary).or(end);
        }
        end
    }

    /// Handles the exits in `exits`: requeues or fails the tasks of the dead workers, and
    /// reclaims the workers. Returns why the pool must end, if it must.
    pub(crate) fn collect_dead(&mut self, outbox: &mut Outbox<T>) -> Option<PoolEnd> {
        let mut end = None;
        for key in std::mem::take(&mut self.exits) {
            let Some(at) = self.slots.iter().position(|slot| slot.key == key) else {
                continue;
            };
            let mut slot = self.slots.swap_remove(at);
            // The replies that it published before it died come first.
            let summary = slot.read_replies(outbox, &mut self.prefetch, &mut self.tally);
            end = account(&mut self.outstanding, &mut self.restart_budget, summary).or(end);
            let was_told = slot.life == WorkerState::Retiring;
            let (mut lost, back) = slot.take_unfinished(&mut self.tally);
            let present = slot.present(Instant::now());
            self.tally.ended(slot.place(), present, !was_told);
            self.summary.lost(self.tally.deaths, self.tally.retries);
            self.requeue(back);
            for task in &lost {
                self.outstanding.remove(task.policy);
            }
            // The pool has killed the worker for these, so they need no exit status.
            for task in lost.extract_if(.., |task| task.kill_reason.is_some()) {
                if let Some(kill_reason) = task.kill_reason {
                    outbox.killed(task.token, kill_reason, slot.process.pid());
                }
            }
            self.dead_workers.push(DeadWorker {
                slot,
                lost,
                noticed: Instant::now(),
            });
        }
        let mut at = 0;
        while at < self.dead_workers.len() {
            let dead = &self.dead_workers[at];
            let status = dead.slot.process.try_wait().unwrap_or(None);
            if status.is_none() && dead.noticed.elapsed() < STATUS_WAIT {
                at += 1;
                continue;
            }
            let DeadWorker { slot, lost, .. } = self.dead_workers.swap_remove(at);
            let pid = slot.process.pid();
            let was_wasted = !slot.took_any() && slot.life != WorkerState::Retiring;
            let memory_limit = slot.channel.exceeded_limit();
            let has_crashed = status.is_some_and(|status| status.signal().is_some());
            let crash = match has_crashed && !lost.is_empty() {
                true => slot.channel.crash_text().map(Arc::from),
                false => None,
            };
            for task in lost {
                let death = Death {
                    pid,
                    status,
                    deaths: task.deaths,
                    memory_limit,
                    crash: crash.clone(),
                };
                outbox.died(task.token, death);
            }
            if was_wasted && end.is_none() {
                let spent = if slot.life == WorkerState::Starting {
                    self.restart_budget.failed_to_start(self.size, status)
                } else {
                    self.restart_budget.died_idle()
                };
                end = spent.err().map(PoolEnd::Workers);
            }
            let worker = slot.process.stamp();
            let family = slot.channel.family();
            if family.is_dead(worker) {
                family.reclaim(worker);
                self.spare_channels.push(slot.channel);
            }
        }
        end
    }

    /// Tells whether a worker is missing and may be started now, and with which index; counts it as
    /// starting.
    pub(crate) fn reserve_start(&mut self, wanted: Wanted) -> Option<u32> {
        let size = match (self.idle_limit(), wanted) {
            (Some(_), Wanted::Needed) => self.size.min(self.demand()),
            _ => self.size,
        };
        let target = match self.phase {
            Phase::Running => size,
            Phase::Closed if !self.is_drained() => size,
            _ => 0,
        };
        let living = self.living();
        // If no worker lives, a start that fails ends the pool, so it need not wait.
        let is_put_off = living > 0 && self.no_start_before.is_some_and(|at| Instant::now() < at);
        if living >= target || is_put_off {
            return None;
        }
        let index = self.free_index();
        let thread = this_thread();
        self.starting.push(Start { index, thread });
        Some(index)
    }

    /// Notes that the worker with an index is not being started any more.
    pub(crate) fn end_start(&mut self, index: u32) {
        self.starting.retain(|start| start.index != index);
    }

    /// Retires workers, as many as are too many; all of them when the pool is closed and
    /// no tasks are left. Idle ones go first, and of those that run a task the ones with the
    /// highest index; what is queued behind it goes to others.
    pub(crate) fn retire_surplus(&mut self) {
        let target = match self.phase {
            Phase::Closed if self.is_drained() => 0,
            _ => self.size,
        };
        // Workers that are being started are not counted yet, as a start may fail.
        let mut staying: Vec<&mut WorkerSlot<T>> = self
            .slots
            .iter_mut()
            .filter(|slot| slot.life != WorkerState::Retiring)
            .collect();
        let surplus = staying.len().saturating_sub(target);
        if surplus == 0 {
            return;
        }
        staying.sort_by_key(|slot| {
            let index = slot.channel.index.load(Ordering::Relaxed);
            (slot.load() > 0, Reverse(index))
        });
        let mut back = Vec::new();
        for slot in staying.into_iter().take(surplus) {
            back.append(&mut slot.take_back());
            slot.retire();
        }
        self.requeue(back);
    }

    /// Returns after how long without a task a worker ends. None does while tasks wait for their
    /// turn: it may be the turn of any worker next.
    fn idle_limit(&self) -> Option<Duration> {
        self.idle_timeout.filter(|_| self.turns.is_empty())
    }

    /// Retires the workers that have had nothing to do for too long.
    pub(crate) fn retire_idle(&mut self) {
        let Some(timeout) = self.idle_limit() else {
            return;
        };
        let now = Instant::now();
        for slot in &mut self.slots {
            if slot.is_idle() && now - *slot.idle_since.get_or_insert(now) >= timeout {
                slot.retire();
            }
        }
    }

    /// Returns the time until a worker may have had nothing to do for too long; `None` where
    /// none ends for that.
    pub(crate) fn idle_left(&self) -> Option<Duration> {
        let timeout = self.idle_limit()?;
        let left = |slot: &WorkerSlot<T>| match slot.idle_since {
            Some(since) if slot.is_idle() => timeout.saturating_sub(since.elapsed()),
            _ => timeout,
        };
        let left = self.slots.iter().map(left).min();
        left.map(|left| left.max(SHORTEST))
    }

    /// Returns the worker that has taken too long to set itself up, if there is one, as the end
    /// of the pool. The caller has read all replies that have arrived.
    pub(crate) fn setup_overrun(&self) -> Option<PoolEnd> {
        let limit = self.setup_limit.as_ref()?;
        let now = boot_time();
        let mut slots = self.slots.iter();
        let slot = slots.find(|slot| slot.setup_left(limit.time, now) == Some(Duration::ZERO))?;
        Some(PoolEnd::SetupTimedOut(SetupOverrun {
            name: Arc::clone(&limit.name),
            pid: slot.process.pid(),
            index: slot.channel.index.load(Ordering::Relaxed),
            limit: limit.time,
        }))
    }

    /// Returns the time until a worker may have taken too long to set itself up.
    pub(crate) fn setup_left(&self) -> Option<Duration> {
        let limit = self.setup_limit.as_ref()?.time;
        let now = boot_time();
        let slots = self.slots.iter();
        let left = slots.filter_map(|slot| slot.setup_left(limit, now)).min();
        left.map(|left| left.max(SHORTEST))
    }

    /// Tells whether a worker that was told to end has not been reaped.
    pub(crate) fn has_retiring(&self) -> bool {
        let mut slots = self.slots.iter();
        slots.any(|slot| slot.life == WorkerState::Retiring)
    }

    /// Tells whether the collector is to run though no result is owed: for workers that will
    /// end when they have been idle for long enough, or are ending for that.
    pub(crate) fn is_to_be_looked_after(&self) -> bool {
        let has_retiring = self.has_retiring() && self.collector != Collector::Wanted;
        let has_any = !self.slots.is_empty() && self.collector == Collector::Absent;
        self.idle_timeout.is_some() && (has_any || has_retiring)
    }

    /// Returns the lowest index that no worker has, but for those that have done their last task
    /// and end: who comes after one of them has its index.
    fn free_index(&self) -> u32 {
        let staying = self.slots.iter().filter(|slot| !slot.is_ending());
        let places = staying.map(WorkerSlot::place);
        // There is one more index here than there are workers, so one is free.
        let mut taken = vec![false; self.slots.len() + self.starting.len() + 1];
        for index in places.chain(self.starting.iter().map(|start| start.index)) {
            if let Some(place) = taken.get_mut(index as usize) {
                *place = true;
            }
        }
        let free = taken.iter().position(|taken| !taken);
        free.unwrap_or_default() as u32
    }

    /// Adds a worker that has been started.
    pub(crate) fn install(&mut self, slot: WorkerSlot<T>) {
        self.end_start(slot.place());
        self.tally.started(slot.place());
        self.slots.push(slot);
        // The pool may have shrunk meanwhile.
        self.retire_surplus();
    }

    /// Notes that a worker could not be started: the system has no room for another process,
    /// say. The other workers go on, and the start is tried again, but not in each round.
    pub(crate) fn start_failed(&mut self, index: u32) {
        self.end_start(index);
        self.no_start_before = Some(Instant::now() + BETWEEN_STARTS);
    }

    /// Counts the workers that take tasks, run their last ones, or are being started.
    fn living(&self) -> usize {
        let alive = self.slots.iter().filter(|slot| !slot.is_ending());
        alive.count() + self.starting.len()
    }
}

/// Accounts for the replies of one worker; returns why the pool must end, if it must.
fn account(
    outstanding: &mut Outstanding,
    budget: &mut RestartBudget,
    summary: ReadSummary,
) -> Option<PoolEnd> {
    outstanding.tasks -= summary.done;
    outstanding.timed -= summary.timed;
    if summary.ready {
        budget.started();
    }
    summary.failed.map(PoolEnd::Initializer)
}
