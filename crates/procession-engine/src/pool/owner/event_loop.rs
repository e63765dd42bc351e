//! The leader's loop: read replies, assign tasks, deliver outcomes, start workers, sleep.
//!
//! `README.md`, "Waking" and "Leaders and followers", says which thread runs it and when.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::pool::api::outcome::{Outbox, Sink};
use crate::pool::api::pool_end::PoolEnd;
use crate::pool::api::source::{Source, SourceStatus};
use crate::pool::api::starter::{WorkerProcess, WorkerSpec};
use crate::pool::api::task::Task;
use crate::pool::owner::core::PoolCore;
use crate::pool::owner::leadership::{Entered, interrupted, this_thread, timed_out};
use crate::pool::owner::scheduler::{Outstanding, Phase, PoolState, Sleeper};
use crate::pool::owner::supervisor::Wanted;
use crate::pool::owner::watch::DOORBELL;
use crate::pool::owner::worker_slot::{WorkerSlot, WorkerState};
use crate::pool::shm::reply_queue::Bell;
use crate::pool::shm::worker_channel::WorkerChannel;
use crate::process::child::{KILL, TERMINATE};
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::primitive::Ordering;
use procession_sys::wait::adaptive_spin::AdaptiveSpin;
use procession_sys::wait::epoll::Ready;
use procession_sys::wait::poll::{PollFd, PollFlags, poll};
use procession_sys::wait::time::Deadline;
use procession_sys::wait::wait_slices::WaitSlices;

/// The longest sleep, because rings may fail to arrive.
const SLICE: Duration = WaitSlices::for_peer().length();

/// The longest sleep when workers ring only for some replies.
const BATCH: Duration = Duration::from_millis(1);

/// How long a worker may take no task before the tasks queued on it go to idle workers.
const STUCK: Duration = Duration::from_micros(500);

/// How often a busy leader looks for dead workers.
const EXIT_CHECK: Duration = Duration::from_millis(1);

/// How often a busy leader lets its caller check for signals.
const SIGNAL_CHECK: Duration = Duration::from_millis(50);

/// How long an idle worker has to end by itself when its pool is terminated.
const RETIRE_TIME: Duration = Duration::from_millis(200);

/// How long a worker has to end after SIGTERM, before SIGKILL.
const TERMINATE_TIME: Duration = Duration::from_millis(20);

/// How long to wait on the workers' descriptors before each worker is checked: the program
/// may have closed the descriptors.
const RECHECK: Duration = Duration::from_millis(20);

/// How long a killed worker may take to end: the kernel may be writing a core dump.
const KILL_TIME: Duration = Duration::from_secs(10);

/// The working state of a leader, for as long as it leads.
pub(crate) struct Round<T> {
    me: u64,
    is_collector: bool,
    outbox: Outbox<T>,
    tasks: Vec<Task<T>>,
    ready: Vec<Ready>,
    spin: AdaptiveSpin,
    /// When it was last looked for dead workers; `None` has it done in the next round.
    checked_exits: Option<Instant>,
    began: Instant,
    /// Whether the last sleep ended without a ring; then the next one asks for each reply.
    slept_in_vain: bool,
}

