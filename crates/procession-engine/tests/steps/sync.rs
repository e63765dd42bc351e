//! Locks and the rest to wait on.

use std::cell::Cell;
use std::thread;

use procession_engine::ErrorKind;
use procession_engine::sync::{Barrier, Condition, Event, Lock, RLock, Role, Semaphore};
use procession_engine::sys::wait::poll;

use crate::family::{Relative, fork, killed_after, watchdog};
use crate::{at_every_step, stopped_at_every_step};

/// Acquires twice; tells whether the owner was found dead. That may be the second time where the
/// owner is killed meanwhile, but is told once.
fn acquire_twice(acquire: impl Fn() -> procession_engine::Result<()>, release: impl Fn()) -> bool {
    let mut told = false;
    for _ in 0..2 {
        match acquire() {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::OwnerDied && !told => {
                acquire().unwrap();
                told = true;
            }
            Err(error) => panic!("{error}"),
        }
        release();
    }
    told
}

#[test]
fn who_takes_a_lock_and_frees_it() {
    at_every_step(
        "lock",
        || Lock::create().unwrap(),
        |lock| {
            lock.acquire(watchdog()).unwrap();
            lock.release().unwrap();
        },
        |lock, killed| {
            let told = acquire_twice(|| lock.acquire(watchdog()), || lock.release().unwrap());
            assert!(killed || !told);
        },
    );
}

#[test]
fn who_takes_a_lock_that_others_wait_for() {
    at_every_step(
        "lock with a waiter",
        || {
            let lock = Lock::create().unwrap();
            lock.acquire(watchdog()).unwrap();
            let waiter = fork(|| {
                acquire_twice(|| lock.acquire(watchdog()), || lock.release().unwrap());
            });
            waiter.await_parked(true);
            lock.release().unwrap();
            (lock, Cell::new(Some(waiter)))
        },
        |(lock, _)| {
            lock.acquire(watchdog()).unwrap();
            lock.release().unwrap();
        },
        |(lock, waiter), _| {
            waiter.take().unwrap().join();
            acquire_twice(|| lock.acquire(watchdog()), || lock.release().unwrap());
        },
    );
}

#[test]
fn who_takes_a_lock_from_the_dead() {
    at_every_step(
        "lock of the dead",
        || {
            let lock = Lock::create().unwrap();
            let dead = killed_after(|| lock.acquire(watchdog()).unwrap());
            (lock, dead)
        },
        |(lock, _)| assert!(lock.acquire(watchdog()).is_err()),
        |(lock, _), killed| {
            let told = acquire_twice(|| lock.acquire(watchdog()), || lock.release().unwrap());
            assert!(killed || !told, "told twice");
        },
    );
}

#[test]
fn who_takes_a_reentrant_lock_twice() {
    at_every_step(
        "re-entrant lock",
        || RLock::create().unwrap(),
        |lock| {
            lock.acquire(watchdog()).unwrap();
            lock.acquire(watchdog()).unwrap();
            lock.release().unwrap();
            lock.release().unwrap();
        },
        |lock, killed| {
            let told = acquire_twice(|| lock.acquire(watchdog()), || lock.release().unwrap());
            assert!(killed || !told);
            assert!(!lock.is_locked());
        },
    );
}

#[test]
fn who_takes_permits_and_gives_them_back() {
    at_every_step(
        "semaphore",
        || Semaphore::create(2, Some(2)).unwrap(),
        |semaphore| {
            semaphore.acquire(watchdog()).unwrap();
            semaphore.acquire(watchdog()).unwrap();
            semaphore.release().unwrap();
            semaphore.release().unwrap();
        },
        |semaphore, _| {
            for _ in 0..2 {
                semaphore.acquire(watchdog()).unwrap();
            }
            assert!(!semaphore.try_acquire().unwrap(), "a permit too many");
            for _ in 0..2 {
                semaphore.release().unwrap();
            }
            assert_eq!(semaphore.value(), 2);
        },
    );
}

#[test]
fn who_gives_a_permit_back_that_others_wait_for() {
    at_every_step(
        "semaphore with a waiter",
        || {
            let semaphore = Semaphore::create(1, None).unwrap();
            semaphore.acquire(watchdog()).unwrap();
            let waiter = fork(|| {
                semaphore.acquire(watchdog()).unwrap();
                semaphore.release().unwrap();
            });
            waiter.await_parked(true);
            (semaphore, Cell::new(Some(waiter)))
        },
        // Another process may give back what we took.
        |(semaphore, _)| semaphore.release().unwrap(),
        |(semaphore, waiter), killed| {
            if killed {
                semaphore.release().unwrap();
            }
            waiter.take().unwrap().join();
        },
    );
}

#[test]
fn who_makes_and_drops_one_of_each() {
    at_every_step(
        "one of each",
        || (),
        |()| {
            drop((Lock::create().unwrap(), RLock::create().unwrap()));
            drop(Semaphore::create(3, None).unwrap());
            let condition = Condition::create().unwrap();
            // More than fit a page.
            let waiters: Vec<_> = (0..70).map(|_| condition.enlist().unwrap()).collect();
            drop(waiters);
            drop(condition);
            let event = Event::create().unwrap();
            drop((event.readable_fd().unwrap(), event));
            drop(Barrier::create(2).unwrap());
        },
        |(), _| drop(Condition::create().unwrap()),
    );
}

