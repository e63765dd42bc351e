//! The interleavings of a semaphore's words, tried by loom.
//!
//! Slices never end, so that a lost wake-up is a deadlock, which loom reports; where a
//! member dies they end at once, as only they notice it.

use std::sync::Arc;

use loom::sync::atomic::{AtomicBool, AtomicU32};
use loom::thread;

use super::*;
use procession_sys::primitive::model::{at_each_step, dies_after, end_slices};

/// A family of which one member may die.
#[derive(Debug)]
struct Relatives(AtomicBool);

impl Liveness for Relatives {
    fn is_dead(&self, stamp: Stamp) -> bool {
        stamp == mortal() && self.0.load(Ordering::SeqCst)
    }
}

fn mortal() -> Stamp {
    Stamp::new(9, 1)
}

struct Shared {
    words: SemaphoreWords,
    holders: Vec<AtomicU64>,
    relatives: Relatives,
    /// How many hold a permit now.
    inside: AtomicU32,
    most: u32,
}

impl Shared {
    fn new(permits: u32) -> Arc<Self> {
        let words = SemaphoreWords::default();
        words.init(permits, u32::MAX);
        Arc::new(Self {
            words,
            holders: (0..3).map(|_| AtomicU64::new(0)).collect(),
            relatives: Relatives(AtomicBool::new(false)),
            inside: AtomicU32::new(0),
            most: permits,
        })
    }

    fn table(&self) -> HolderTable<'_> {
        HolderTable {
            body: &self.words,
            holders: &self.holders,
            family: &self.relatives,
        }
    }

    /// Takes a permit, as `Semaphore::acquire` does.
    fn acquire(&self, me: Stamp) {
        self.wait_for_one(me);
        let before = self.inside.fetch_add(1, Ordering::Relaxed);
        assert!(before < self.most, "a permit too many");
    }

    fn wait_for_one(&self, me: Stamp) {
        let table = self.table();
        let mut parked = false;
        while !table.take(me, parked) {
            if parked {
                table.park(Deadline::NEVER);
            }
            parked = true;
        }
    }

    fn release(&self, me: Stamp) {
        self.inside.fetch_sub(1, Ordering::Relaxed);
        assert!(self.table().put(me).0);
    }
}

fn model(preemptions: usize, run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(run);
}

#[test]
fn loom_one_permit_goes_round_and_nobody_sleeps_for_ever() {
    model(3, || {
        let shared = Shared::new(1);
        let theirs = Arc::clone(&shared);
        let other = thread::spawn(move || {
            theirs.acquire(Stamp::new(2, 1));
            theirs.release(Stamp::new(2, 1));
        });
        shared.acquire(Stamp::new(1, 1));
        shared.release(Stamp::new(1, 1));
        other.join().unwrap();
        assert_eq!(shared.table().value(), 1);
        assert_eq!(shared.table().holding().count(), 0);
    });
}

#[test]
fn loom_a_signal_reaches_who_waits_for_it() {
    model(3, || {
        let shared = Shared::new(0);
        let theirs = Arc::clone(&shared);
        let other = thread::spawn(move || assert!(theirs.table().put(Stamp::new(2, 1)).0));
        shared.wait_for_one(Stamp::new(1, 1));
        other.join().unwrap();
        assert_eq!(shared.table().value(), 0);
    });
}

#[test]
fn loom_two_quick_signals_reach_both_who_wait() {
    model(2, || {
        let shared = Shared::new(0);
        let others = [2, 3].map(|slot| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.wait_for_one(Stamp::new(slot, 1)))
        });
        for _ in 0..2 {
            assert!(shared.table().put(Stamp::new(1, 1)).0);
        }
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(shared.table().value(), 0);
    });
}

#[test]
fn loom_the_permit_of_a_dead_holder_comes_back_once() {
    model(2, || {
        end_slices();
        let shared = Shared::new(1);
        assert!(shared.table().take(mortal(), false));
        shared.relatives.0.store(true, Ordering::SeqCst);
        let theirs = Arc::clone(&shared);
        // Two who notice reclaim it.
        let other = thread::spawn(move || theirs.table().reclaim(Stamp::new(2, 1), mortal()));
        shared.table().reclaim(Stamp::new(1, 1), mortal());
        other.join().unwrap();
        assert_eq!(shared.table().value(), 1);
        assert_eq!(shared.table().holding().count(), 0);
    });
}

#[test]
fn loom_a_change_that_a_death_cut_short_is_made_once() {
    model(2, || {
        end_slices();
        let shared = Shared::new(2);
        // It has the guard, has written the log, and changed the value alone.
        let words = &shared.words;
        assert!(words.guard.try_lock(mortal()));
        words.log.value.store(1, Ordering::Relaxed);
        words.log.place.store(0, Ordering::Relaxed);
        words.log.holder.store(pack(mortal(), 1), Ordering::Relaxed);
        words.log.pending.store(1, Ordering::Release);
        words.value.store(1, Ordering::Release);
        shared.relatives.0.store(true, Ordering::SeqCst);
        let theirs = Arc::clone(&shared);
        let other = thread::spawn(move || {
            assert!(theirs.table().take(Stamp::new(2, 1), false));
        });
        shared.table().reclaim(Stamp::new(1, 1), mortal());
        other.join().unwrap();
        assert_eq!(shared.table().value(), 1);
        assert_eq!(
            shared.table().holding().collect::<Vec<_>>(),
            [Stamp::new(2, 1)]
        );
    });
}

#[test]
fn loom_a_death_at_any_step_costs_no_permit() {
    at_each_step(2, |steps| {
        end_slices();
        let shared = Shared::new(2);
        let theirs = Arc::clone(&shared);
        let dying = thread::spawn(move || {
            let done = dies_after(steps, || {
                assert!(theirs.table().take(mortal(), false));
                assert!(theirs.table().put(mortal()).0);
            });
            theirs.relatives.0.store(true, Ordering::SeqCst);
            done.is_none()
        });
        shared.acquire(Stamp::new(1, 1));
        shared.release(Stamp::new(1, 1));
        let died = dying.join().unwrap();
        shared.table().reclaim(Stamp::new(1, 1), mortal());
        assert_eq!(shared.table().value(), 2);
        assert_eq!(shared.table().holding().count(), 0);
        died
    });
}
