//! Who gets which task: the line of tasks, and the workers they are dealt to.
//!
//! Everything here happens under the pool's mutex and calls no face.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::pool::budget::Budget;
use crate::pool::lane::Lane;
use crate::pool::outcome::{Outbox, PoolEnd};
use crate::pool::pace::Pace;
use crate::pool::reply_words::Bell;
use crate::pool::seat::{Life, Seat, Waiting};
use crate::pool::supervise::Mourned;
use crate::pool::task::{Source, Supply, Task, Terms};

/// The most tasks asked of a source at once, so that results are not kept
/// waiting for it.
const MOST_AT_ONCE: u32 = 128;

/// How far a pool's life has come.
#[derive(Debug)]
pub(super) enum Phase {
    /// It takes tasks.
    Running,
    /// It takes no more tasks, and ends when it has done those it has.
    Closed,
    /// It has ended.
    Ended(Arc<PoolEnd>),
}

/// All that a pool knows.
pub(super) struct State<T> {
    pub phase: Phase,
    /// How many workers there should be.
    pub size: usize,
    pub seats: Vec<Seat<T>>,
    /// Workers being started right now.
    pub starting: usize,
    /// Lanes of dead workers, for the next.
    pub lanes: Vec<Lane>,
    pub mourned: Vec<Mourned<T>>,
    /// Seats whose worker's descriptor said that it has ended.
    pub deaths: Vec<u64>,
    pub budget: Budget,
    pub pace: Pace,
    pub tally: Tally,
    /// Tasks that go before all others, by number.
    pub(super) returned: BTreeMap<u64, Waiting<T>>,
    pub(super) line: VecDeque<Entry<T>>,
    /// Sources that had nothing for now.
    pub(super) paused: Vec<Box<dyn Source<T>>>,
    /// Sources that are being asked right now.
    asked: usize,
    /// One of them may have got more since it said that it had nothing.
    resumed: bool,
    next_number: u64,
    tick: u64,
    pub next_key: u64,
    /// The collector sleeps on the doorbell and may lose the lead.
    pub collector_parked: bool,
    /// Results are owed though nobody may be waiting for them.
    pub attended: bool,
    pub collector_runs: bool,
}

/// What stands in line.
pub(super) enum Entry<T> {
    Task(Waiting<T>),
    Source(Box<dyn Source<T>>),
}

/// Counts the tasks that were handed in and have no outcome yet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub outstanding: usize,
    /// Those of them that may take so long and no longer.
    pub timed: usize,
}

impl Tally {
    fn add(&mut self, terms: Terms) {
        self.outstanding += 1;
        self.timed += usize::from(terms.timeout.is_some());
    }

    pub(super) fn remove(&mut self, terms: Terms) {
        self.outstanding -= 1;
        self.timed -= usize::from(terms.timeout.is_some());
    }
}

impl<T> State<T> {
    pub(super) fn new(size: usize, budget: Budget) -> Self {
        Self {
            phase: Phase::Running,
            size,
            seats: Vec::new(),
            starting: 0,
            lanes: Vec::new(),
            mourned: Vec::new(),
            deaths: Vec::new(),
            budget,
            pace: Pace::default(),
            tally: Tally::default(),
            returned: BTreeMap::new(),
            line: VecDeque::new(),
            paused: Vec::new(),
            asked: 0,
            resumed: false,
            next_number: 0,
            tick: 0,
            // 0 is the doorbell.
            next_key: 1,
            collector_parked: false,
            attended: false,
            collector_runs: false,
        }
    }

    /// Tells whether there is nothing left to do.
    pub(super) fn is_drained(&self) -> bool {
        self.is_quiet() && self.paused.is_empty()
    }

    /// Tells whether there is nothing to do until a source is resumed.
    pub(super) fn is_quiet(&self) -> bool {
        self.tally.outstanding == 0
            && self.asked == 0
            && self.line.is_empty()
            && self.mourned.is_empty()
    }

    /// Tells whether tasks wait that no worker has.
    pub(super) fn is_waiting(&self) -> bool {
        !self.returned.is_empty() || !self.line.is_empty()
    }

    /// Puts a task in line, or gives it to a worker at once.
    pub(super) fn submit(&mut self, task: Task<T>) {
        let waiting = self.admit(task);
        if self.is_waiting() {
            self.line.push_back(Entry::Task(waiting));
            return;
        }
        match self.choose() {
            Some(seat) => self.give(seat, waiting),
            None => self.line.push_back(Entry::Task(waiting)),
        }
        self.post();
    }

    /// Puts a source in line.
    pub(super) fn submit_source(&mut self, source: Box<dyn Source<T>>) {
        self.line.push_back(Entry::Source(source));
    }

    /// Puts tasks back in line, at the place they had.
    pub(super) fn give_back(&mut self, tasks: Vec<Waiting<T>>) {
        for task in tasks {
            self.returned.insert(task.number, task);
        }
    }

    /// Gives waiting tasks to workers; tells whether it gave any.
    pub(super) fn deal(&mut self) -> bool {
        let mut dealt = false;
        while self.is_waiting() {
            if self.returned.is_empty() && matches!(self.line.front(), Some(Entry::Source(_))) {
                break;
            }
            let Some(seat) = self.choose() else {
                break;
            };
            let next = self.returned.pop_first().map(|(_, task)| task);
            let next = next.or_else(|| match self.line.pop_front() {
                Some(Entry::Task(task)) => Some(task),
                _ => None,
            });
            if let Some(task) = next {
                self.give(seat, task);
                dealt = true;
            }
        }
        self.post();
        dealt
    }

