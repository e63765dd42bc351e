//! What messages and arguments lend, and what becomes of it when their readers die.
//!
//! The tests run one at a time: they count what the whole family has, and a fork beside
//! the threads of others may find the locks of the standard library taken.

#![expect(unsafe_code, reason = "starts by fork")]

mod alone;
mod watchdog;

use alone::alone;
use procession::{Lock, Process, Queue, StartMethod, pipe};
use procession_engine::arena::Family;
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

type Message = (Deadly, Lock);

fn objects() -> u64 {
    Family::get().unwrap().usage().objects
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
