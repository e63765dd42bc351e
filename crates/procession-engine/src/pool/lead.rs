//! The lead: which of the threads that wait for a pool reads for all.
//!
//! `README.md`, "Who drives", tells who may take it from whom.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::error::{Error, ErrorKind, Result};
use crate::os::futex::{self, Scope, Woken};
use crate::os::time::Deadline;

/// Nobody leads.
const NOBODY: u64 = 0;

/// Says who leads, and wakes those who follow.
#[derive(Debug, Default)]
pub(super) struct Lead {
    holder: AtomicU64,
    /// Changes when followers should look again; they park on it.
    turn: AtomicU32,
    followers: AtomicU32,
    /// 1 while the leader sleeps on the doorbell, or is about to.
    asleep: AtomicU32,
    /// How often the lead was given up.
    left: AtomicU32,
    /// 1 while the collector sleeps until the lead is given up, or is about to.
    resting: AtomicU32,
}

/// How a thread came to the lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entered {
    /// Nobody had it.
    Taken,
    /// This thread has it already: the face called the pool from a delivery.
    Nested,
    /// Another thread has it.
    Refused(u64),
}

impl Lead {
    pub(super) fn enter(&self, me: u64) -> Entered {
        // It pairs with the exchange in `leave`.
        match self
            .holder
            .compare_exchange(NOBODY, me, Ordering::SeqCst, Ordering::SeqCst)
        {
            Ok(_) => Entered::Taken,
            Err(holder) if holder == me => Entered::Nested,
            Err(holder) => Entered::Refused(holder),
        }
    }

    /// Takes the lead from `holder`, under the mutex that says it may be taken.
    pub(super) fn take_from(&self, holder: u64, me: u64) -> bool {
        self.holder
            .compare_exchange(holder, me, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }

    pub(super) fn is_held_by(&self, me: u64) -> bool {
        self.holder.load(Ordering::SeqCst) == me
    }

    /// Gives the lead up, if it was not lost, and lets a follower have it.
    /// Tells whether the collector rests: then it has to be called.
    #[must_use]
    pub(super) fn leave(&self, me: u64) -> bool {
        let left = self
            .holder
            .compare_exchange(me, NOBODY, Ordering::SeqCst, Ordering::Relaxed);
        if left.is_err() {
            return false;
        }
        // Relaxed: it only tells whether the lead was the same for a while.
        self.left.fetch_add(1, Ordering::Relaxed);
        self.announce();
        // SeqCst: the collector says that it rests before it looks who leads.
        self.resting.load(Ordering::SeqCst) != 0 && self.resting.swap(0, Ordering::SeqCst) != 0
    }

    /// Returns how often the lead was given up so far.
    pub(super) fn times_left(&self) -> u32 {
        self.left.load(Ordering::Relaxed)
    }

    /// Has whoever leads call the collector when it gives the lead up; tells
    /// whether anybody leads.
    pub(super) fn rest(&self) -> bool {
        self.resting.store(1, Ordering::SeqCst);
        // SeqCst: who leaves does so before it looks whether the collector rests.
        let is_led = self.holder.load(Ordering::SeqCst) != NOBODY;
        if !is_led {
            self.rise();
        }
        is_led
    }

    /// Takes back what `rest` has said.
    pub(super) fn rise(&self) {
        self.resting.store(0, Ordering::SeqCst);
    }

    /// Lets followers look again.
    pub(super) fn announce(&self) {
        // SeqCst: a follower counts itself before it reads the turn and looks.
        self.turn.fetch_add(1, Ordering::SeqCst);
        if self.followers.load(Ordering::SeqCst) != 0 {
            futex::wake(&self.turn, u32::MAX, Scope::Private);
        }
    }

    /// Returns a number that changes whenever something was announced.
    pub(super) fn turn(&self) -> u32 {
        self.turn.load(Ordering::SeqCst)
    }

    pub(super) fn has_followers(&self) -> bool {
        self.followers.load(Ordering::SeqCst) != 0
    }

    /// Parks until the leader has announced something, or there is none.
    pub(super) fn follow(&self, done: &dyn Fn() -> bool, deadline: Deadline) -> Result<()> {
        self.followers.fetch_add(1, Ordering::SeqCst);
        let turn = self.turn.load(Ordering::SeqCst);
        let woken = if done() || self.holder.load(Ordering::SeqCst) == NOBODY {
            Woken::Changed
        } else {
            futex::wait(&self.turn, turn, deadline, Scope::Private)
        };
        self.followers.fetch_sub(1, Ordering::SeqCst);
        match woken {
            Woken::Changed => Ok(()),
            Woken::TimedOut => Err(timed_out()),
            Woken::Interrupted => Err(interrupted()),
        }
    }

    pub(super) fn set_asleep(&self, asleep: bool) {
        self.asleep.store(u32::from(asleep), Ordering::SeqCst);
    }

    pub(super) fn is_asleep(&self) -> bool {
        self.asleep.load(Ordering::SeqCst) != 0
    }
}

pub(super) fn timed_out() -> Error {
    Error::new(
        ErrorKind::TimedOut,
        "the pool has not done what was waited for in time",
    )
}

pub(super) fn interrupted() -> Error {
    Error::new(
        ErrorKind::Interrupted,
        "a signal may have arrived while waiting for the pool",
    )
}

/// Returns a number for this thread, unlike that of any other.
pub(super) fn this_thread() -> u64 {
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
