//! Driving a pool: read, deal, deliver, start, sleep, until what was waited
//! for has come.
//!
//! `README.md`, "Waking" and "Who drives", tells who may do this when.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::os::epoll::Ready;
use crate::os::patience::Patience;
use crate::os::poll::{PollFd, PollFlags, poll};
use crate::os::time::Deadline;
use crate::pool::collector;
use crate::pool::dispatch::{Phase, Tally};
use crate::pool::lane::Lane;
use crate::pool::lead::{Entered, interrupted, this_thread, timed_out};
use crate::pool::outcome::{Outbox, PoolEnd, Sink};
use crate::pool::pool::{DOORBELL, Shared};
use crate::pool::reply_words::Bell;
use crate::pool::seat::Seat;
use crate::pool::starter::{Opening, WorkerProcess};
use crate::pool::task::Task;
use crate::process::child::{KILL, TERMINATE};

/// The longest sleep: rings may fail to arrive.
const SLICE: Duration = Duration::from_millis(100);

/// The longest sleep when workers ring only now and then.
const BATCH: Duration = Duration::from_millis(1);

/// How long a worker may be stuck before what is queued on it goes to others.
const STUCK: Duration = Duration::from_micros(500);

/// How often a busy leader looks for dead workers.
const LOOK: Duration = Duration::from_millis(1);

/// How often a busy leader lets its caller look for signals.
const SIGNALS: Duration = Duration::from_millis(50);

/// How long a worker has to end by itself when it is told to by SIGTERM.
const MERCY: Duration = Duration::from_millis(20);

/// How long a killed worker may take to be gone: the kernel may be writing its
/// core.
const GONE: Duration = Duration::from_secs(10);

/// What one turn of a leader works with.
pub(super) struct Turn<T> {
    me: u64,
    is_collector: bool,
    outbox: Outbox<T>,
    tasks: Vec<Task<T>>,
    ready: Vec<Ready>,
    patience: Patience,
    looked: Instant,
    began: Instant,
    /// The last sleep, for some rings only, brought nothing.
    slept_in_vain: bool,
}

impl<T> Turn<T> {
    pub(super) fn new(is_collector: bool) -> Self {
        let now = Instant::now();
        Self {
            me: this_thread(),
            is_collector,
            outbox: Outbox::default(),
            tasks: Vec::new(),
            ready: Vec::new(),
            patience: Patience::default(),
            looked: now,
            began: now,
            slept_in_vain: false,
        }
    }
}

/// Whether a leader still leads after its sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slept {
    Leading,
    Lost,
}

impl<S: Sink> Shared<S> {
    pub(super) fn drive(&self, done: &dyn Fn() -> bool, deadline: Deadline) -> Result<()> {
        let me = this_thread();
        loop {
            if done() {
                return Ok(());
            }
            let entered = self.lead.enter(me);
            let leads = match entered {
                Entered::Taken | Entered::Nested => true,
                Entered::Refused(holder) => {
                    // A collector that sleeps gives way without being woken.
                    let mut state = self.lock();
                    let way = state.collector_parked && self.lead.take_from(holder, me);
                    if way {
                        state.collector_parked = false;
                        state.request(Bell::Silent);
                        self.lead.set_asleep(false);
                    }
                    way
                }
            };
            if leads {
                let _lead = (entered != Entered::Nested).then(|| Leading { shared: self, me });
                return self.lead_until(done, deadline, &mut Turn::new(false));
            }
            match self.lead.follow(done, deadline.within(SLICE)) {
                Err(error) if error.kind() == ErrorKind::TimedOut && !deadline.has_passed() => {}
                result => result?,
            }
        }
    }

    /// Leads until `done`; the caller has entered the lead, and leaves it.
    pub(super) fn lead_until(
        &self,
        done: &dyn Fn() -> bool,
        deadline: Deadline,
        turn: &mut Turn<S::Token>,
    ) -> Result<()> {
        loop {
            let progress = self.round(turn)?;
            if done() {
                return Ok(());
            }
            if progress {
                turn.slept_in_vain = false;
                if turn.began.elapsed() > SIGNALS {
                    return Err(if deadline.has_passed() {
                        timed_out()
                    } else {
                        interrupted()
                    });
                }
                continue;
            }
            if deadline.has_passed() {
                return Err(timed_out());
            }
            if turn.patience.spin(|| self.lock().has_news()) {
                continue;
            }
            if self.sleep(turn, deadline)? == Slept::Lost {
                return Ok(());
            }
        }
    }

