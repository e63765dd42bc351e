//! What `sync::RLock` promises.

use std::sync::mpsc::channel;

use procession_engine::ErrorKind;
use procession_engine::sync::RLock;
use procession_engine::sys::wait::time::Deadline;

use crate::family::{fork, killed_after, watchdog};

#[test]
fn its_thread_may_take_it_again_and_others_may_not() {
    let lock = RLock::create().unwrap();
    lock.acquire(Deadline::NEVER).unwrap();
    assert!(lock.try_acquire().unwrap());
    let other = lock.clone();
    let thread = std::thread::spawn(move || {
        assert!(!other.try_acquire().unwrap());
        assert_eq!(other.count(), 0);
        other.release().unwrap_err().kind()
    });
    assert_eq!(thread.join().unwrap(), ErrorKind::NotOwner);
    lock.release().unwrap();
    assert!(lock.is_mine());
    lock.release().unwrap();
    assert_eq!(lock.release().unwrap_err().kind(), ErrorKind::NotOwner);
}

#[test]
fn a_forked_child_does_not_hold_what_its_parent_holds() {
    let lock = RLock::create().unwrap();
    lock.acquire(Deadline::NEVER).unwrap();
    let child = fork(|| {
        assert!(!lock.is_mine());
        assert_eq!(lock.release().unwrap_err().kind(), ErrorKind::NotOwner);
        lock.acquire(watchdog()).unwrap();
        assert_eq!(lock.count(), 1);
        lock.release().unwrap();
    });
    child.await_parked(true);
    lock.release().unwrap();
    child.join();
}

#[test]
fn a_thread_waits_for_another_of_its_process() {
    let lock = RLock::create().unwrap();
    lock.acquire(Deadline::NEVER).unwrap();
    let other = lock.clone();
    let (tell, told) = channel();
    let thread = std::thread::spawn(move || {
        tell.send(()).unwrap();
        other.acquire(watchdog()).unwrap();
        other.count()
    });
    told.recv().unwrap();
    lock.release().unwrap();
    assert_eq!(thread.join().unwrap(), 1);
    assert!(lock.is_locked() && !lock.is_mine());
}

#[test]
fn a_dead_holder_is_reported_and_its_count_forgotten() {
    let lock = RLock::create().unwrap();
    let _dead = killed_after(|| {
        lock.acquire(Deadline::NEVER).unwrap();
        lock.acquire(Deadline::NEVER).unwrap();
    });
    let error = lock.acquire(watchdog()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OwnerDied);
    assert!(!lock.is_locked());
    lock.acquire(watchdog()).unwrap();
    assert_eq!(lock.count(), 1);
}
