//! What `sync::Condition` promises.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use procession_engine::ErrorKind;
use procession_engine::shm::{HandleSource, SharedObject};
use procession_engine::sync::{Condition, RLock};
use procession_engine::sys::wait::time::Deadline;

use crate::family::{Relative, fork, killed_after, listen_to_signals, watchdog};

/// Forks one who waits, and returns when it does.
fn waiter(condition: &Condition, then: impl FnOnce()) -> Relative {
    let child = fork(|| {
        assert!(condition.enlist().unwrap().wait(watchdog()).unwrap());
        then();
    });
    child.await_parked(true);
    child
}

#[test]
fn the_lock_is_let_go_during_the_wait_and_held_after_it() {
    let (lock, condition) = (RLock::create().unwrap(), Condition::create().unwrap());
    lock.acquire(Deadline::NEVER).unwrap();
    let child = fork(|| {
        lock.acquire(watchdog()).unwrap();
        assert_eq!(condition.notify(1).unwrap(), 1);
        lock.release().unwrap();
    });
    let notified = condition.wait(|| lock.release(), || lock.acquire(watchdog()), watchdog());
    assert!(notified.unwrap());
    assert!(lock.is_mine());
    child.join();
}

#[test]
fn as_many_wake_as_were_notified_in_the_order_they_came() {
    let condition = Condition::create().unwrap();
    let order =
        SharedObject::<[AtomicU64; 1]>::create(procession_engine::family().unwrap(), 0).unwrap();
    let cell = || &order.body()[0];
    let children: Vec<_> = (0..4_u64)
        .map(|i| waiter(&condition, || assert_eq!(cell().load(Ordering::Relaxed), i)))
        .collect();
    for (i, child) in children.into_iter().enumerate() {
        cell().store(i as u64, Ordering::Relaxed);
        assert_eq!(condition.notify(1).unwrap(), 1);
        child.join();
    }
    assert_eq!(condition.notify(1).unwrap(), 0);
}

#[test]
fn all_can_be_notified_even_more_than_fit_a_page() {
    let condition = Condition::create().unwrap();
    let mut waiters: Vec<_> = (0..200).map(|_| condition.enlist().unwrap()).collect();
    let child = waiter(&condition, || {});
    assert_eq!(condition.notify(100).unwrap(), 100);
    for waiter in &mut waiters[..100] {
        assert!(waiter.wait(Deadline::now()).unwrap());
    }
    for waiter in &mut waiters[100..150] {
        assert!(!waiter.wait(Deadline::now()).unwrap());
    }
    assert_eq!(condition.notify_all().unwrap(), 51);
    child.join();
}

#[test]
fn a_wait_ends_at_its_deadline_and_leaves_the_line() {
    let condition = Condition::create().unwrap();
    let begin = Instant::now();
    let wait = Duration::from_millis(30);
    let notified = condition.enlist().unwrap().wait(Deadline::after(wait));
    assert!(!notified.unwrap());
    assert!(begin.elapsed() >= wait);
    assert_eq!(condition.notify_all().unwrap(), 0);
}

#[test]
fn a_notification_that_nobody_reported_goes_to_the_next() {
    let condition = Condition::create().unwrap();
    let first = condition.enlist().unwrap();
    let mut second = condition.enlist().unwrap();
    assert_eq!(condition.notify(1).unwrap(), 1);
    drop(first);
    assert!(second.wait(Deadline::now()).unwrap());
}

#[test]
fn the_notification_of_a_dead_waiter_goes_to_a_live_one() {
    let condition = Condition::create().unwrap();
    let _dead = killed_after(|| std::mem::forget(condition.enlist().unwrap()));
    let child = waiter(&condition, || {});
    // The dead one came first, and nobody knows yet that it is dead.
    assert_eq!(condition.notify(1).unwrap(), 1);
    child.join();
}

#[test]
fn a_buried_waiter_is_not_in_line_any_more() {
    let condition = Condition::create().unwrap();
    let dead = killed_after(|| std::mem::forget(condition.enlist().unwrap()));
    dead.reclaim();
    let child = waiter(&condition, || {});
    assert_eq!(condition.notify(1).unwrap(), 1);
    child.join();
    assert_eq!(condition.notify_all().unwrap(), 0);
}

#[test]
fn a_waiter_finds_the_notification_of_the_dead_before_it_gives_up() {
    let condition = Condition::create().unwrap();
    let _dead = killed_after(|| std::mem::forget(condition.enlist().unwrap()));
    let mut waiter = condition.enlist().unwrap();
    assert_eq!(condition.notify(1).unwrap(), 1);
    assert!(waiter.wait(Deadline::now()).unwrap());
}

#[test]
fn a_signal_ends_the_wait_but_not_the_place_in_line() {
    let condition = Condition::create().unwrap();
    let child = fork(|| {
        listen_to_signals();
        let mut waiter = condition.enlist().unwrap();
        let error = waiter.wait(watchdog()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
        // Notified between two waits, by itself.
        assert_eq!(condition.notify(1).unwrap(), 1);
        assert!(waiter.wait(Deadline::now()).unwrap());
    });
    child.await_parked(true);
    child.signal_until_it_ends();
    child.join();
}

#[test]
fn pages_that_the_dead_added_stay_and_go_with_the_condition() {
    let family = procession_engine::family().unwrap();
    let condition = Condition::create().unwrap();
    let handle = condition.handle();
    let dead = killed_after(|| {
        for _ in 0..100 {
            std::mem::forget(condition.enlist().unwrap());
        }
    });
    dead.reclaim();
    let mut waiters: Vec<_> = (0..100).map(|_| condition.enlist().unwrap()).collect();
    assert_eq!(condition.notify(100).unwrap(), 100);
    assert!(waiters.iter_mut().all(|w| w.wait(Deadline::now()).unwrap()));
    drop(waiters);
    drop(condition);
    // Children of other tests may hold it still; then it is not gone, but it
    // must not be half gone.
    if let Ok(condition) = Condition::attach(handle, &HandleSource::KEPT) {
        assert_eq!(condition.notify_all().unwrap(), 0);
    }
    assert!(family.usage().blocks > 0);
}

#[test]
fn kills_at_any_instant_lose_no_notification() {
    let condition = Condition::create().unwrap();
    let rounds =
        SharedObject::<[AtomicU64; 1]>::create(procession_engine::family().unwrap(), 0).unwrap();
    let cell = || &rounds.body()[0];
    for round in 0..40 {
        // One that is killed somewhere in waiting and notifying.
        let busy = fork(|| {
            loop {
                let mut waiter = condition.enlist().unwrap();
                condition.notify(1).unwrap();
                cell().fetch_add(1, Ordering::Relaxed);
                let _ = waiter.wait(Deadline::now());
            }
        });
        let goal = cell().load(Ordering::Relaxed) + 20 + round;
        while cell().load(Ordering::Relaxed) < goal {
            assert!(!busy.has_ended());
            std::hint::spin_loop();
        }
        busy.kill();
        // What it was notified of and did not notice must not go to the next.
        busy.reclaim();
        let child = waiter(&condition, || {});
        assert_eq!(condition.notify(1).unwrap(), 1);
        child.join();
    }
}
