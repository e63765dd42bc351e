//! What `sync::Lock` promises.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use procession_engine::ErrorKind;
use procession_engine::shm::{ObjectKind, SharedObject};
use procession_engine::sync::Lock;
use procession_engine::sys::wait::time::Deadline;

use crate::family::{fork, killed_after, watchdog};

#[test]
fn one_holder_at_a_time() {
    let lock = Lock::create().unwrap();
    let count =
        SharedObject::<[AtomicU64; 1]>::create(procession_engine::family().unwrap(), 0).unwrap();
    let add = || {
        for _ in 0..20_000 {
            lock.acquire(watchdog()).unwrap();
            // Not one atomic addition: the lock must make it one.
            let cell = &count.body()[0];
            let seen = cell.load(Ordering::Relaxed);
            cell.store(seen + 1, Ordering::Relaxed);
            lock.release().unwrap();
        }
    };
    let children = [fork(add), fork(add), fork(add)];
    add();
    children.into_iter().for_each(|child| child.join());
    assert_eq!(count.body()[0].load(Ordering::Relaxed), 80_000);
}

#[test]
fn a_wait_ends_at_its_deadline_and_not_before() {
    let lock = Lock::create().unwrap();
    lock.acquire(Deadline::NEVER).unwrap();
    let begin = Instant::now();
    let wait = Duration::from_millis(30);
    let error = lock.acquire(Deadline::after(wait)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(begin.elapsed() >= wait);
    assert!(!lock.try_acquire().unwrap());
}

#[test]
fn another_process_may_release() {
    let lock = Lock::create().unwrap();
    lock.acquire(Deadline::NEVER).unwrap();
    let child = fork(|| lock.release().unwrap());
    lock.acquire(watchdog()).unwrap();
    child.join();
    lock.release().unwrap();
    assert_eq!(lock.release().unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_parked_waiter_is_woken_by_the_release() {
    let lock = Lock::create().unwrap();
    lock.acquire(Deadline::NEVER).unwrap();
    let child = fork(|| lock.acquire(watchdog()).unwrap());
    child.await_parked(true);
    lock.release().unwrap();
    child.join();
}

#[test]
fn a_dead_holder_is_reported_once_and_the_lock_is_free() {
    let lock = Lock::create().unwrap();
    let dead = killed_after(|| lock.acquire(Deadline::NEVER).unwrap());
    assert_eq!(lock.holder(), Some(dead.stamp));
    let error = lock.acquire(watchdog()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OwnerDied);
    assert!(!lock.is_locked());
    lock.acquire(watchdog()).unwrap();
    dead.reclaim();
    assert!(lock.is_locked(), "reclaim leaves the living holder alone");
}

#[test]
fn trying_reports_a_dead_holder_too() {
    let lock = Lock::create().unwrap();
    let dead = killed_after(|| lock.acquire(Deadline::NEVER).unwrap());
    dead.reclaim();
    let error = lock.try_acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OwnerDied);
    assert!(lock.try_acquire().unwrap());
}

#[test]
fn of_many_waiters_exactly_one_learns_of_the_death() {
    let lock = Lock::create().unwrap();
    let told =
        SharedObject::<[AtomicU64; 1]>::create(procession_engine::family().unwrap(), 0).unwrap();
    let holder = fork(|| {
        lock.acquire(Deadline::NEVER).unwrap();
        let _ = lock.acquire(watchdog());
    });
    holder.await_parked(true);
    let waiters: Vec<_> = (0..4)
        .map(|_| {
            fork(|| {
                if let Err(error) = lock.acquire(watchdog()) {
                    assert_eq!(error.kind(), ErrorKind::OwnerDied);
                    told.body()[0].fetch_add(1, Ordering::Relaxed);
                    lock.acquire(watchdog()).unwrap();
                }
                lock.release().unwrap();
            })
        })
        .collect();
    waiters.iter().for_each(|child| child.await_parked(true));
    holder.kill();
    waiters.into_iter().for_each(|child| child.join());
    assert_eq!(told.body()[0].load(Ordering::Relaxed), 1);
}

#[test]
fn a_killed_waiter_leaves_the_lock_to_the_next() {
    let lock = Lock::create().unwrap();
    lock.acquire(Deadline::NEVER).unwrap();
    let children = [
        fork(|| lock.acquire(watchdog()).unwrap()),
        fork(|| {
            lock.acquire(watchdog()).unwrap();
            lock.release().unwrap();
        }),
    ];
    children.iter().for_each(|child| child.await_parked(true));
    let [first, second] = children;
    first.kill();
    lock.release().unwrap();
    second.join();
}

#[test]
fn a_signal_ends_the_wait() {
    let lock = Lock::create().unwrap();
    lock.acquire(Deadline::NEVER).unwrap();
    let child = fork(|| {
        crate::family::listen_to_signals();
        let error = lock.acquire(watchdog()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
    });
    child.await_parked(true);
    child.signal_until_it_ends();
    child.join();
}

#[test]
fn a_waiting_process_says_what_it_waits_for() {
    let lock = Lock::create().unwrap();
    lock.acquire(Deadline::NEVER).unwrap();
    let child = fork(|| lock.acquire(watchdog()).unwrap());
    child.await_parked(true);
    let family = procession_engine::family().unwrap();
    let published = family
        .member(child.stamp)
        .waiting_on
        .load(Ordering::Relaxed);
    assert_eq!(published >> 56, ObjectKind::Lock as u64);
    assert_eq!(published & (u64::MAX >> 8), lock.handle().serial);
    lock.release().unwrap();
    child.join();
}

#[test]
fn kills_at_any_instant_leave_a_lock_that_works() {
    let lock = Lock::create().unwrap();
    let count =
        SharedObject::<[AtomicU64; 1]>::create(procession_engine::family().unwrap(), 0).unwrap();
    let cell = || &count.body()[0];
    for round in 0..60 {
        let work = || {
            loop {
                match lock.acquire(watchdog()) {
                    Ok(()) => {
                        cell().fetch_add(1, Ordering::Relaxed);
                        lock.release().unwrap();
                    }
                    Err(error) => assert_eq!(error.kind(), ErrorKind::OwnerDied),
                }
            }
        };
        let children = [fork(work), fork(work)];
        let goal = cell().load(Ordering::Relaxed) + 100 + round * 37;
        while cell().load(Ordering::Relaxed) < goal {
            assert!(!children[0].has_ended() && !children[1].has_ended());
            std::thread::yield_now();
        }
        let [first, second] = children;
        first.kill();
        let goal = cell().load(Ordering::Relaxed) + 100;
        while cell().load(Ordering::Relaxed) < goal {
            assert!(!second.has_ended());
            std::thread::yield_now();
        }
        second.kill();
    }
    if let Err(error) = lock.acquire(watchdog()) {
        assert_eq!(error.kind(), ErrorKind::OwnerDied);
        lock.acquire(watchdog()).unwrap();
    }
    lock.release().unwrap();
}
