//! Tasks that are dealt in a fixed order of workers, and wait for the one whose turn they are.
//!
//! All of this runs under the pool's mutex and calls no face. `README.md`, "Turns", says which worker
//! has which turns.

use std::cmp::Reverse;

use crate::pool::api::task::{TaskPolicy, Turn};
use crate::pool::owner::scheduler::{PoolState, QueueEntry};
use crate::pool::owner::turn_lines::LinePlace;
use crate::pool::owner::worker_slot::{QueuedTask, WorkerState};

impl<T> PoolState<T> {
    /// Has a task wait at the place that it had: for its turn, or before the queue.
    pub(crate) fn put_back(&mut self, task: QueuedTask<T>) {
        match task.policy.turn {
            Some(turn) => self.turns.insert(turn.seat(self.size), task),
            None => {
                self.requeued.insert(task.place(), task);
            }
        }
    }

    /// Deals the tasks that wait for their turn anew, as the pool has another size.
    pub(crate) fn renumber_turns(&mut self) {
        for task in self.turns.take() {
            self.put_back(task);
        }
    }

    /// Returns the worker for a task that comes next, if one has room for it.
    pub(crate) fn pick_worker_for(&self, policy: TaskPolicy) -> Option<usize> {
        match policy.turn {
            None => self.pick_worker(),
            Some(turn) => self.pick_by_turn(turn),
        }
    }

    fn pick_by_turn(&self, turn: Turn) -> Option<usize> {
        let seat = turn.seat(self.size);
        let at = match self.turns.first(seat) {
            // Another one has come before.
            Some(_) => None,
            None => self.seats()[seat as usize],
        };
        at.filter(|&at| self.has_room(at))
    }

    /// Assigns the tasks that wait for their turn to the workers whose turn they are, unless these
    /// have no room, or other tasks go before; tells whether it assigned any.
    pub(crate) fn deal_turns(&mut self) -> bool {
        if !self.has_turns {
            return false;
        }
        while !self.is_requeued_next()
            && let Some((_, QueueEntry::Task(task))) = self.queue.front()
            && task.policy.turn.is_some()
            && let Some(QueueEntry::Task(task)) = self.queue.pop_front()
        {
            self.put_back(task);
        }
        if self.turns.is_empty() {
            return false;
        }
        let mut assigned = false;
        for (seat, at) in (0..).zip(self.seats()) {
            let Some(at) = at else { continue };
            while let Some(place) = self.turns.first(seat)
                && self.has_room(at)
                && !self.is_behind_another(place)
                && let Some(task) = self.turns.pop_first(seat)
            {
                self.assign(at, task);
                assigned = true;
            }
        }
        assigned
    }

    /// Tells whether a task that waits for its turn comes after one that any worker may have. What
    /// is in the queue came later than what was taken out of it.
    fn is_behind_another(&self, place: LinePlace) -> bool {
        let Reverse(priority) = place.0;
        let requeued = self.requeued.first_key_value();
        let queued = self.queue.front();
        requeued.is_some_and(|(&other, _)| other < place)
            || queued.is_some_and(|(other, _)| other > priority)
    }

    fn has_room(&self, at: usize) -> bool {
        let slot = &self.slots[at];
        slot.load() < slot.most(self.prefetch)
    }

    /// Returns who has the turns of each place of the pool: the worker that is there, which may be
    /// about to be replaced; or none, if one is to be started there. A pool that has shrunk may have
    /// workers beyond its size, in the place of which none is started within: these have the turns
    /// there, from the last place on.
    fn seats(&self) -> Vec<Option<usize>> {
        let mut seats = vec![None; self.size];
        let mut beyond = Vec::new();
        for (at, slot) in self.slots.iter().enumerate() {
            match seats.get_mut(slot.place() as usize) {
                _ if slot.is_ending() => {}
                Some(seat) => *seat = Some(at),
                None if slot.life == WorkerState::Retiring => {}
                None => beyond.push((Reverse(slot.place()), at)),
            }
        }
        beyond.sort_unstable();
        let vacant = seats.iter_mut().rev().filter(|seat| seat.is_none());
        for (seat, (_, at)) in vacant.zip(beyond) {
            *seat = Some(at);
        }
        seats
    }
}