impl<T> Round<T> {
    pub(crate) fn new(is_collector: bool) -> Self {
        let now = Instant::now();
        Self {
            me: this_thread(),
            is_collector,
            outbox: Outbox::default(),
            tasks: Vec::new(),
            ready: Vec::new(),
            spin: AdaptiveSpin::default(),
            checked_exits: Some(now),
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

impl<S: Sink> PoolCore<S> {
    pub(crate) fn drive(&self, done: &dyn Fn() -> bool, deadline: Deadline) -> Result<()> {
        self.drive_in(&mut Round::new(false), done, deadline)
    }

    /// Leads for one round, if no other thread leads, and looks for dead workers. This is for a
    /// thread that has other things to do, and calls it again and again.
    pub(crate) fn drive_once(&self) -> Result<()> {
        let mut round = Round::new(false);
        round.checked_exits = None;
        let has_begun = Cell::new(false);
        self.drive_in(&mut round, &|| has_begun.replace(true), Deadline::NEVER)
    }

    fn drive_in(
        &self,
        round: &mut Round<S::Token>,
        done: &dyn Fn() -> bool,
        deadline: Deadline,
    ) -> Result<()> {
        let me = round.me;
        loop {
            if done() {
                return Ok(());
            }
            let entered = self.lead.enter(me);
            let leads = match entered {
                Entered::Taken | Entered::Nested => true,
                Entered::Refused(holder) => {
                    // A collector that is parked in epoll loses the lead without being woken.
                    let mut state = self.lock();
                    let taken =
                        state.sleeper == Sleeper::Collector && self.lead.take_from(holder, me);
                    if taken {
                        state.end_sleep();
                    }
                    taken
                }
            };
            if leads {
                let _lead = (entered != Entered::Nested).then(|| Leading { shared: self, me });
                round.began = Instant::now();
                return self.lead_until(done, deadline, round);
            }
            match self.lead.follow(done, deadline.within(SLICE)) {
                Err(error) if error.kind() == ErrorKind::TimedOut && !deadline.has_passed() => {}
                result => result?,
            }
        }
    }

    /// Leads until `done`. The caller has taken the lead, and gives it up afterwards.
    pub(crate) fn lead_until(
        &self,
        done: &dyn Fn() -> bool,
        deadline: Deadline,
        round: &mut Round<S::Token>,
    ) -> Result<()> {
        loop {
            let progress = self.run_round(round)?;
            if done() {
                return Ok(());
            }
            if progress {
                round.slept_in_vain = false;
                if round.began.elapsed() > SIGNAL_CHECK {
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
            if round.spin.spin(|| self.lock().has_replies()) {
                continue;
            }
            if self.sleep(round, deadline)? == Slept::Lost {
                return Ok(());
            }
        }
    }

    /// Does all that can be done now; tells whether it did anything.
    fn run_round(&self, round: &mut Round<S::Token>) -> Result<bool> {
        self.look_for_exits(round)?;
        let mut state = self.lock();
        if let Phase::Ended(end) = &state.phase {
            return Err(Error::new(ErrorKind::Closed, end.to_string()));
        }
        state.collect_exits(&mut round.ready);
        let end = state.read_replies(&mut round.outbox);
        let end = end.or(state.collect_dead(&mut round.outbox));
        state.enforce_deadlines();
        let end = end.or_else(|| state.setup_overrun());
        state.retire_idle();
        if let Some(end) = end {
            drop(state);
            round.outbox.deliver(&self.sink);
            self.finish(end);
            self.lead.notify_followers();
            return Ok(true);
        }
        let mut progress = !round.outbox.is_empty();
        progress |= state.dispatch();
        let polled = state.poll_source();
        if matches!(state.phase, Phase::Closed) && polled.is_none() {
            state.retire_surplus();
        }
        drop(state);
        if let Some((source, most)) = polled {
            progress |= self.fill_from(source, most, round);
        }
        if !round.outbox.is_empty() {
            round.outbox.deliver(&self.sink);
            self.lead.notify_followers();
        }
        progress |= self.start_missing(Wanted::Needed)?;
        Ok(progress)
    }

    /// Finds out which workers have ended, if the last look was a while ago.
    fn look_for_exits(&self, round: &mut Round<S::Token>) -> Result<()> {
        let now = Instant::now();
        let is_recent = |checked| now - checked <= EXIT_CHECK;
        if round.checked_exits.is_some_and(is_recent) {
            return Ok(());
        }
        round.checked_exits = Some(now);
        let watch = Arc::clone(&self.lock().watch);
        self.renewed(watch.epoll.wait(&mut round.ready, Deadline::now()))
    }

    /// Takes up to `most` tasks from a source, without the mutex; tells whether it had any,
    /// or has said something new.
    fn fill_from(
        &self,
        mut source: Box<dyn Source<S::Token>>,
        most: usize,
        round: &mut Round<S::Token>,
    ) -> bool {
        let status = source.fill(&mut round.tasks, most);
        let progress = !round.tasks.is_empty() || status != SourceStatus::More;
        if !round.tasks.is_empty() {
            // The thread that makes the source's tasks may wait for room for more.
            self.lead.notify_followers();
        }
        let mut state = self.lock();
        if let Phase::Ended(end) = &state.phase {
            // The pool has ended meanwhile, without these tasks.
            let end = Arc::clone(end);
            drop(state);
            for task in round.tasks.drain(..).chain(source.give_up()) {
                round.outbox.ended(task.token, &end);
            }
            source.end(&end);
        } else if source.is_cancelled() || (!round.tasks.is_empty() && source.is_call_cancelled()) {
            // It was cancelled while it was polled.
            state.forget_polled();
            drop(state);
            for task in round.tasks.drain(..).chain(source.give_up()) {
                round.outbox.cancelled(task.token);
            }
            source.cancel();
            return true;
        } else {
            let used_up = state.accept_batch(&mut round.tasks, source, status);
            drop(state);
            drop(used_up);
        }
        progress
    }

    /// Sleeps until a worker rings or dies, or until the next check is due.
    fn sleep(&self, round: &mut Round<S::Token>, deadline: Deadline) -> Result<Slept> {
        let mut state = self.lock();
        let batch = state.may_batch() && !round.slept_in_vain;
        let uneven = state.is_uneven();
        let mut limit = if batch { BATCH } else { SLICE };
        if uneven {
            limit = STUCK;
            for slot in &mut state.slots {
                slot.taken_before_sleep = slot.taken();
            }
        }
        if !state.dead_workers.is_empty() {
            limit = limit.min(EXIT_CHECK);
        }
        if state.outstanding.timed > 0 {
            limit = limit.min(state.time_left().unwrap_or(limit));
        }
        for left in [state.idle_left(), state.setup_left()]
            .into_iter()
            .flatten()
        {
            limit = limit.min(left);
        }
        state.request(if batch { Bell::Some } else { Bell::Each });
        if state.has_replies() || matches!(state.phase, Phase::Ended(_)) {
            state.request(Bell::Silent);
            return Ok(Slept::Leading);
        }
        state.sleeper = match round.is_collector {
            true => Sleeper::Collector,
            false => Sleeper::Caller,
        };
        let watch = Arc::clone(&state.watch);
        drop(state);
        let waited = watch.epoll.wait(&mut round.ready, deadline.within(limit));
        let mut state = self.lock();
        if !self.lead.is_held_by(round.me) {
            // Another thread took the lead, and has made its own bell requests.
            round.ready.clear();
            return Ok(Slept::Lost);
        }
        state.end_sleep();
        round.checked_exits = Some(Instant::now());
        if round.ready.is_empty() && waited.is_ok() {
            round.slept_in_vain = true;
            if uneven {
                state.rebalance();
            }
        }
        drop(state);
        if limit == SLICE && round.ready.is_empty() {
            self.find_unreported_exits();
        }
        self.renewed(waited)?;
        Ok(Slept::Leading)
    }

    /// Replaces the descriptors if a wait has found them closed.
    fn renewed(&self, waited: Result<()>) -> Result<()> {
        match waited {
            Err(error) if error.kind() == ErrorKind::Stale => self.renew_watch(),
            result => result,
        }
    }

    /// Starts the workers that are missing; tells whether there were any.
    pub(crate) fn start_missing(&self, wanted: Wanted) -> Result<bool> {
        let mut any = false;
        while let Some(index) = self.reserve_start(wanted) {
            any = true;
            match self.start_one(index) {
                Ok(Some(late)) => {
                    // The pool has ended meanwhile.
                    self.started.notify();
                    end_workers(std::slice::from_ref(&late.process));
                    return Ok(true);
                }
                Ok(None) => self.started.notify(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    // The start was only interrupted: the next leader tries again.
                    self.lock().end_start(index);
                    self.started.notify();
                    return Err(error);
                }
                Err(error) => {
                    let mut state = self.lock();
                    state.start_failed(index);
                    let alone = state.slots.is_empty() && state.starting.is_empty();
                    drop(state);
                    self.started.notify();
                    if alone {
                        self.finish(PoolEnd::Workers(error.clone()));
                        return Err(error);
                    }
                    // The running workers go on; a later round tries again.
                    break;
                }
            }
        }
        Ok(any)
    }

    /// Waits until no other thread is starting a worker.
    pub(crate) fn await_starts(&self) -> Result<()> {
        let me = this_thread();
        let are_over = || {
            let state = self.lock();
            // A start by this thread goes on when this call has returned: it was made within it.
            matches!(state.phase, Phase::Ended(_))
                || state.starting.iter().all(|start| start.thread == me)
        };
        self.started.wait(&are_over, Deadline::NEVER).map(drop)
    }

    fn reserve_start(&self, wanted: Wanted) -> Option<u32> {
        self.lock().reserve_start(wanted)
    }

    /// Starts the worker with an index; returns it if the pool has ended meanwhile.
    fn start_one(&self, index: u32) -> Result<Option<WorkerSlot<S::Token>>> {
        let (channel, key) = {
            let mut state = self.lock();
            state.next_key += 1;
            (state.spare_channels.pop(), state.next_key)
        };
        let channel = match channel {
            Some(channel) => channel,
            None => WorkerChannel::create()?,
        };
        channel.reset(index);
        channel
            .doorbell
            .store(self.lock().watch.number, Ordering::Relaxed);
        let spec = WorkerSpec {
            index,
            channel: channel.handle(),
        };
        let process = self.starter.start(spec)?;
        let slot = WorkerSlot::new(key, channel, process, self.tasks_per_worker);
        let added = self.watch_worker(&slot);
        if let Err(error) = added {
            end_workers(std::slice::from_ref(&slot.process));
            return Err(error);
        }
        let mut state = self.lock();
        if matches!(state.phase, Phase::Ended(_)) {
            state.end_start(index);
            return Ok(Some(slot));
        }
        state.install(slot);
        Ok(None)
    }

    /// Ends the pool: workers, tasks and sources.
    pub(crate) fn finish(&self, end: PoolEnd) {
        let end = Arc::new(end);
        let mut outbox = Outbox::default();
        let mut state = self.lock();
        if matches!(state.phase, Phase::Ended(_)) {
            return;
        }
        // Replies that the workers have published still count.
        let _ = state.read_replies(&mut outbox);
        state.phase = Phase::Ended(Arc::clone(&end));
        let mut slots = std::mem::take(&mut state.slots);
        let dead = std::mem::take(&mut state.dead_workers);
        let sources = state.clear(&mut outbox, &end);
        state.outstanding = Outstanding::default();
        state.spare_channels.clear();
        self.wake_leader(&state);
        let watch = Arc::clone(&state.watch);
        let mut tally = std::mem::take(&mut state.tally);
        drop(state);
        let ended = Instant::now();
        for slot in &slots {
            watch.remove(slot.process.as_ref());
        }
        notify_end(&mut slots);
        let processes: Vec<_> = slots.iter().map(|slot| &slot.process).collect();
        end_workers(&processes);
        for slot in &mut slots {
            let mut prefetch = Default::default();
            slot.read_replies(&mut outbox, &mut prefetch, &mut tally);
            let (lost, back) = slot.take_unfinished(&mut tally);
            tally.ended(slot.place(), slot.present(ended), false);
            for task in lost {
                outbox.lost_at_end(task, slot.process.pid(), &end);
            }
            for task in back {
                outbox.ended(task.token, &end);
            }
            let _ = slot.process.try_wait();
        }
        for dead in dead {
            let _ = dead.slot.process.try_wait();
            for task in dead.lost {
                outbox.ended(task.token, &end);
            }
        }
        for mut source in sources {
            for task in source.give_up() {
                outbox.ended(task.token, &end);
            }
            source.end(&end);
        }
        self.lock().tally = tally;
        outbox.deliver(&self.sink);
        self.lead.notify_followers();
        self.wake_collector();
        self.join_collector();
    }
}

/// What a leader does about its sleep and what has woken it, under the mutex.
impl<T> PoolState<T> {
    /// Notes whose exits were reported, and takes the rings off the doorbell.
    fn collect_exits(&mut self, ready: &mut Vec<Ready>) {
        for ready in ready.drain(..) {
            if ready.key == DOORBELL {
                self.watch.epoll.bell().drain();
            } else if let Some(slot) = self.slots.iter().find(|slot| slot.key == ready.key) {
                // Closing the descriptor would not remove it from the set: workers that were
                // forked later have a copy.
                self.watch.remove(slot.process.as_ref());
                self.exits.push(ready.key);
            }
        }
    }

    /// Notes that nobody sleeps on the doorbell any more.
    fn end_sleep(&mut self) {
        self.sleeper = Sleeper::Nobody;
        self.request(Bell::Silent);
    }
}

/// Gives up the lead when dropped, also when the face panics.
struct Leading<'a, S: Sink> {
    shared: &'a PoolCore<S>,
    me: u64,
}

impl<S: Sink> Drop for Leading<'_, S> {
    fn drop(&mut self) {
        if self.shared.lead.give_up(self.me) {
            self.shared.wake_collector();
        }
    }
}

/// Lets idle workers end by themselves, because they run what the program wants done at its exit;
/// all others get SIGTERM.
fn notify_end<T>(slots: &mut [WorkerSlot<T>]) {
    let mut idle: Vec<&dyn WorkerProcess> = Vec::new();
    for slot in slots {
        if slot.life == WorkerState::Ready && slot.load() == 0 {
            slot.retire();
            idle.push(slot.process.as_ref());
        } else {
            // Fails if the worker has ended already.
            let _ = slot.process.signal(TERMINATE);
        }
    }
    let deadline = Deadline::after(RETIRE_TIME);
    idle.retain(|worker| !worker.is_dead());
    while !idle.is_empty() && !deadline.has_passed() {
        await_ends(&idle, deadline.within(RECHECK));
        idle.retain(|worker| !worker.is_dead());
    }
}

/// Ends processes with SIGTERM, and after a short time with SIGKILL; returns when they have
/// ended.
fn end_workers<P: std::borrow::Borrow<Box<dyn WorkerProcess>>>(workers: &[P]) {
    for (signal, time) in [(TERMINATE, TERMINATE_TIME), (KILL, KILL_TIME)] {
        let mut living: Vec<_> = workers
            .iter()
            .map(|worker| worker.borrow().as_ref())
            .filter(|worker| !worker.is_dead())
            .collect();
        for worker in &living {
            // Fails if the worker has ended already.
            let _ = worker.signal(signal);
        }
        let deadline = Deadline::after(time);
        while !living.is_empty() && !deadline.has_passed() {
            await_ends(&living, deadline.within(RECHECK));
            living.retain(|worker| !worker.is_dead());
        }
    }
}

/// Waits until all of the processes have ended or the deadline passes. (Checking each one
/// whenever one ends would take quadratic time.)
fn await_ends(living: &[&dyn WorkerProcess], deadline: Deadline) {
    let ends = living.iter().filter_map(|worker| worker.watch().ok());
    let mut fds: Vec<_> = ends
        .map(|end| PollFd::from_borrowed_fd(end, PollFlags::IN))
        .collect();
    // If some cannot be watched, this waits for the deadline.
    while !deadline.has_passed() {
        // An interruption by a signal just repeats the wait.
        if poll(&mut fds, deadline).is_ok() {
            fds.retain(|fd| fd.revents().is_empty());
            if fds.is_empty() {
                return;
            }
        }
    }
}
