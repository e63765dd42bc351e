//! The lead of a pool: one of the waiting threads has it, and reads replies for all.
//!
//! `README.md`, "Leaders and followers", says how the lead passes from thread to thread.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::wait::futex::Woken;
use procession_sys::wait::signal::Signal;
use procession_sys::wait::time::Deadline;

/// The value of `holder` when no thread leads.
const NOBODY: u64 = 0;

/// Says which thread leads, and wakes the followers.
#[derive(Debug, Default)]
pub(crate) struct Leadership {
    holder: AtomicU64,
    /// Given when followers are to look again.
    changed: Signal,
    /// How often the lead was given up.
    given_up: AtomicU32,
    /// 1 while the collector sleeps until the lead is given up, or is about to.
    collector_asleep: AtomicU32,
}

/// The result of a thread's attempt to take the lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entered {
    /// No thread had the lead; this one has it now.
    Taken,
    /// This thread has the lead already: the face called the pool from a delivery.
    Nested,
    /// The thread with this number has the lead.
    Refused(u64),
}

impl Leadership {
    pub(crate) fn enter(&self, me: u64) -> Entered {
        // Pairs with the exchange in `give_up`.
        match self
            .holder
            .compare_exchange(NOBODY, me, Ordering::SeqCst, Ordering::SeqCst)
        {
            Ok(_) => Entered::Taken,
            Err(holder) if holder == me => Entered::Nested,
            Err(holder) => Entered::Refused(holder),
        }
    }

    /// Takes the lead from `holder`. The caller has found, under the pool's mutex, that the
    /// lead may be taken, and still holds the mutex.
    pub(crate) fn take_from(&self, holder: u64, me: u64) -> bool {
        self.holder
            .compare_exchange(holder, me, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }

    pub(crate) fn is_held_by(&self, me: u64) -> bool {
        self.holder.load(Ordering::SeqCst) == me
    }

    /// Gives up the lead, if this thread still has it, and wakes the followers.
    /// Tells whether the collector sleeps and has to be woken.
    #[must_use]
    pub(crate) fn give_up(&self, me: u64) -> bool {
        let exchanged =
            self.holder
                .compare_exchange(me, NOBODY, Ordering::SeqCst, Ordering::Relaxed);
        if exchanged.is_err() {
            return false;
        }
        // Relaxed: the collector only compares two values of it.
        self.given_up.fetch_add(1, Ordering::Relaxed);
        self.notify_followers();
        // SeqCst: the collector sets `collector_asleep` before it looks at `holder`.
        self.collector_asleep.load(Ordering::SeqCst) != 0
            && self.collector_asleep.swap(0, Ordering::SeqCst) != 0
    }

    /// Returns how often the lead was given up so far.
    pub(crate) fn times_given_up(&self) -> u32 {
        self.given_up.load(Ordering::Relaxed)
    }

    /// Makes the leader wake the collector when it gives up the lead; tells whether any
    /// thread leads. If none does, the collector must not sleep.
    pub(crate) fn begin_collector_sleep(&self) -> bool {
        self.collector_asleep.store(1, Ordering::SeqCst);
        // SeqCst: a leader clears `holder` before it looks at `collector_asleep`.
        let is_led = self.holder.load(Ordering::SeqCst) != NOBODY;
        if !is_led {
            self.cancel_collector_sleep();
        }
        is_led
    }

    /// Takes back [`begin_collector_sleep`](Self::begin_collector_sleep).
    pub(crate) fn cancel_collector_sleep(&self) {
        self.collector_asleep.store(0, Ordering::SeqCst);
    }

    /// Wakes the followers, to look again.
    pub(crate) fn notify_followers(&self) {
        self.changed.notify();
    }

    /// Returns a number that changes with each notification of the followers.
    pub(crate) fn epoch(&self) -> u32 {
        self.changed.epoch()
    }

    pub(crate) fn has_followers(&self) -> bool {
        self.changed.is_awaited()
    }

    /// Parks until the followers are notified; returns at once if no thread leads.
    pub(crate) fn follow(&self, done: &dyn Fn() -> bool, deadline: Deadline) -> Result<()> {
        let needs_no_wait = || done() || self.holder.load(Ordering::SeqCst) == NOBODY;
        match self.changed.wait_once(&needs_no_wait, deadline) {
            Woken::Changed => Ok(()),
            Woken::TimedOut => Err(timed_out()),
            Woken::Interrupted => Err(interrupted()),
        }
    }
}

pub(crate) fn timed_out() -> Error {
    Error::new(
        ErrorKind::TimedOut,
        "the pool had not done what it was asked for at the deadline of the wait",
    )
}

pub(crate) fn interrupted() -> Error {
    Error::new(
        ErrorKind::Interrupted,
        "a signal may have arrived while waiting for the pool",
    )
}

/// Returns this thread's number, which no other thread has.
pub(crate) fn this_thread() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static ME: Cell<u64> = const { Cell::new(0) };
    }
    ME.with(|me| {
        if me.get() == 0 {
            me.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        me.get()
    })
}
