//! What messages and arguments lend, and what becomes of it when their readers die.
//!
//! The tests run one at a time: they count what the whole family has, and a fork beside
//! the threads of others may find the locks of the standard library taken.

#![expect(unsafe_code, reason = "starts by fork")]

mod alone;
mod watchdog;

use alone::alone;
use procession::{Event, Lock, Pool, Process, Queue, StartMethod, active_children, pipe, wait};
use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Deserializer, Serialize};
use watchdog::watch;

/// Kills whoever reads it, before they come to what follows.
#[derive(Clone, Copy, Serialize)]
struct Deadly;

impl<'de> Deserialize<'de> for Deadly {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        kill_process(getpid(), Signal::KILL).unwrap();
        unreachable!("a killed process goes on")
    }
}

/// Kills the first who reads it.
#[derive(Serialize)]
struct DeadlyOnce(Event);

impl<'de> Deserialize<'de> for DeadlyOnce {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let happened = Event::deserialize(deserializer)?;
        if !happened.is_set() {
            happened.set();
            kill_process(getpid(), Signal::KILL).unwrap();
        }
        Ok(Self(happened))
    }
}

type Message = (Deadly, Lock);

fn objects() -> u64 {
    procession_engine::family().unwrap().usage().objects
}

fn read(queue: Queue<Message>) {
    let _ = queue.get();
}

#[procession::test]
fn a_lock_in_a_message_goes_with_the_reader_that_dies_of_it() {
    let _alone = alone();
    let _watchdog = watch();
    let queue = Queue::<Message>::new().unwrap();
    // What is kept for starts is there after the first.
    let mut before = None;
    for method in [StartMethod::ForkServer, StartMethod::Spawn].repeat(2) {
        queue.put((Deadly, Lock::new().unwrap())).unwrap();
        let reader = Process::new(read).start_method(method).args(queue.clone());
        reader.start().unwrap().join().unwrap_err();
        assert!(queue.is_empty());
        if method == StartMethod::Spawn {
            assert_eq!(*before.get_or_insert_with(objects), objects());
        }
    }
}

#[procession::test]
fn locks_in_messages_that_nobody_reads_go_with_them() {
    let _alone = alone();
    let _watchdog = watch();
    let before = objects();
    let queue = Queue::new().unwrap();
    let (sender, receiver) = pipe::<Lock, ()>().unwrap();
    for _ in 0..100 {
        queue.put(Lock::new().unwrap()).unwrap();
        sender.send(Lock::new().unwrap()).unwrap();
    }
    queue
        .put_many((0..100).map(|_| Lock::new().unwrap()))
        .unwrap();
    let one: Lock = queue.get().unwrap();
    one.acquire().unwrap();
    drop((queue, sender, receiver, one));
    assert_eq!(objects(), before);
}

#[procession::test]
fn a_lock_that_a_fork_was_given_goes_with_the_child_that_dies_of_it() {
    let _alone = alone();
    let _watchdog = watch();
    let before = objects();
    for _ in 0..10 {
        let process = Process::new(|_: Message| ()).args((Deadly, Lock::new().unwrap()));
        // SAFETY: the child reads its arguments, and dies of it.
        let child = unsafe { process.start_by_fork() }.unwrap();
        child.join().unwrap_err();
    }
    let held = Lock::new().unwrap();
    let process = Process::new(|lock: Lock| lock.acquire().unwrap()).args(held.clone());
    // SAFETY: the child takes a lock of the family.
    let child = unsafe { process.start_by_fork() }.unwrap();
    child.join().unwrap();
    drop(held);
    assert_eq!(objects(), before);
}

#[procession::test]
fn a_lock_in_a_task_goes_with_the_worker_that_dies_of_it() {
    let _alone = alone();
    let _watchdog = watch();
    let pool = Pool::new(1).unwrap();
    pool.apply(|| (), ()).unwrap();
    let before = objects();
    for _ in 0..10 {
        let died = pool.apply(|_: Message| (), (Deadly, Lock::new().unwrap()));
        assert!(died.unwrap_err().is_died());
    }
    pool.map(|_: Message| (), [(Deadly, Lock::new().unwrap())])
        .unwrap_err();
    assert_eq!(objects(), before);
}

#[procession::test]
fn a_task_that_is_tried_again_finds_its_lock() {
    let _alone = alone();
    let _watchdog = watch();
    let pool = Pool::new(1).unwrap();
    pool.apply(|| (), ()).unwrap();
    let before = objects();
    let input = (DeadlyOnce(Event::new().unwrap()), Lock::new().unwrap());
    let lock = pool.retries(1).apply(
        |_: DeadlyOnce, lock: Lock| {
            lock.acquire().unwrap();
            lock
        },
        input,
    );
    assert!(lock.unwrap().is_locked());
    assert_eq!(objects(), before);
}

#[procession::test]
fn what_a_task_attaches_to_is_not_at_the_cost_of_another_message() {
    let _alone = alone();
    let _watchdog = watch();
    let (queue, pool) = (Queue::new().unwrap(), Pool::new(1).unwrap());
    let lock = Lock::new().unwrap();
    queue.put(lock.clone()).unwrap();
    for _ in 0..3 {
        pool.apply(|lock: Lock| drop(lock), lock.clone()).unwrap();
    }
    drop((lock, pool));
    queue.get().unwrap().acquire().unwrap();
}

#[procession::test]
fn every_worker_finds_what_its_initializer_is_given() {
    let _alone = alone();
    let _watchdog = watch();
    let before = objects();
    let pool = Pool::builder()
        .workers(1)
        .initializer(
            |lock: Lock| assert!(!lock.is_locked()),
            Lock::new().unwrap(),
        )
        .start()
        .unwrap();
    for _ in 0..3 {
        pool.apply(|_: Deadly| (), Deadly).unwrap_err();
        pool.apply(|| (), ()).unwrap();
    }
    drop(pool);
    assert_eq!(objects(), before);
}

#[procession::test]
fn a_lock_that_a_process_brings_home_goes_with_a_result_that_nobody_fetches() {
    let _alone = alone();
    let _watchdog = watch();
    let start = || Process::new(|| Lock::new().unwrap()).start().unwrap();
    start().join().unwrap().acquire().unwrap();
    let before = objects();
    let child = start();
    wait(&[&child], None).unwrap();
    drop(child);
    assert!(active_children().is_empty());
    assert_eq!(objects(), before);
}
