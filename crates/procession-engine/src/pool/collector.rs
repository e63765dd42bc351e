//! The thread that delivers results when nobody waits for them.
//!
//! `README.md`, "Who drives", tells when it takes the lead, and when it rests.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::os::futex::{self, Scope};
use crate::os::time::Deadline;
use crate::pool::dispatch::Phase;
use crate::pool::drive::Turn;
use crate::pool::lead::{Entered, this_thread};
use crate::pool::outcome::Sink;
use crate::pool::pool::Shared;

/// How long results wait for a caller to ask for them before the collector
/// takes the lead.
const GRACE: Duration = Duration::from_millis(1);

/// How long the thread stays when there is nothing to collect.
const IDLE: Duration = Duration::from_millis(100);

/// Sees to it that a collector runs for as long as results are owed.
pub(super) fn attend<S: Sink>(shared: &Arc<Shared<S>>) -> Result<()> {
    let mut state = shared.lock();
    if state.attended || matches!(state.phase, Phase::Ended(_)) {
        return Ok(());
    }
    state.attended = true;
    if state.collector_runs {
        drop(state);
        call(shared);
        return Ok(());
    }
    let theirs = Arc::clone(shared);
    let thread = std::thread::Builder::new()
        .name("procession-pool".into())
        .spawn(move || collect(&theirs))
        .map_err(|e| Error::os("start the thread that collects results", e))?;
    state.collector_runs = true;
    *collector(shared) = Some(thread);
    Ok(())
}

/// Waits until the collector, which was called, is gone: the pool has ended.
pub(super) fn join<S: Sink>(shared: &Shared<S>) {
    let thread = collector(shared).take();
    if let Some(thread) = thread
        && thread.thread().id() != std::thread::current().id()
    {
        // It fails if a delivery panicked, which was reported then.
        let _ = thread.join();
    }
}

fn collector<S: Sink>(shared: &Shared<S>) -> MutexGuard<'_, Option<JoinHandle<()>>> {
    shared
        .collector
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// Has the collector look again if it is parked between its turns.
pub(super) fn call<S: Sink>(shared: &Shared<S>) {
    shared.call.fetch_add(1, Ordering::SeqCst);
    futex::wake(&shared.call, 1, Scope::Private);
}

fn collect<S: Sink>(shared: &Shared<S>) {
    let me = this_thread();
    let mut idle = false;
    // Somebody may have led without a break since before the latest nap.
    let mut is_led = false;
    loop {
        let call = shared.call.load(Ordering::SeqCst);
        let mut state = shared.lock();
        if matches!(state.phase, Phase::Ended(_)) {
            state.collector_runs = false;
            return;
        }
        if state.is_quiet() {
            state.attended = false;
        }
        let attended = state.attended;
        if !attended && idle {
            state.collector_runs = false;
            return;
        }
        drop(state);
        let rests = attended && is_led && shared.lead.rest();
        let wait = match (attended, rests) {
            (true, true) => Deadline::NEVER,
            (true, false) => Deadline::after(GRACE),
            (false, _) => Deadline::after(IDLE),
        };
        let (turn, left) = (shared.lead.turn(), shared.lead.times_left());
        let woken = futex::wait(&shared.call, call, wait, Scope::Private);
        if rests {
            shared.lead.rise();
        }
        let was_quiet = woken == futex::Woken::TimedOut;
        idle = !attended && was_quiet;
        is_led = attended && was_quiet && left == shared.lead.times_left();
        // Only if nobody has led since: callers come back again and again.
        if attended && turn == shared.lead.turn() && shared.lead.enter(me) == Entered::Taken {
            let enough = || {
                let state = shared.lock();
                shared.lead.has_followers() || state.is_quiet()
            };
            let _ = shared.lead_until(&enough, Deadline::NEVER, &mut Turn::new(true));
            // It does not rest while it leads.
            let _ = shared.lead.leave(me);
            is_led = false;
        }
    }
}
