//! What `sync::Barrier` promises.

use std::sync::atomic::{AtomicU64, Ordering};

use procession_engine::ErrorKind;
use procession_engine::shm::SharedObject;
use procession_engine::sync::{Barrier, Role};
use procession_engine::sys::wait::time::Deadline;

use crate::family::{fork, killed_after, listen_to_signals, watchdog};

fn lead(barrier: &Barrier) -> procession_engine::sync::Leader<'_> {
    match barrier.arrive(watchdog()).unwrap() {
        Role::Leader(leader) => leader,
        Role::Follower(_) => panic!("somebody has yet to come"),
    }
}

#[test]
fn all_go_on_when_all_have_come_again_and_again() {
    let barrier = Barrier::create(3).unwrap();
    let sum =
        SharedObject::<[AtomicU64; 1]>::create(procession_engine::family().unwrap(), 0).unwrap();
    let work = || {
        for round in 1..=200_u64 {
            let index = barrier.wait(watchdog()).unwrap();
            assert!(index < 3);
            let seen = sum.body()[0].fetch_add(1, Ordering::Relaxed) + 1;
            assert!(seen <= round * 3, "somebody went on before all had come");
            barrier.wait(watchdog()).unwrap();
            assert_eq!(sum.body()[0].load(Ordering::Relaxed), round * 3);
            barrier.wait(watchdog()).unwrap();
        }
    };
    let children = [fork(work), fork(work)];
    work();
    children.into_iter().for_each(|child| child.join());
}

#[test]
fn the_others_wait_for_the_leaders_action() {
    let barrier = Barrier::create(2).unwrap();
    let acted =
        SharedObject::<[AtomicU64; 1]>::create(procession_engine::family().unwrap(), 0).unwrap();
    let child = fork(|| {
        barrier.wait(watchdog()).unwrap();
        assert_eq!(acted.body()[0].load(Ordering::Relaxed), 1);
    });
    child.await_parked(true);
    assert_eq!(barrier.n_waiting(), 1);
    let leader = lead(&barrier);
    assert_eq!(leader.index(), 1);
    acted.body()[0].store(1, Ordering::Relaxed);
    leader.open().unwrap();
    child.join();
    assert_eq!(barrier.n_waiting(), 0);
}

#[test]
fn a_deadline_breaks_the_barrier_for_all_until_a_reset() {
    let barrier = Barrier::create(3).unwrap();
    let child = fork(|| {
        let error = barrier.wait(watchdog()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Broken);
    });
    child.await_parked(true);
    let error = barrier.wait(Deadline::now()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Broken);
    child.join();
    assert!(barrier.broken());
    let error = barrier.wait(watchdog()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Broken);
    barrier.reset().unwrap();
    assert!(!barrier.broken());
}

#[test]
fn a_reset_breaks_those_who_wait_and_nobody_after() {
    let barrier = Barrier::create(2).unwrap();
    let child = fork(|| {
        let error = barrier.wait(watchdog()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Broken);
        barrier.wait(watchdog()).unwrap();
    });
    child.await_parked(true);
    barrier.reset().unwrap();
    barrier.wait(watchdog()).unwrap();
    child.join();
}

#[test]
fn an_abort_breaks_those_who_wait_and_those_who_come() {
    let barrier = Barrier::create(2).unwrap();
    let child = fork(|| {
        let error = barrier.wait(watchdog()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Broken);
    });
    child.await_parked(true);
    barrier.abort().unwrap();
    child.join();
    let error = barrier.wait(watchdog()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Broken);
}

#[test]
fn a_leader_that_fails_breaks_the_barrier() {
    let barrier = Barrier::create(2).unwrap();
    let child = fork(|| {
        let error = barrier.wait(watchdog()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Broken);
    });
    child.await_parked(true);
    lead(&barrier).fail();
    child.join();
    assert!(barrier.broken());
}

#[test]
fn a_leader_that_dies_in_its_action_breaks_the_barrier() {
    let barrier = Barrier::create(2).unwrap();
    let child = fork(|| {
        let error = barrier.wait(watchdog()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Broken);
    });
    child.await_parked(true);
    let _dead = killed_after(|| std::mem::forget(lead(&barrier)));
    child.join();
    assert!(barrier.broken());
}

#[test]
fn a_waiter_that_dies_has_come() {
    let barrier = Barrier::create(2).unwrap();
    let child = fork(|| {
        let _ = barrier.wait(watchdog());
    });
    child.await_parked(true);
    child.kill();
    child.reclaim();
    assert_eq!(barrier.wait(watchdog()).unwrap(), 1);
}

#[test]
fn a_waiter_that_gives_up_has_not_come() {
    let barrier = Barrier::create(2).unwrap();
    drop(barrier.arrive(watchdog()).unwrap());
    assert_eq!(barrier.n_waiting(), 0);
    assert!(!barrier.broken());
}

#[test]
fn a_reset_during_the_action_breaks_it_for_the_leader_too() {
    let barrier = Barrier::create(1).unwrap();
    let leader = lead(&barrier);
    barrier.reset().unwrap();
    assert_eq!(leader.open().unwrap_err().kind(), ErrorKind::Broken);
    assert_eq!(barrier.wait(watchdog()).unwrap(), 0);
}

#[test]
fn a_deadline_does_not_break_what_all_have_come_to() {
    let barrier = Barrier::create(2).unwrap();
    let Role::Follower(mut follower) = barrier.arrive(watchdog()).unwrap() else {
        panic!("the other has yet to come");
    };
    let child = fork(|| lead(&barrier).open().unwrap());
    while barrier.n_waiting() != 0 {
        std::thread::yield_now();
    }
    follower.wait(Deadline::now()).unwrap();
    child.join();
}

#[test]
fn who_comes_during_the_action_waits_for_its_end() {
    let barrier = Barrier::create(1).unwrap();
    let leader = lead(&barrier);
    let error = barrier.arrive(Deadline::now()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let child = fork(|| assert_eq!(barrier.wait(watchdog()).unwrap(), 0));
    child.await_parked(true);
    leader.open().unwrap();
    child.join();
}

#[test]
fn a_signal_ends_the_wait() {
    let barrier = Barrier::create(2).unwrap();
    let child = fork(|| {
        listen_to_signals();
        let error = barrier.wait(watchdog()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
        assert_eq!(barrier.n_waiting(), 0);
    });
    child.await_parked(true);
    child.signal_until_it_ends();
    child.join();
}

#[test]
fn a_barrier_for_nobody_is_refused() {
    let error = Barrier::create(0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn kills_at_any_instant_leave_a_barrier_that_can_be_reset() {
    let barrier = Barrier::create(2).unwrap();
    let rounds =
        SharedObject::<[AtomicU64; 1]>::create(procession_engine::family().unwrap(), 0).unwrap();
    let cell = || &rounds.body()[0];
    for round in 0..40 {
        let work = || {
            while barrier.wait(watchdog()).is_ok() {
                cell().fetch_add(1, Ordering::Relaxed);
            }
        };
        let children = [fork(work), fork(work)];
        let goal = cell().load(Ordering::Relaxed) + 20 + round;
        while cell().load(Ordering::Relaxed) < goal {
            assert!(!children[0].has_ended());
            std::thread::yield_now();
        }
        let [first, second] = children;
        first.kill();
        first.reclaim();
        // The second waits for one that will not come, or found a dead leader.
        barrier.abort().unwrap();
        second.join();
        barrier.reset().unwrap();
        let third = fork(|| assert!(barrier.wait(watchdog()).is_ok()));
        barrier.wait(watchdog()).unwrap();
        third.join();
    }
}
