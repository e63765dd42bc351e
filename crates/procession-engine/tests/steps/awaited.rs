//! What event loops await: whoever should tell them is killed at each step, and they are
//! told all the same.

use std::cell::{Cell, RefCell};
use std::os::fd::AsFd;

use procession_engine::channel::Queue;
use procession_engine::sync::{Armed, AwaitFd, Barrier, Event, Lock, RLock, Role, Semaphore};
use procession_engine::sys::wait::poll::wait_readable;

use crate::at_every_step_after;
use crate::family::watchdog;

/// Something that this process awaits.
struct Awaited<T> {
    armed: Cell<Option<Armed>>,
    fd: AwaitFd,
    thing: T,
}

impl<T> Awaited<T> {
    fn new(thing: T, fd: impl Fn(&T) -> AwaitFd) -> Self {
        Self {
            armed: Cell::new(None),
            fd: fd(&thing),
            thing,
        }
    }
}

/// Has a child make a change that this process awaits, and looks whether it is told once
/// the change is made, by the child or else as event loops are: by the reclaim of the dead.
fn change_at_every_step<T>(
    what: &str,
    set_up: impl Fn() -> Awaited<T>,
    arm: impl Fn(&T, &AwaitFd) -> procession_engine::Result<Option<Armed>>,
    change: impl Fn(&T),
    is_changed: impl Fn(&T) -> bool,
) {
    at_every_step_after(
        what,
        set_up,
        |awaited| {
            let armed = arm(&awaited.thing, &awaited.fd).unwrap();
            awaited
                .armed
                .set(Some(armed.expect("nothing has changed yet")));
        },
        |awaited| change(&awaited.thing),
        |awaited, killed| {
            procession_engine::family().unwrap().reclaim_all();
            let armed = awaited.armed.take().unwrap();
            let changed = is_changed(&awaited.thing);
            assert!(killed || changed);
            if changed {
                assert!(wait_readable(armed.changed.as_fd(), watchdog()).unwrap());
            }
        },
    );
}

#[test]
fn who_frees_an_awaited_lock() {
    change_at_every_step(
        "awaited lock",
        || {
            let lock = Lock::create().unwrap();
            lock.acquire(watchdog()).unwrap();
            Awaited::new(lock, Lock::await_fd)
        },
        Lock::arm,
        |lock| lock.release().unwrap(),
        |lock| !lock.is_locked(),
    );
}

#[test]
fn who_puts_an_awaited_item() {
    change_at_every_step(
        "awaited item",
        || Awaited::new(Queue::create(0).unwrap(), Queue::await_items),
        Queue::arm_for_items,
        |queue| queue.put(&[b"item"], watchdog()).unwrap(),
        |queue| !queue.is_empty(),
    );
}

#[test]
fn who_makes_awaited_room() {
    change_at_every_step(
        "awaited room",
        || {
            let queue = Queue::create(1).unwrap();
            queue.put(&[b"item"], watchdog()).unwrap();
            Awaited::new(queue, Queue::await_room)
        },
        Queue::arm_for_room,
        |queue| drop(queue.get(watchdog()).unwrap()),
        |queue| !queue.is_full(),
    );
}

#[test]
fn who_does_the_last_awaited_task() {
    change_at_every_step(
        "awaited end of tasks",
        || {
            let queue = Queue::create(0).unwrap();
            queue.put(&[b"task"], watchdog()).unwrap();
            Awaited::new(queue, Queue::await_room)
        },
        Queue::arm_for_tasks,
        |queue| queue.task_done().unwrap(),
        |queue| queue.unfinished() == 0,
    );
}

#[test]
fn who_closes_an_awaited_queue() {
    change_at_every_step(
        "awaited end",
        || Awaited::new(Queue::create(0).unwrap(), Queue::await_items),
        Queue::arm_for_items,
        |queue| queue.close().unwrap(),
        Queue::is_closed,
    );
}

#[test]
fn who_sets_an_awaited_event() {
    change_at_every_step(
        "awaited event",
        || Awaited::new(Event::create().unwrap(), Event::await_fd),
        |event, fd| event.arm(fd, 0),
        Event::set,
        Event::is_set,
    );
}

#[test]
fn who_gives_an_awaited_permit() {
    change_at_every_step(
        "awaited permit",
        || Awaited::new(Semaphore::create(0, None).unwrap(), Semaphore::await_fd),
        Semaphore::arm,
        |semaphore| semaphore.release().unwrap(),
        |semaphore| semaphore.value() > 0,
    );
}

#[test]
fn who_dies_with_an_awaited_permit() {
    change_at_every_step(
        "awaited permit of the dead",
        || Awaited::new(Semaphore::create(1, None).unwrap(), Semaphore::await_fd),
        |semaphore, fd| {
            semaphore.acquire(watchdog())?;
            let armed = semaphore.arm(fd);
            semaphore.release()?;
            armed
        },
        |semaphore| {
            semaphore.acquire(watchdog()).unwrap();
            semaphore.release().unwrap();
        },
        |semaphore| semaphore.value() > 0,
    );
}

#[test]
fn who_takes_and_frees_an_awaited_reentrant_lock() {
    change_at_every_step(
        "awaited re-entrant lock",
        || {
            let lock = RLock::create().unwrap();
            lock.acquire(watchdog()).unwrap();
            Awaited::new(lock, RLock::await_fd)
        },
        |lock, fd| {
            let armed = lock.arm(fd);
            lock.release()?;
            armed
        },
        |lock| {
            lock.acquire(watchdog()).unwrap();
            lock.release().unwrap();
        },
        |lock| !lock.is_locked(),
    );
}

#[test]
fn who_opens_an_awaited_barrier() {
    change_at_every_step(
        "awaited barrier",
        || {
            let barrier = Barrier::create(2).unwrap();
            let Role::Follower(follower) = barrier.try_arrive().unwrap().unwrap() else {
                panic!("the other has yet to come");
            };
            let thing = (barrier.clone(), RefCell::new(follower));
            Awaited::new(thing, |(barrier, _)| barrier.await_fd())
        },
        |(_, follower), fd| follower.borrow().arm(fd),
        |(barrier, _)| match barrier.try_arrive().unwrap().unwrap() {
            Role::Leader(leader) => leader.open().unwrap(),
            Role::Follower(_) => panic!("the other has come"),
        },
        // Broken, if it died in its lead.
        |(_, follower)| !matches!(follower.borrow_mut().try_wait(), Ok(false)),
    );
}