    /// Does all that can be done now; tells whether there was anything.
    fn round(&self, turn: &mut Turn<S::Token>) -> Result<bool> {
        let now = Instant::now();
        if now - turn.looked > LOOK {
            turn.looked = now;
            self.epoll.wait(&mut turn.ready, Deadline::now())?;
        }
        let mut state = self.lock();
        if let Phase::Ended(end) = &state.phase {
            return Err(Error::new(ErrorKind::Closed, end.to_string()));
        }
        for ready in turn.ready.drain(..) {
            if ready.key == DOORBELL {
                self.doorbell.drain();
            } else if let Some(seat) = state.seats.iter().find(|seat| seat.key == ready.key) {
                // Closing it would not do: workers that were forked later have it, too.
                let _ = self.epoll.remove(seat.process.sentinel());
                state.deaths.push(ready.key);
            }
        }
        let end = state.read(&mut turn.outbox);
        let end = end.or(state.bury(&mut turn.outbox));
        if state.tally.timed > 0 {
            state.kill_overdue();
        }
        if let Some(end) = end {
            drop(state);
            turn.outbox.deliver(&self.sink);
            self.finish(end);
            self.lead.announce();
            return Ok(true);
        }
        let mut progress = !turn.outbox.is_empty();
        progress |= state.deal();
        let asked = state.ask();
        if matches!(state.phase, Phase::Closed) && asked.is_none() {
            state.dismiss();
        }
        drop(state);
        if let Some((mut source, most)) = asked {
            let supply = source.fill(&mut turn.tasks, most);
            progress |= !turn.tasks.is_empty() || supply != super::Supply::More;
            let mut state = self.lock();
            if let Phase::Ended(end) = &state.phase {
                // It has ended meanwhile, without these.
                let end = Arc::clone(end);
                drop(state);
                for task in turn.tasks.drain(..) {
                    turn.outbox.ended(task.token, &end);
                }
                source.end(&end);
            } else if source.is_cancelled() {
                // Meanwhile, or while it was asked.
                state.forget_asked();
                drop(state);
                for task in turn.tasks.drain(..) {
                    turn.outbox.cancelled(task.token);
                }
                source.cancel();
                progress = true;
            } else {
                let spent = state.answer(&mut turn.tasks, source, supply);
                drop(state);
                drop(spent);
            }
        }
        if !turn.outbox.is_empty() {
            turn.outbox.deliver(&self.sink);
            self.lead.announce();
        }
        progress |= self.start_missing()?;
        Ok(progress)
    }

    /// Sleeps until a worker rings, or dies, or something else is to be done.
    fn sleep(&self, turn: &mut Turn<S::Token>, deadline: Deadline) -> Result<Slept> {
        let mut state = self.lock();
        let batch = state.may_batch() && !turn.slept_in_vain;
        let uneven = state.is_uneven();
        let mut limit = if batch { BATCH } else { SLICE };
        if uneven {
            limit = STUCK;
            for seat in &mut state.seats {
                seat.taken_then = seat.taken();
            }
        }
        if !state.mourned.is_empty() {
            limit = limit.min(LOOK);
        }
        if state.tally.timed > 0 {
            limit = limit.min(state.time_left().unwrap_or(limit));
        }
        state.request(if batch { Bell::Some } else { Bell::Each });
        if state.has_news() || matches!(state.phase, Phase::Ended(_)) {
            state.request(Bell::Silent);
            return Ok(Slept::Leading);
        }
        self.lead.set_asleep(true);
        state.collector_parked = turn.is_collector;
        drop(state);
        let waited = self.epoll.wait(&mut turn.ready, deadline.within(limit));
        let mut state = self.lock();
        if !self.lead.is_held_by(turn.me) {
            // Somebody took the lead, and has set up what to be woken by.
            turn.ready.clear();
            return Ok(Slept::Lost);
        }
        self.lead.set_asleep(false);
        state.collector_parked = false;
        state.request(Bell::Silent);
        turn.looked = Instant::now();
        waited?;
        if turn.ready.is_empty() {
            turn.slept_in_vain = true;
            if uneven {
                state.redeal();
            }
        }
        Ok(Slept::Leading)
    }

    /// Starts the workers that are missing; tells whether there were any.
    pub(super) fn start_missing(&self) -> Result<bool> {
        let mut any = false;
        while self.reserve_start() {
            any = true;
            match self.start_one() {
                Ok(Some(late)) => {
                    // The pool has ended meanwhile.
                    end_workers(std::slice::from_ref(&late.process));
                    return Ok(true);
                }
                Ok(None) => {}
                Err(error) => {
                    let mut state = self.lock();
                    let spent = state.start_failed();
                    let alone = state.seats.is_empty() && state.starting == 0;
                    drop(state);
                    if spent.is_err() || alone {
                        self.finish(PoolEnd::Workers(error.clone()));
                        return Err(error);
                    }
                    // Those that run go on; it is tried again.
                    break;
                }
            }
        }
        Ok(any)
    }

