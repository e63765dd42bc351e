//! The collector: a background thread that leads while results are owed and no caller does.
//!
//! `README.md`, "Leaders and followers", says when it takes the lead, and when it sleeps.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::pool::api::outcome::Sink;
use crate::pool::owner::core::PoolCore;
use crate::pool::owner::event_loop::Round;
use crate::pool::owner::leadership::{Entered, this_thread};
use crate::pool::owner::scheduler::Phase;
use procession_sys::error::Result;
use procession_sys::process::fork::refusal;
use procession_sys::wait::futex::{self, Scope};
use procession_sys::wait::time::Deadline;

/// How long nobody must have led before the collector takes the lead.
const GRACE: Duration = Duration::from_millis(1);

/// How long the thread lives on when no results are owed.
const IDLE: Duration = Duration::from_millis(100);

/// Makes a collector run for as long as results are owed.
pub(crate) fn ensure_running<S: Sink>(shared: &Arc<PoolCore<S>>) -> Result<()> {
    let mut state = shared.lock();
    if state.collector_wanted || matches!(state.phase, Phase::Ended(_)) {
        return Ok(());
    }
    state.collector_wanted = true;
    if state.collector_runs {
        drop(state);
        shared.wake_collector();
        return Ok(());
    }
    let theirs = Arc::clone(shared);
    let thread = std::thread::Builder::new()
        .name("procession-pool".into())
        .spawn(move || collect(&theirs))
        .map_err(|e| refusal("start the thread that collects results", e))?;
    state.collector_runs = true;
    *shared.collector() = Some(thread);
    Ok(())
}

fn collect<S: Sink>(shared: &PoolCore<S>) {
    let me = this_thread();
    let mut idle = false;
    // Whether one and the same lead may have lasted for the latest nap.
    let mut is_led = false;
    // Whether it has led to the end the last time, as no caller came. Then it does not wait
    // for one now.
    let mut is_alone = false;
    loop {
        let wake = shared.collector_wake.load(Ordering::SeqCst);
        let mut state = shared.lock();
        if matches!(state.phase, Phase::Ended(_)) {
            state.collector_runs = false;
            return;
        }
        if state.is_settled() {
            state.collector_wanted = false;
        }
        let wanted = state.collector_wanted;
        // Until a worker may have been idle for too long.
        let idle_left = state.idle_left().filter(|_| !wanted);
        if !wanted && idle && idle_left.is_none() {
            state.collector_runs = false;
            return;
        }
        drop(state);
        let at_once = wanted && is_alone;
        let sleeps = wanted && is_led && shared.lead.begin_collector_sleep();
        let wait = match (wanted, sleeps) {
            (true, true) => Deadline::NEVER,
            (true, false) => Deadline::after(GRACE),
            (false, _) => Deadline::after(idle_left.unwrap_or(IDLE)),
        };
        let (epoch, given_up) = (shared.lead.epoch(), shared.lead.times_given_up());
        if at_once {
            idle = false;
        } else {
            let woken = futex::wait(&shared.collector_wake, wake, wait, Scope::Private);
            if sleeps {
                shared.lead.cancel_collector_sleep();
            }
            let timed_out = woken == futex::Woken::TimedOut;
            idle = !wanted && timed_out;
            is_led = wanted && timed_out && given_up == shared.lead.times_given_up();
        }
        is_alone &= !wanted;
        // Whoever leads then ends the idle workers, and has this thread reap them.
        let is_time = idle && idle_left.is_some();
        // Only if nobody has led during the nap: callers come back again and again.
        let is_needed = wanted && epoch == shared.lead.epoch();
        if (is_needed || is_time) && shared.lead.enter(me) == Entered::Taken {
            let enough = || {
                let state = shared.lock();
                shared.lead.has_followers() || state.is_settled()
            };
            let _ = shared.lead_until(&enough, Deadline::NEVER, &mut Round::new(true));
            is_alone = shared.lead.is_held_by(me) && !shared.lead.has_followers();
            // The result says whether to wake the collector, which is this thread.
            let _ = shared.lead.give_up(me);
            is_led = false;
        }
    }
}
