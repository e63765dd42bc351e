//! Workers that die, and those that take their place.
//!
//! Everything here happens under the pool's mutex; starting a process does not,
//! and is left to [`pool`](super::pool).

use std::time::{Duration, Instant};

use crate::error::Result;
use crate::pool::budget::Budget;
use crate::pool::dispatch::{Phase, State, Tally};
use crate::pool::outcome::{Death, Outbox, PoolEnd};
use crate::pool::seat::{Life, Lost, News, Seat};
use crate::primitive::Ordering;

/// How long the exit status of a dead worker is waited for: another process,
/// the fork server, may have to hand it on.
const STATUS_WAIT: Duration = Duration::from_millis(100);

/// A worker that has died, and whose exit status is not known yet.
pub(super) struct Mourned<T> {
    pub seat: Seat<T>,
    /// The task it was running.
    pub lost: Vec<Lost<T>>,
    since: Instant,
}

impl<T> State<T> {
    /// Reads what the workers have sent; returns why the pool must end, if it
    /// must.
    pub(super) fn read(&mut self, outbox: &mut Outbox<T>) -> Option<PoolEnd> {
        let mut end = None;
        for seat in &mut self.seats {
            let news = seat.read(outbox, &mut self.pace);
            end = note(&mut self.tally, &mut self.budget, news).or(end);
        }
        end
    }

    /// Clears away after the workers whose descriptors said that they have
    /// ended, and reports the tasks that they took with them.
    pub(super) fn bury(&mut self, outbox: &mut Outbox<T>) -> Option<PoolEnd> {
        let mut end = None;
        for key in std::mem::take(&mut self.deaths) {
            let Some(at) = self.seats.iter().position(|seat| seat.key == key) else {
                continue;
            };
            let mut seat = self.seats.swap_remove(at);
            // What it published before it died comes first.
            let news = seat.read(outbox, &mut self.pace);
            end = note(&mut self.tally, &mut self.budget, news).or(end);
            let (mut lost, back) = seat.salvage();
            self.give_back(back);
            for task in &lost {
                self.tally.remove(task.terms);
            }
            // Why those died is known.
            for task in lost.extract_if(.., |task| task.doom.is_some()) {
                if let Some(doom) = task.doom {
                    outbox.doomed(task.token, doom, seat.process.pid());
                }
            }
            self.mourned.push(Mourned {
                seat,
                lost,
                since: Instant::now(),
            });
        }
        let mut at = 0;
        while at < self.mourned.len() {
            let mourned = &self.mourned[at];
            let status = mourned.seat.process.try_wait().unwrap_or(None);
            if status.is_none() && mourned.since.elapsed() < STATUS_WAIT {
                at += 1;
                continue;
            }
            let Mourned { seat, lost, .. } = self.mourned.swap_remove(at);
            let pid = seat.process.pid();
            let was_wasted = !seat.took_any() && seat.life != Life::Retiring;
            let starved = seat.lane.starved.load(Ordering::Relaxed) != 0;
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
                let spent = if seat.life == Life::Starting {
                    self.budget.failed_to_start(self.size, status)
                } else {
                    self.budget.died_idle()
                };
                end = spent.err().map(PoolEnd::Workers);
            }
            let worker = seat.process.stamp();
            let family = seat.lane.family();
            if family.is_dead(worker) {
                family.bury(worker);
                self.lanes.push(seat.lane);
            }
        }
        end
    }

    /// Tells whether a worker is missing; if so, one is counted as starting.
    pub(super) fn reserve_start(&mut self) -> bool {
        let wanted = match self.phase {
            Phase::Running => self.size,
            Phase::Closed if !self.is_drained() => self.size,
            _ => 0,
        };
        let missing = self.living() < wanted;
        self.starting += usize::from(missing);
        missing
    }

    /// Sends workers home that are too many, or have nothing left to do.
    pub(super) fn dismiss(&mut self) {
        let wanted = match self.phase {
            Phase::Closed if self.is_drained() => 0,
            _ => self.size,
        };
        let mut many = self.living().saturating_sub(wanted);
        for seat in &mut self.seats {
            if many > 0 && seat.life != Life::Retiring && seat.load() == 0 {
                seat.retire();
                many -= 1;
            }
        }
    }

    /// Returns the lowest place in the pool that no worker has.
    pub(super) fn free_index(&self) -> u32 {
        let taken = |index| {
            let at = |seat: &Seat<T>| seat.lane.index.load(Ordering::Relaxed);
            self.seats.iter().any(|seat| at(seat) == index)
        };
        (0..).find(|&index| !taken(index)).unwrap_or(0)
    }

    /// Adds a worker that has been started.
    pub(super) fn install(&mut self, seat: Seat<T>) {
        self.starting -= 1;
        self.seats.push(seat);
    }

    /// Notes that a worker could not be started.
    pub(super) fn start_failed(&mut self) -> Result<()> {
        self.starting -= 1;
        self.budget.failed_to_start(self.size, None)
    }

    /// Workers that take tasks or are busy with their last.
    fn living(&self) -> usize {
        let alive = |seat: &&Seat<T>| seat.life != Life::Retiring || seat.load() > 0;
        self.seats.iter().filter(alive).count() + self.starting
    }
}

/// Counts what a worker has done; returns why the pool must end, if it must.
fn note(tally: &mut Tally, budget: &mut Budget, news: News) -> Option<PoolEnd> {
    tally.outstanding -= news.done;
    tally.timed -= news.timed;
    if news.ready {
        budget.started();
    }
    news.failed.map(PoolEnd::Initializer)
}
