//! What waits by descriptor, as event loops do, are promised.

use std::os::fd::AsFd;

use procession_engine::ErrorKind;
use procession_engine::sync::{Armed, AwaitFd, Barrier, Event, Lock, Role};
use procession_engine::sys::wait::poll::{is_readable, wait_readable};
use procession_engine::sys::wait::time::Deadline;

use crate::family::{fork, watchdog};

/// Arms the descriptor for a lock that is held, until it is not rung at once. The end of a child of
/// another test, which had the lock too, may ring once more.
fn armed_and_quiet(lock: &Lock, fd: &AwaitFd) -> Armed {
    let end = watchdog();
    loop {
        let armed = lock.arm(fd).unwrap().expect("it is held");
        if !is_readable(&armed.changed).unwrap() {
            return armed;
        }
        assert!(!end.has_passed(), "it rings again and again");
    }
}

#[test]
fn a_lock_that_another_frees_is_told_of_once() {
    let lock = Lock::create().unwrap();
    let fd = lock.await_fd();
    lock.acquire(watchdog()).unwrap();
    let armed = armed_and_quiet(&lock, &fd);
    fork(|| lock.release().unwrap()).join();
    assert!(wait_readable(armed.changed.as_fd(), watchdog()).unwrap());
    assert!(lock.arm(&fd).unwrap().is_none(), "it is free");
    lock.acquire(watchdog()).unwrap();
    let armed = armed_and_quiet(&lock, &fd);
    lock.release().unwrap();
    assert!(wait_readable(armed.changed.as_fd(), watchdog()).unwrap());
}

#[test]
fn who_does_not_wait_is_not_told() {
    let event = Event::create().unwrap();
    let fd = event.await_fd();
    let armed = event.arm(&fd, event.times_set()).unwrap().unwrap();
    event.set();
    event.clear();
    assert!(wait_readable(armed.changed.as_fd(), watchdog()).unwrap());
    let times = event.times_set();
    let armed = event.arm(&fd, times).unwrap().unwrap();
    event.set();
    assert!(event.arm(&fd, times).unwrap().is_none());
    // The ring is for others of this process that wait by the same descriptor.
    assert!(is_readable(&armed.changed).unwrap());
}

#[test]
fn the_end_of_the_holder_is_worth_another_try() {
    let lock = Lock::create().unwrap();
    let held = Event::create().unwrap();
    let holder = fork(|| {
        lock.acquire(watchdog()).unwrap();
        held.set();
        Event::create().unwrap().wait(watchdog()).unwrap();
    });
    held.wait(watchdog()).unwrap();
    let fd = lock.await_fd();
    let armed = lock.arm(&fd).unwrap().expect("it is held");
    let exit = armed.holder_exit.expect("the holder is another process");
    assert!(!exit.is_dead());
    holder.kill();
    assert!(exit.wait(watchdog()).unwrap());
    let error = lock.acquire(Deadline::now()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OwnerDied);
    assert!(lock.arm(&fd).unwrap().is_none());
    lock.acquire(Deadline::now()).unwrap();
}

#[test]
fn who_comes_early_to_a_barrier_is_told_when_its_leader_is_done_or_dies() {
    let barrier = Barrier::create(1).unwrap();
    let held = Event::create().unwrap();
    let leader = fork(|| {
        let Role::Leader(leader) = barrier.try_arrive().unwrap().unwrap() else {
            panic!("one is enough");
        };
        held.set();
        Event::create().unwrap().wait(watchdog()).unwrap();
        leader.open().unwrap();
    });
    held.wait(watchdog()).unwrap();
    assert!(barrier.try_arrive().unwrap().is_none(), "it is in its lead");
    let fd = barrier.await_fd();
    let armed = barrier.arm(&fd).unwrap().expect("it is in its lead");
    let exit = armed.holder_exit.expect("the leader is another process");
    leader.kill();
    assert!(exit.wait(watchdog()).unwrap());
    // The first try notices the death, which breaks the barrier.
    let role = barrier.try_arrive().and_then(|_| barrier.try_arrive());
    assert_eq!(role.unwrap_err().kind(), ErrorKind::Broken);
    assert!(wait_readable(armed.changed.as_fd(), watchdog()).unwrap());
}
