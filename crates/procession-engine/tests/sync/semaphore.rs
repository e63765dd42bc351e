//! What `sync::Semaphore` promises.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use procession_engine::ErrorKind;
use procession_engine::shm::SharedObject;
use procession_engine::sync::Semaphore;
use procession_engine::sys::wait::time::Deadline;

use crate::family::{fork, killed_after, watchdog};

#[test]
fn as_many_get_in_as_there_are_permits() {
    let permits = Semaphore::create(2, None).unwrap();
    let inside =
        SharedObject::<[AtomicU64; 1]>::create(procession_engine::family().unwrap(), 0).unwrap();
    let work = || {
        for _ in 0..10_000 {
            permits.acquire(watchdog()).unwrap();
            let before = inside.body()[0].fetch_add(1, Ordering::Relaxed);
            assert!(before < 2);
            inside.body()[0].fetch_sub(1, Ordering::Relaxed);
            permits.release().unwrap();
        }
    };
    let children = [fork(work), fork(work), fork(work)];
    work();
    children.into_iter().for_each(|child| child.join());
    assert_eq!(permits.value(), 2);
}

#[test]
fn a_wait_ends_at_its_deadline_and_not_before() {
    let permits = Semaphore::create(0, None).unwrap();
    let begin = Instant::now();
    let wait = Duration::from_millis(30);
    let error = permits.acquire(Deadline::after(wait)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(begin.elapsed() >= wait);
    assert!(!permits.try_acquire().unwrap());
}

#[test]
fn the_bound_is_kept() {
    let permits = Semaphore::create(1, Some(1)).unwrap();
    assert_eq!(permits.release().unwrap_err().kind(), ErrorKind::Invalid);
    permits.acquire(Deadline::NEVER).unwrap();
    permits.release().unwrap();
    assert_eq!(permits.value(), 1);
    let error = Semaphore::create(3, Some(2)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn two_quick_releases_wake_two_waiters() {
    for _ in 0..20 {
        let permits = Semaphore::create(0, None).unwrap();
        let children = [(); 3].map(|()| fork(|| permits.acquire(watchdog()).unwrap()));
        children.iter().for_each(|child| child.await_parked(true));
        for _ in 0..3 {
            permits.release().unwrap();
        }
        children.into_iter().for_each(|child| child.join());
    }
}

#[test]
fn the_permits_of_a_dead_holder_come_back() {
    let permits = Semaphore::create(3, None).unwrap();
    let dead = killed_after(|| {
        permits.acquire(Deadline::NEVER).unwrap();
        permits.acquire(Deadline::NEVER).unwrap();
    });
    permits.acquire(Deadline::NEVER).unwrap();
    assert_eq!(permits.value(), 0);
    permits.acquire(watchdog()).unwrap();
    dead.reclaim();
    assert_eq!(permits.value(), 1);
    assert!(permits.try_acquire().unwrap());
    assert!(!permits.try_acquire().unwrap());
}

#[test]
fn a_parked_waiter_gets_the_permit_of_a_holder_that_dies() {
    let permits = Semaphore::create(1, None).unwrap();
    let holder = fork(|| {
        permits.acquire(Deadline::NEVER).unwrap();
        let _ = permits.acquire(watchdog());
    });
    holder.await_parked(true);
    let waiter = fork(|| permits.acquire(watchdog()).unwrap());
    waiter.await_parked(true);
    holder.kill();
    waiter.join();
}

#[test]
fn trying_finds_the_permit_of_a_dead_holder() {
    let permits = Semaphore::create(1, None).unwrap();
    let _dead = killed_after(|| permits.acquire(Deadline::NEVER).unwrap());
    assert!(permits.try_acquire().unwrap());
}

#[test]
fn permits_that_another_process_released_do_not_come_back_twice() {
    let permits = Semaphore::create(1, None).unwrap();
    let dead = killed_after(|| permits.acquire(Deadline::NEVER).unwrap());
    permits.release().unwrap();
    permits.acquire(Deadline::NEVER).unwrap();
    dead.reclaim();
    assert_eq!(permits.value(), 0);
}

#[test]
fn a_permit_whose_holder_is_uncertain_never_makes_one_too_many() {
    let permits = Semaphore::create(2, None).unwrap();
    let dead = [(); 2].map(|()| killed_after(|| permits.acquire(Deadline::NEVER).unwrap()));
    permits.release().unwrap();
    permits.acquire(Deadline::NEVER).unwrap();
    let [first, second] = dead;
    first.reclaim();
    assert_eq!(permits.value(), 0);
    second.reclaim();
    assert_eq!(permits.value(), 1);
}

#[test]
fn a_semaphore_for_signals_gets_nothing_back() {
    let signals = Semaphore::create(0, None).unwrap();
    signals.release().unwrap();
    let dead = killed_after(|| signals.acquire(Deadline::NEVER).unwrap());
    dead.reclaim();
    assert_eq!(signals.value(), 0);
}

#[test]
fn more_holders_than_places_still_work() {
    let permits = Semaphore::create(2000, Some(2000)).unwrap();
    for _ in 0..2000 {
        assert!(permits.try_acquire().unwrap());
    }
    assert!(!permits.try_acquire().unwrap());
    for _ in 0..2000 {
        permits.release().unwrap();
    }
    assert_eq!(permits.value(), 2000);
}

#[test]
fn kills_at_any_instant_keep_the_number_of_permits() {
    let permits = Semaphore::create(2, None).unwrap();
    let count =
        SharedObject::<[AtomicU64; 1]>::create(procession_engine::family().unwrap(), 0).unwrap();
    let cell = || &count.body()[0];
    for round in 0..100 {
        let child = fork(|| {
            loop {
                permits.acquire(watchdog()).unwrap();
                cell().fetch_add(1, Ordering::Relaxed);
                permits.release().unwrap();
            }
        });
        let goal = cell().load(Ordering::Relaxed) + 50 + round * 7;
        while cell().load(Ordering::Relaxed) < goal {
            assert!(!child.has_ended());
            std::hint::spin_loop();
        }
        child.kill();
        child.reclaim();
        assert_eq!(permits.value(), 2, "after round {round}");
    }
}