    /// Takes the source out whose turn it is, if workers need more, and says
    /// how many tasks to ask it for.
    pub(super) fn ask(&mut self) -> Option<(Box<dyn Source<T>>, usize)> {
        if !self.returned.is_empty() || !matches!(self.line.front(), Some(Entry::Source(_))) {
            return None;
        }
        let mut room = 0;
        let mut needed = false;
        for seat in &self.seats {
            let most = seat.most(self.pace);
            let load = seat.load();
            if load < most {
                room += most - load;
                // Not for each single task: when half is done.
                needed |= load <= most / 2;
            }
        }
        if !needed {
            return None;
        }
        let Some(Entry::Source(source)) = self.line.pop_front() else {
            return None;
        };
        self.asked += 1;
        self.resumed = false;
        Some((source, room.min(MOST_AT_ONCE) as usize))
    }

    /// Takes what a source made, and the source back. Returns the source if it
    /// is to be dropped, which is done without the lock.
    pub(super) fn answer(
        &mut self,
        tasks: &mut Vec<Task<T>>,
        source: Box<dyn Source<T>>,
        supply: Supply,
    ) -> Option<Box<dyn Source<T>>> {
        self.asked -= 1;
        for task in tasks.drain(..) {
            let waiting = self.admit(task);
            match self.choose() {
                Some(seat) if self.returned.is_empty() => self.give(seat, waiting),
                _ => {
                    self.returned.insert(waiting.number, waiting);
                }
            }
        }
        match supply {
            Supply::More => self.line.push_front(Entry::Source(source)),
            Supply::Later if self.resumed => self.line.push_back(Entry::Source(source)),
            Supply::Later => self.paused.push(source),
            Supply::Done => {
                self.deal();
                return Some(source);
            }
        }
        self.deal();
        None
    }

    /// Notes that a source that was asked does not come back.
    pub(super) fn forget_asked(&mut self) {
        self.asked -= 1;
    }

    /// Puts paused sources back in line.
    pub(super) fn resume(&mut self) -> bool {
        let any = !self.paused.is_empty();
        self.resumed = self.asked > 0;
        for source in self.paused.drain(..) {
            self.line.push_back(Entry::Source(source));
        }
        any
    }

    /// Takes back what is stuck behind a long task, if a worker is idle.
    pub(super) fn redeal(&mut self) {
        let mut back = Vec::new();
        for seat in &mut self.seats {
            if seat.taken() == seat.taken_then && seat.queued() > 0 {
                seat.slow = true;
                back.append(&mut seat.take_back());
            }
        }
        self.give_back(back);
        self.deal();
    }

    /// Tells whether a worker is idle while tasks are queued on others.
    pub(super) fn is_uneven(&self) -> bool {
        self.seats.iter().any(Seat::is_idle) && self.seats.iter().any(|seat| seat.queued() > 0)
    }

    /// Tells whether workers may keep small results for a while.
    pub(super) fn may_batch(&self) -> bool {
        let low = self.pace.at_hand() / 4;
        self.pace.is_fast() && self.seats.iter().any(|seat| seat.load() > low.max(4))
    }

    /// Asks all workers to ring, or no longer to.
    pub(super) fn request(&self, bell: Bell) {
        for seat in &self.seats {
            seat.lane.replies.ask(bell);
        }
    }

    /// Tells whether there are results to read.
    pub(super) fn has_news(&self) -> bool {
        self.seats.iter().any(Seat::has_news)
    }

    /// Takes everything out that has no outcome yet: the pool has ended.
    pub(super) fn clear(
        &mut self,
        outbox: &mut Outbox<T>,
        end: &Arc<PoolEnd>,
    ) -> Vec<Box<dyn Source<T>>> {
        let mut sources = std::mem::take(&mut self.paused);
        for (_, task) in std::mem::take(&mut self.returned) {
            outbox.ended(task.token, end);
        }
        for entry in std::mem::take(&mut self.line) {
            match entry {
                Entry::Task(task) => outbox.ended(task.token, end),
                Entry::Source(source) => sources.push(source),
            }
        }
        sources
    }

    fn admit(&mut self, task: Task<T>) -> Waiting<T> {
        let number = self.next_number;
        self.next_number += 1;
        self.tally.add(task.terms);
        Waiting {
            number,
            token: task.token,
            payload: task.payload,
            job: task.job,
            terms: task.terms,
            loans: task.loans,
            deaths: 0,
        }
    }

    /// Returns the worker for the next task: of the idle ones the one that
    /// worked last, whose caches are warm and which may still be spinning;
    /// otherwise the one with the least to do.
    fn choose(&self) -> Option<usize> {
        let mut best: Option<(usize, (u32, bool, u64))> = None;
        for (at, seat) in self.seats.iter().enumerate() {
            let load = seat.load();
            if load >= seat.most(self.pace) {
                continue;
            }
            // Smaller is better.
            let merit = (load, seat.life != Life::Ready, u64::MAX - seat.last_used);
            if best.is_none_or(|(_, other)| merit < other) {
                best = Some((at, merit));
            }
        }
        best.map(|(at, _)| at)
    }

    fn give(&mut self, at: usize, task: Waiting<T>) {
        self.tick += 1;
        let tick = self.tick;
        let seat = &mut self.seats[at];
        seat.last_used = tick;
        if let Err(task) = seat.write(task) {
            // No room: the seat is full until it replies.
            self.returned.insert(task.number, task);
        }
    }

    fn post(&mut self) {
        for seat in &mut self.seats {
            seat.post(self.pace);
            if seat.tasks_left == Some(0) {
                seat.retire();
            }
        }
    }
}
