//! Queues and pipes across real forks and kills.

#[path = "../family/mod.rs"]
mod family;
#[path = "../family/pipe_end.rs"]
mod pipe_end;
#[path = "../family/segments.rs"]
mod segments;

mod stepping;

mod queue;
mod queue_kills;

mod lent;
mod line;
mod pipe;

mod wait;

use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError};

use procession_engine::shm::SharedObject;

use family::watchdog;

/// Counts of the entire arena are compared: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Passes the time until `done`, or fails after a minute.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = watchdog();
    while !done() {
        assert!(!end.has_passed(), "{what}: nothing in a minute");
        std::thread::yield_now();
    }
}

/// Words that the test and its children share.
type Words = SharedObject<[AtomicU64; 4096]>;

fn words() -> Words {
    SharedObject::create(procession_engine::family().unwrap(), 0).unwrap()
}

fn word(words: &Words, index: usize) -> &AtomicU64 {
    &words.body()[index]
}

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
