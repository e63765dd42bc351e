//! Handles in messages.

use procession_engine::Result;
use procession_engine::channel::{Message, Queue};
use procession_engine::shm::{Handle, HandleSource, Loans};
use procession_engine::sync::Lock;

use crate::family::{killed_after, watchdog};
use crate::{at_every_step, stopped_at_every_step};

/// Puts a new lock, which nobody but the message keeps alive.
fn put_lock(queue: &Queue) {
    let lock = Lock::create().unwrap();
    let mut loans = Loans::default();
    let handle = lock.lend(&mut loans);
    let bytes = [handle.offset.to_le_bytes(), handle.serial.to_le_bytes()].concat();
    let block = loans
        .into_message(procession_engine::family().unwrap(), &[&bytes], bytes.len())
        .unwrap();
    queue.put_block(block, 16, watchdog()).unwrap();
}

fn attach(bytes: &[u8], source: &HandleSource) -> Result<Lock> {
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    let handle = Handle {
        offset: number(&bytes[..8]),
        serial: number(&bytes[8..]),
    };
    Lock::attach(handle, source)
}

/// Attaches to the lock in a message.
fn lock_in(message: &Message) -> Lock {
    message.read(attach).unwrap()
}

/// Takes all messages of a queue, whose locks must be there; returns how many.
fn locks_in(queue: &Queue) -> usize {
    let mut count = 0;
    while !queue.is_empty() {
        let lock = lock_in(&queue.get(watchdog()).unwrap());
        lock.try_acquire().unwrap();
        count += 1;
    }
    count
}

fn queue_of_locks() -> Queue {
    let queue = Queue::create(0).unwrap();
    put_lock(&queue);
    put_lock(&queue);
    queue
}

#[test]
fn who_puts_a_lock() {
    at_every_step(
        "put a lock",
        || Queue::create(0).unwrap(),
        put_lock,
        |queue, killed| {
            let count = locks_in(queue);
            assert!(count == 1 || killed && count == 0, "{count} locks");
        },
    );
}

#[test]
fn who_gets_a_lock() {
    at_every_step(
        "get a lock",
        queue_of_locks,
        |queue| {
            lock_in(&queue.get(watchdog()).unwrap());
        },
        |queue, killed| {
            let count = locks_in(queue);
            assert!(count == 1 || killed && count == 2, "{count} locks");
        },
    );
}

#[test]
fn who_gets_a_lock_and_does_not_look_at_it() {
    at_every_step(
        "drop a message with a lock",
        queue_of_locks,
        |queue| drop(queue.get(watchdog()).unwrap()),
        |queue, _| {
            locks_in(queue);
        },
    );
}

#[test]
fn who_drops_the_last_of_a_queue_with_locks() {
    at_every_step(
        "drop a queue with locks",
        || std::cell::Cell::new(Some(queue_of_locks())),
        |queue| drop(queue.take()),
        // The child's copy is the last when this one goes.
        |queue, _| drop(queue.take()),
    );
}

#[test]
fn who_buries_one_that_had_locks_in_its_hands() {
    at_every_step(
        "reclaim a reader of locks",
        || {
            let queue = queue_of_locks();
            killed_after(|| std::mem::forget(queue.get_many(2, watchdog()).unwrap()))
        },
        |dead| procession_engine::family().unwrap().reclaim(dead.stamp),
        |dead, _| procession_engine::family().unwrap().reclaim(dead.stamp),
    );
}

/// Counts anew what nobody but messages keeps alive.
fn recount() {
    procession_engine::family().unwrap().reclaim_all();
}

#[test]
fn what_somebody_puts_or_gets_is_not_taken_for_what_the_dead_left() {
    stopped_at_every_step(
        "put and get a lock",
        queue_of_locks,
        |queue| {
            put_lock(queue);
            let message = queue.get(watchdog()).unwrap();
            let lock = lock_in(&message);
            drop(message);
            lock.try_acquire().unwrap();
        },
        |_| recount(),
        |queue| assert_eq!(locks_in(queue), 2),
    );
}

#[test]
fn what_somebody_looks_at_later_is_not_taken_for_what_the_dead_left() {
    stopped_at_every_step(
        "get the bytes of a lock",
        queue_of_locks,
        |queue| {
            let message = queue.get(watchdog()).unwrap();
            let bytes = message
                .read(|bytes, _| Ok::<_, ()>(bytes.to_vec()))
                .unwrap();
            drop(message);
            attach(&bytes, &HandleSource::UNTRACKED)
                .unwrap()
                .try_acquire()
                .unwrap();
        },
        |_| recount(),
        |queue| assert_eq!(locks_in(queue), 1),
    );
}

#[test]
fn what_somebody_drops_is_counted_once() {
    stopped_at_every_step(
        "drop a message with a lock",
        queue_of_locks,
        |queue| drop(queue.get(watchdog()).unwrap()),
        |queue| {
            recount();
            // Where the dropped one lay, if that was destroyed.
            put_lock(queue);
            put_lock(queue);
        },
        |queue| assert_eq!(locks_in(queue), 3),
    );
}
