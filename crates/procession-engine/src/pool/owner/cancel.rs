//! Cancelling tasks, on request or because they take too long.
//!
//! A running task can only be ended by killing its worker. `README.md`, "Deadlines
//! and cancelling", says how no other task is harmed.

use std::mem;
use std::time::Duration;

use crate::pool::api::outcome::{KillReason, Outbox, Sink};
use crate::pool::api::pool_end::PoolEnd;
use crate::pool::api::source::Source;
use crate::pool::owner::core::PoolCore;
use crate::pool::owner::scheduler::{Phase, PoolState, QueueEntry};
use procession_sys::error::Result;
use procession_sys::process::liveness::boot_time;

/// The shortest sleep until a deadline; the task may have yet to begin.
const SHORTEST: Duration = Duration::from_millis(1);

impl<T> PoolState<T> {
    /// Returns the time until the next deadline of a task.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        let now = boot_time();
        let left = self.slots.iter().filter_map(|slot| slot.time_left(now));
        left.min().map(|left| left.max(SHORTEST))
    }

    /// Kills the workers whose tasks have taken too long. The caller has read all replies that
    /// have arrived.
    pub(crate) fn enforce_deadlines(&mut self) {
        if self.outstanding.timed == 0 {
            return;
        }
        let now = boot_time();
        let mut back = Vec::new();
        for slot in &mut self.slots {
            if let Some(limit) = slot.overdue(now) {
                back.append(&mut slot.kill_running_task(KillReason::TimedOut(limit)));
            }
        }
        self.requeue(back);
    }

    /// Removes the tasks that `which` selects, and kills those that run if `running` says so.
    fn cancel(
        &mut self,
        which: &dyn Fn(&T) -> bool,
        running: RunningTasks,
        outbox: &mut Outbox<T>,
    ) -> Cancelled<T> {
        let mut requeued = Vec::new();
        for slot in &mut self.slots {
            if slot.tokens().any(which) {
                // Tasks that have not begun are requeued, and looked at below.
                requeued.append(&mut slot.take_back());
            }
        }
        // A task that is done already is not cancelled. Not before: until its tasks were taken
        // back, a worker may have ended one of them and begun the next.
        let end = self.read_replies(outbox);
        let mut killed = 0;
        if running == RunningTasks::Killed {
            for slot in &mut self.slots {
                if !slot.is_being_killed() && slot.runs(which) {
                    requeued.append(&mut slot.kill_running_task(KillReason::Cancelled));
                    killed += usize::from(slot.is_being_killed());
                }
            }
        }
        self.requeue(requeued);
        let waiting = mem::take(&mut self.requeued).into_values();
        let (mut tasks, kept): (Vec<_>, Vec<_>) = waiting
            .chain(self.turns.take())
            .partition(|task| which(&task.token));
        self.requeue(kept);
        let mut sources: Vec<_> = self
            .idle_sources
            .extract_if(.., |source| source.is_cancelled())
            .collect();
        for (priority, entry) in self.queue.take() {
            match entry {
                QueueEntry::Task(task) if which(&task.token) => tasks.push(task),
                QueueEntry::Source(source) if source.is_cancelled() => sources.push(source),
                entry => self.queue.push_back(priority, entry),
            }
        }
        let cancelled = Cancelled {
            count: killed + tasks.len() + sources.len(),
            sources,
            end,
        };
        for task in tasks {
            self.outstanding.remove(task.policy);
            outbox.cancelled(task.token);
        }
        self.dispatch();
        cancelled
    }
}

/// What a cancel found.
struct Cancelled<T> {
    /// How many tasks and sources.
    count: usize,
    sources: Vec<Box<dyn Source<T>>>,
    /// Why the pool must end, if it must.
    end: Option<PoolEnd>,
}

/// What happens to running tasks that are cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunningTasks {
    /// They run on.
    Spared,
    /// They are killed, with their workers.
    Killed,
}

impl<S: Sink> PoolCore<S> {
    pub(crate) fn cancel(
        &self,
        which: &dyn Fn(&S::Token) -> bool,
        running: RunningTasks,
    ) -> Result<usize> {
        let mut outbox = Outbox::default();
        let mut state = self.lock();
        if matches!(state.phase, Phase::Ended(_)) {
            return Ok(0);
        }
        let cancelled = state.cancel(which, running, &mut outbox);
        drop(state);
        for mut source in cancelled.sources {
            for task in source.give_up() {
                outbox.cancelled(task.token);
            }
            source.cancel();
        }
        outbox.deliver(&self.sink);
        if let Some(end) = cancelled.end {
            self.finish(end);
        }
        self.lead.notify_followers();
        let state = self.lock();
        self.wake_leader(&state);
        drop(state);
        Ok(cancelled.count)
    }
}
