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
use crate::pool::owner::scheduler::{Collector, Phase};
use procession_sys::error::Result;
use procession_sys::process::fork::refusal;
use procession_sys::wait::futex::{self, Scope, Woken};
use procession_sys::wait::time::Deadline;

/// How long nobody must have led before the collector takes the lead.
const GRACE: Duration = Duration::from_millis(1);

/// How long the thread lives on when no results are owed.
const IDLE: Duration = Duration::from_millis(100);

/// Makes a collector run for as long as results are owed.
pub(crate) fn ensure_running<S: Sink>(shared: &Arc<PoolCore<S>>) -> Result<()> {
    let mut state = shared.lock();
    if state.collector == Collector::Wanted || matches!(state.phase, Phase::Ended(_)) {
        return Ok(());
    }
    if state.collector == Collector::Idle {
        state.collector = Collector::Wanted;
        drop(state);
        shared.wake_collector();
        return Ok(());
    }
    let theirs = Arc::clone(shared);
    let thread = std::thread::Builder::new()
        .name("procession-pool".into())
        .spawn(move || collect(&theirs))
        .map_err(|e| refusal("start the thread that collects results", e))?;
    state.collector = Collector::Wanted;
    *shared.collector() = Some(thread);
    Ok(())
}

/// How the collector waits before it takes the lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// Until nobody has led for a grace.
    Grace,
    /// Until the lead is given up: one and the same may have lasted for a whole grace.
    Lead,
    /// Not at all: it has led to the end the last time, as no caller came.
    Not,
}

/// What the collector is needed for.
enum Need {
    /// Results are owed. Its futex had this value before.
    Results(u32),
    /// A worker may have been idle for too long.
    IdleWorkers,
}

fn collect<S: Sink>(shared: &PoolCore<S>) {
    let mut wait = Wait::Grace;
    while let Some(need) = until_needed(shared) {
        wait = match need {
            Need::Results(wake) => lead_if_nobody_does(shared, wait, wake),
            // Whoever leads then ends the idle workers, and has this thread reap them.
            Need::IdleWorkers => lead(shared).unwrap_or(wait),
        };
    }
}

/// Waits until there is something to do; `None` when the thread has to end.
fn until_needed<S: Sink>(shared: &PoolCore<S>) -> Option<Need> {
    let mut was_idle = false;
    loop {
        let wake = shared.collector_wake.load(Ordering::SeqCst);
        let mut state = shared.lock();
        if state.collector == Collector::Wanted && state.is_settled() {
            state.collector = Collector::Idle;
        }
        let is_wanted = state.collector == Collector::Wanted;
        let idle_left = state.idle_left();
        let is_over = was_idle && !is_wanted && idle_left.is_none();
        if matches!(state.phase, Phase::Ended(_)) || is_over {
            state.collector = Collector::Absent;
            return None;
        }
        drop(state);
        if is_wanted {
            return Some(Need::Results(wake));
        }
        let deadline = Deadline::after(idle_left.unwrap_or(IDLE));
        let woken = futex::wait(&shared.collector_wake, wake, deadline, Scope::Private);
        was_idle = woken == Woken::TimedOut;
        if was_idle && idle_left.is_some() {
            return Some(Need::IdleWorkers);
        }
    }
}

/// Waits, and leads if nobody has led meanwhile; returns how to wait the next time.
fn lead_if_nobody_does<S: Sink>(shared: &PoolCore<S>, wait: Wait, wake: u32) -> Wait {
    let leadership = &shared.lead;
    let sleeps = wait == Wait::Lead && leadership.begin_collector_sleep();
    let (epoch, given_up) = (leadership.epoch(), leadership.times_given_up());
    let mut next = Wait::Grace;
    if wait != Wait::Not {
        let deadline = match sleeps {
            true => Deadline::NEVER,
            false => Deadline::after(GRACE),
        };
        let woken = futex::wait(&shared.collector_wake, wake, deadline, Scope::Private);
        if sleeps {
            leadership.cancel_collector_sleep();
        }
        if woken == Woken::TimedOut && given_up == leadership.times_given_up() {
            next = Wait::Lead;
        }
    }
    // Only if nobody has led during the wait: callers come back again and again.
    let led = (epoch == leadership.epoch()).then(|| lead(shared));
    led.flatten().unwrap_or(next)
}

/// Leads until nothing is owed, if nobody does; returns how to wait the next time.
fn lead<S: Sink>(shared: &PoolCore<S>) -> Option<Wait> {
    let (leadership, me) = (&shared.lead, this_thread());
    if leadership.enter(me) != Entered::Taken {
        return None;
    }
    let enough = || leadership.has_followers() || shared.lock().is_settled();
    let _ = shared.lead_until(&enough, Deadline::NEVER, &mut Round::new(true));
    let is_alone = leadership.is_held_by(me) && !leadership.has_followers();
    // The result says whether to wake the collector, which is this thread.
    let _ = leadership.give_up(me);
    Some(if is_alone { Wait::Not } else { Wait::Grace })
}
