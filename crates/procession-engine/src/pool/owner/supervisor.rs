//! Supervision: what happens when a worker dies, and how many workers there should be.
//!
//! All of this runs under the pool's mutex. Processes are started without it, by
//! [`event_loop`](super::event_loop).

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use crate::pool::api::outcome::{Death, Outbox};
use crate::pool::api::pool_end::PoolEnd;
use crate::pool::owner::restart_budget::RestartBudget;
use crate::pool::owner::scheduler::{DeadWorker, Outstanding, Phase, PoolState};
use crate::pool::owner::worker_slot::{ReadSummary, WorkerSlot, WorkerState};
use procession_sys::primitive::Ordering;

/// How long to wait for the exit status of a dead worker: another process, the fork server,
/// may have to pass it on.
const STATUS_WAIT: Duration = Duration::from_millis(100);

/// How long no worker is started after one could not be, while others work.
const BETWEEN_STARTS: Duration = Duration::from_millis(100);

impl<T> PoolState<T> {
    /// Reads the replies of all workers; returns why the pool must end, if it must.
    pub(crate) fn read(&mut self, outbox: &mut Outbox<T>) -> Option<PoolEnd> {
        let mut end = None;
        for slot in &mut self.slots {
            let summary = slot.read(outbox, &mut self.prefetch);
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
            let summary = slot.read(outbox, &mut self.prefetch);
            end = account(&mut self.outstanding, &mut self.restart_budget, summary).or(end);
            let (mut lost, back) = slot.take_unfinished();
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
            let starved = slot.channel.starved.load(Ordering::Relaxed) != 0;
            for task in lost {
                let deaths = task.deaths;
                let death = Death {
                    pid,
                    status,
                    deaths,
                    starved,
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

    /// Tells whether a worker is missing and may be started now; if so, counts one more as
    /// starting.
    pub(crate) fn reserve_start(&mut self) -> bool {
        let target = match self.phase {
            Phase::Running => self.size,
            Phase::Closed if !self.is_drained() => self.size,
            _ => 0,
        };
        let living = self.living();
        // Where nobody works, a start that fails is the end of the pool, at once.
        let is_put_off = living > 0 && self.no_start_before.is_some_and(|at| Instant::now() < at);
        let missing = living < target && !is_put_off;
        self.starting += usize::from(missing);
        missing
    }

    /// Retires workers, as many as are too many; all of them when the pool is closed and
    /// no tasks are left. Idle ones go first, and of those that run a task the ones with the
    /// highest index; what is queued behind it goes to others.
    pub(crate) fn retire_surplus(&mut self) {
        let target = match self.phase {
            Phase::Closed if self.is_drained() => 0,
            _ => self.size,
        };
        // Those that are being started are none yet: one of them may fail.
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

    /// Returns the lowest index that no worker has.
    pub(crate) fn free_index(&self) -> u32 {
        let at = |slot: &WorkerSlot<T>| slot.channel.index.load(Ordering::Relaxed) as usize;
        // There is one more index here than there are slots, so one is free.
        let mut taken = vec![false; self.slots.len() + 1];
        for index in self.slots.iter().map(at) {
            if let Some(place) = taken.get_mut(index) {
                *place = true;
            }
        }
        let free = taken.iter().position(|taken| !taken);
        free.unwrap_or_default() as u32
    }

    /// Adds a worker that has been started.
    pub(crate) fn install(&mut self, slot: WorkerSlot<T>) {
        self.starting -= 1;
        self.slots.push(slot);
        // The pool may have shrunk meanwhile.
        self.retire_surplus();
    }

    /// Notes that a worker could not be started: the system has no room for another process,
    /// say. The other workers go on, and the start is tried again, but not in each round.
    pub(crate) fn start_failed(&mut self) {
        self.starting -= 1;
        self.no_start_before = Some(Instant::now() + BETWEEN_STARTS);
    }

    /// Counts the workers that take tasks, run their last ones, or are being started.
    fn living(&self) -> usize {
        let alive = |slot: &&WorkerSlot<T>| slot.life != WorkerState::Retiring || slot.load() > 0;
        self.slots.iter().filter(alive).count() + self.starting
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
