//! The interleavings of the lock word, tried by loom.
//!
//! In most models slices never end, so that a lost wake-up is a deadlock, which
//! loom reports. Where an owner dies they end at once, as only they notice it.
//! Preemptions are bounded where there are three threads, to end within seconds.

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, AtomicU32};
use loom::thread;

use super::*;
use procession_sys::primitive::model::end_slices;

/// A family of which one member may die.
struct Relatives {
    dead: AtomicBool,
}

impl Liveness for Relatives {
    fn is_dead(&self, stamp: Stamp) -> bool {
        stamp == mortal() && self.dead.load(Ordering::SeqCst)
    }
}

fn mortal() -> Stamp {
    Stamp::new(9, 1)
}

struct Shared {
    lock: RawLock,
    relatives: Relatives,
    /// Loom fails if two are in here at a time.
    inside: UnsafeCell<u32>,
    from_dead: AtomicU32,
}

impl Shared {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            lock: RawLock::default(),
            relatives: Relatives {
                dead: AtomicBool::new(false),
            },
            inside: UnsafeCell::new(0),
            from_dead: AtomicU32::new(0),
        })
    }

    fn enter(&self, slot: usize) {
        if let Acquired::FromDead(owner) = self.lock.lock(Stamp::new(slot, 1), &self.relatives) {
            assert_eq!(owner, mortal());
            self.from_dead.fetch_add(1, Ordering::Relaxed);
        }
        self.touch();
    }

    fn touch(&self) {
        self.inside.with_mut(|_| ());
    }

    fn leave(&self) {
        self.lock.unlock();
    }
}

fn model(preemptions: Option<usize>, run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(run);
}

/// Runs `work` in that many threads, numbered from 1.
fn in_threads(count: usize, shared: &Arc<Shared>, work: fn(&Shared, usize)) {
    let others: Vec<_> = (2..=count)
        .map(|slot| {
            let shared = Arc::clone(shared);
            thread::spawn(move || work(&shared, slot))
        })
        .collect();
    work(shared, 1);
    for other in others {
        other.join().unwrap();
    }
}

#[test]
fn two_take_turns_and_neither_sleeps_for_ever() {
    model(None, || {
        let shared = Shared::new();
        in_threads(2, &shared, |shared, slot| {
            for _ in 0..2 {
                shared.enter(slot);
                shared.leave();
            }
        });
        assert_eq!(shared.lock.holder(), None);
    });
}

#[test]
fn three_take_turns_and_none_sleeps_for_ever() {
    model(Some(3), || {
        let shared = Shared::new();
        in_threads(3, &shared, |shared, slot| {
            shared.enter(slot);
            shared.leave();
        });
        assert_eq!(shared.lock.holder(), None);
    });
}

#[test]
fn another_may_unlock_while_one_parks() {
    model(None, || {
        let shared = Shared::new();
        shared.enter(3);
        let waiter = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                shared.enter(2);
                shared.leave();
            })
        };
        shared.leave();
        waiter.join().unwrap();
    });
}

#[test]
fn a_dead_owner_is_taken_over_by_exactly_one() {
    model(Some(3), || {
        end_slices();
        let shared = Shared::new();
        assert!(shared.lock.try_lock(mortal()));
        shared.relatives.dead.store(true, Ordering::SeqCst);
        in_threads(2, &shared, |shared, slot| {
            shared.enter(slot);
            shared.leave();
        });
        assert_eq!(shared.from_dead.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn an_owner_that_dies_while_others_wait_is_taken_over_by_exactly_one() {
    model(Some(2), || {
        end_slices();
        let shared = Shared::new();
        let dying = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let held = shared.lock.try_lock(mortal());
                if held {
                    shared.touch();
                }
                shared.relatives.dead.store(true, Ordering::SeqCst);
                u32::from(held)
            })
        };
        in_threads(2, &shared, |shared, slot| {
            shared.enter(slot);
            shared.leave();
        });
        // It may have come when one of the others was in, or after both.
        let held = dying.join().unwrap();
        let left = u32::from(shared.lock.holder() == Some(mortal()));
        assert_eq!(shared.from_dead.load(Ordering::Relaxed) + left, held);
    });
}