    fn reserve_start(&self) -> bool {
        self.lock().reserve_start()
    }

    /// Starts one worker; gives it back if the pool has ended.
    fn start_one(&self) -> Result<Option<Seat<S::Token>>> {
        let (lane, index, key) = {
            let mut state = self.lock();
            state.next_key += 1;
            (state.lanes.pop(), state.free_index(), state.next_key)
        };
        let lane = match lane {
            Some(lane) => lane,
            None => Lane::create(self.number)?,
        };
        lane.reset(index);
        let opening = Opening {
            index,
            lane: lane.handle(),
        };
        let process = self.starter.start(opening)?;
        let added = self.epoll.add(process.sentinel(), key);
        let seat = Seat::new(key, lane, process, self.config.tasks_per_worker);
        if let Err(error) = added {
            end_workers(std::slice::from_ref(&seat.process));
            return Err(error);
        }
        let mut state = self.lock();
        if matches!(state.phase, Phase::Ended(_)) {
            state.starting -= 1;
            return Ok(Some(seat));
        }
        state.install(seat);
        Ok(None)
    }

    /// Ends the pool: workers, tasks and sources.
    pub(super) fn finish(&self, end: PoolEnd) {
        let end = Arc::new(end);
        let mut outbox = Outbox::default();
        let mut state = self.lock();
        if matches!(state.phase, Phase::Ended(_)) {
            return;
        }
        // What the workers have published counts, whatever it says now.
        let _ = state.read(&mut outbox);
        state.phase = Phase::Ended(Arc::clone(&end));
        let mut seats = std::mem::take(&mut state.seats);
        let mourned = std::mem::take(&mut state.mourned);
        let sources = state.clear(&mut outbox, &end);
        state.tally = Tally::default();
        state.lanes.clear();
        self.wake_leader();
        drop(state);
        for seat in &seats {
            // It may have been removed with its death.
            let _ = self.epoll.remove(seat.process.sentinel());
        }
        let processes: Vec<_> = seats.iter().map(|seat| &seat.process).collect();
        end_workers(&processes);
        for seat in &mut seats {
            let mut pace = Default::default();
            seat.read(&mut outbox, &mut pace);
            let (lost, back) = seat.salvage();
            for task in lost {
                outbox.lost_at_end(task, seat.process.pid(), &end);
            }
            for task in back {
                outbox.ended(task.token, &end);
            }
            let _ = seat.process.try_wait();
        }
        for mourned in mourned {
            let _ = mourned.seat.process.try_wait();
            for task in mourned.lost {
                outbox.ended(task.token, &end);
            }
        }
        for source in sources {
            source.end(&end);
        }
        outbox.deliver(&self.sink);
        self.lead.announce();
        collector::call(self);
        collector::join(self);
    }
}

/// Gives the lead up when dropped, also by a panic of the face.
struct Leading<'a, S: Sink> {
    shared: &'a Shared<S>,
    me: u64,
}

impl<S: Sink> Drop for Leading<'_, S> {
    fn drop(&mut self) {
        if self.shared.lead.leave(self.me) {
            collector::call(self.shared);
        }
    }
}

/// Ends processes, with SIGTERM and shortly after with SIGKILL; they are gone
/// when it returns.
fn end_workers<P: std::borrow::Borrow<Box<dyn WorkerProcess>>>(workers: &[P]) {
    for (signal, patience) in [(TERMINATE, MERCY), (KILL, GONE)] {
        let mut living: Vec<_> = workers
            .iter()
            .map(std::borrow::Borrow::borrow)
            .filter(|worker| !is_gone(worker.as_ref()))
            .collect();
        for worker in &living {
            // One that is gone gets none; one that is not ours cannot be.
            let _ = worker.signal(signal);
        }
        let deadline = Deadline::after(patience);
        while !living.is_empty() && !deadline.has_passed() {
            let mut fds: Vec<_> = living
                .iter()
                .map(|worker| PollFd::from_borrowed_fd(worker.sentinel(), PollFlags::IN))
                .collect();
            // A signal to us just makes it look again.
            let _ = poll(&mut fds, deadline);
            living.retain(|worker| !is_gone(worker.as_ref()));
        }
    }
}

fn is_gone(worker: &dyn WorkerProcess) -> bool {
    crate::os::poll::is_readable(worker.sentinel()).unwrap_or(false)
}