/// Forks one who waits to be notified, and returns when it does.
fn sleeper(condition: &Condition) -> Relative {
    let child = fork(|| assert!(condition.enlist().unwrap().wait(watchdog()).unwrap()));
    child.await_parked(true);
    child
}

#[test]
fn who_waits_for_a_notification() {
    at_every_step(
        "condition wait",
        || {
            let condition = Condition::create().unwrap();
            let notifier = fork(|| while condition.notify(1).unwrap() == 0 {});
            (condition, notifier)
        },
        |(condition, _)| assert!(condition.enlist().unwrap().wait(watchdog()).unwrap()),
        |(condition, notifier), killed| {
            if !killed {
                notifier.wait_for_end();
            }
            notifier.kill();
            // The mark of the dead reaches whoever waits next; or it is notified anew.
            let other = fork(|| assert!(condition.enlist().unwrap().wait(watchdog()).unwrap()));
            while !other.has_ended() {
                condition.notify(1).unwrap();
                std::thread::yield_now();
            }
            other.join();
        },
    );
}

#[test]
fn who_notifies() {
    at_every_step(
        "condition notify",
        || {
            let condition = Condition::create().unwrap();
            let sleeper = sleeper(&condition);
            (condition, Cell::new(Some(sleeper)))
        },
        |(condition, _)| assert_eq!(condition.notify(1).unwrap(), 1),
        |(condition, sleeper), killed| {
            if killed {
                condition.notify(1).unwrap();
            }
            sleeper.take().unwrap().join();
        },
    );
}

#[test]
fn a_ring_that_comes_late_leaves_no_cleared_event_readable() {
    stopped_at_every_step(
        "set, ring late",
        || {
            let event = Event::create().unwrap();
            (event.readable_fd().unwrap(), event, Cell::new(None))
        },
        |(_, event, _)| event.set(),
        |(_, event, clearer)| {
            // Where the one that is stopped holds the guard, it has to wait for it.
            let event = event.clone();
            let times = event.times_set();
            let thread = thread::spawn(move || {
                if times > 0 {
                    event.clear();
                }
            });
            for _ in 0..10_000 {
                if thread.is_finished() {
                    break;
                }
                thread::yield_now();
            }
            clearer.set(Some((thread, times)));
        },
        |(fd, event, clearer)| {
            let (thread, times) = clearer.take().unwrap();
            thread.join().unwrap();
            assert_eq!(poll::is_readable(fd).unwrap(), times == 0);
            assert_eq!(event.is_set(), times == 0);
        },
    );
}

#[test]
fn who_sets_and_clears_an_event() {
    at_every_step(
        "event",
        || {
            let event = Event::create().unwrap();
            let waiter = fork(|| assert!(event.wait(watchdog()).is_ok()));
            waiter.await_parked(true);
            (event, Cell::new(Some(waiter)))
        },
        |(event, _)| {
            event.set();
            event.clear();
        },
        |(event, waiter), killed| {
            if killed {
                event.set();
            }
            waiter.take().unwrap().join();
            event.clear();
            assert!(!event.is_set());
        },
    );
}

#[test]
fn who_arrives_at_a_barrier_first() {
    at_every_step(
        "barrier, follower",
        || {
            let barrier = Barrier::create(2).unwrap();
            let other = fork(|| {
                // Whoever died before it arrived is missed until the barrier is reset.
                let _ = barrier.wait(watchdog());
            });
            (barrier, Cell::new(Some(other)))
        },
        |(barrier, _)| {
            barrier.wait(watchdog()).unwrap();
        },
        |(barrier, other), killed| {
            if killed {
                barrier.abort().unwrap();
            }
            other.take().unwrap().join();
            barrier.reset().unwrap();
            assert_eq!((barrier.n_waiting(), barrier.broken()), (0, false));
            let other = fork(|| assert!(barrier.wait(watchdog()).is_ok()));
            barrier.wait(watchdog()).unwrap();
            other.join();
        },
    );
}

#[test]
fn who_leads_at_a_barrier() {
    at_every_step(
        "barrier, leader",
        || {
            let barrier = Barrier::create(2).unwrap();
            let follower = fork(|| drop(barrier.wait(watchdog())));
            follower.await_parked(true);
            (barrier, Cell::new(Some(follower)))
        },
        |(barrier, _)| match barrier.arrive(watchdog()).unwrap() {
            Role::Leader(leader) => leader.open().unwrap(),
            Role::Follower(_) => panic!("somebody has yet to come"),
        },
        |(barrier, follower), killed| {
            if killed && barrier.n_waiting() == 1 {
                // It died before it arrived.
                let _ = barrier.abort();
            }
            follower.take().unwrap().join();
            barrier.reset().unwrap();
            let other = fork(|| assert!(barrier.wait(watchdog()).is_ok()));
            barrier.wait(watchdog()).unwrap();
            other.join();
        },
    );
}
