//! Tasks that are called off: by who handed them in, or because they take too
//! long.
//!
//! A task that runs can only be ended with its worker. `README.md`, "Deadlines
//! and cancelling", tells how nobody else is harmed.

use std::time::Duration;

use crate::error::Result;
use crate::os::liveness::boot_time;
use crate::pool::dispatch::{Entry, Phase, State};
use crate::pool::outcome::{Outbox, Sink};
use crate::pool::pool::Shared;
use crate::pool::seat::Doom;
use crate::pool::task::Source;

/// The shortest sleep for the sake of a task that has yet to begin.
const SHORTEST: Duration = Duration::from_millis(1);

impl<T> State<T> {
    /// Returns how long it is until a task may have taken too long.
    pub(super) fn time_left(&self) -> Option<Duration> {
        let now = boot_time();
        let left = self.seats.iter().filter_map(|seat| seat.time_left(now));
        left.min().map(|left| left.max(SHORTEST))
    }

    /// Kills the workers whose tasks have taken too long. Results that have
    /// come must have been read.
    pub(super) fn kill_overdue(&mut self) {
        let now = boot_time();
        let mut back = Vec::new();
        for seat in &mut self.seats {
            if let Some(limit) = seat.overdue(now) {
                back.append(&mut seat.condemn(Doom::TimedOut(limit)));
            }
        }
        self.give_back(back);
    }

    /// Takes out the tasks that `which` picks and kills those that run, if
    /// asked to; returns how many it was, and the sources that are cancelled.
    fn cancel(
        &mut self,
        which: &dyn Fn(&T) -> bool,
        running: Running,
        outbox: &mut Outbox<T>,
    ) -> (usize, Vec<Box<dyn Source<T>>>) {
        let mut killed = 0;
        for seat in &mut self.seats {
            if !seat.tokens().any(which) {
                continue;
            }
            // What it has not begun comes back in line, and is looked at there.
            let kill = running == Running::Killed && !seat.is_doomed() && seat.runs(which);
            let back = if kill {
                seat.condemn(Doom::Cancelled)
            } else {
                seat.take_back()
            };
            killed += usize::from(kill && seat.is_doomed());
            for task in back {
                self.returned.insert(task.number, task);
            }
        }
        let mut tasks: Vec<_> = self
            .returned
            .extract_if(.., |_, task| which(&task.token))
            .map(|(_, task)| task)
            .collect();
        let mut sources: Vec<_> = self
            .paused
            .extract_if(.., |source| source.is_cancelled())
            .collect();
        for entry in std::mem::take(&mut self.line) {
            match entry {
                Entry::Task(task) if which(&task.token) => tasks.push(task),
                Entry::Source(source) if source.is_cancelled() => sources.push(source),
                entry => self.line.push_back(entry),
            }
        }
        let count = killed + tasks.len() + sources.len();
        for task in tasks {
            self.tally.remove(task.terms);
            outbox.cancelled(task.token);
        }
        self.deal();
        (count, sources)
    }
}

/// What becomes of tasks that run when they are cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Running {
    /// They go on.
    Spared,
    /// They are killed, with their workers.
    Killed,
}

impl<S: Sink> Shared<S> {
    pub(super) fn cancel(
        &self,
        which: &dyn Fn(&S::Token) -> bool,
        running: Running,
    ) -> Result<usize> {
        let mut outbox = Outbox::default();
        let mut state = self.lock();
        if matches!(state.phase, Phase::Ended(_)) {
            return Ok(0);
        }
        // What is done already is not cancelled.
        let end = state.read(&mut outbox);
        let (count, sources) = state.cancel(which, running, &mut outbox);
        drop(state);
        for source in sources {
            source.cancel();
        }
        outbox.deliver(&self.sink);
        if let Some(end) = end {
            self.finish(end);
        }
        self.lead.announce();
        let state = self.lock();
        self.wake_leader();
        drop(state);
        Ok(count)
    }
}
