//! A count of what the threads of this process have taken of a lock or semaphore.
//!
//! The engine knows which process holds a lock. `multiprocessing` also tells whether
//! the calling thread was the last of its process to take it (`Condition` asks), and
//! how often the process has taken it.

use procession_engine::shm::Family;
use procession_engine::sys::attributes::thread::this_thread;
use procession_engine::sys::primitive::{AtomicU64, Ordering};
use procession_engine::sys::wait::time::Deadline;
use procession_engine::{ErrorKind, Result};
use pyo3::prelude::*;

use crate::blocking::{deadline_of, waiting};
use crate::error::to_python;

/// Counts how often this process has taken the lock and not given it back.
///
/// A thread lowers the count before it gives the lock back: right after that, another
/// thread may have taken the lock and counted it.
#[derive(Default)]
pub struct Held {
    /// The stamp of the process in the upper half, so that a forked child sees that the
    /// count is its parent's; the count in the lower half.
    word: AtomicU64,
    /// The last thread that took it.
    thread: AtomicU64,
}

impl Held {
    /// Notes that this thread took a lock that only one can have.
    #[inline]
    pub fn took_alone(&self) {
        self.thread.store(this_thread(), Ordering::Relaxed);
        // Release pairs with the Acquire in `is_mine`: a thread that sees the count sees
        // whose it is.
        self.word.store(counted(stamp(), 1), Ordering::Release);
    }

    /// Notes that this process is about to give back a lock that only one can have.
    #[inline]
    pub fn gives_alone(&self) {
        // Relaxed: the thread that takes the lock next has synchronised by it.
        self.word.store(0, Ordering::Relaxed);
    }

    /// Notes that this thread took it once.
    #[inline]
    pub fn took(&self) {
        let stamp = stamp();
        self.thread.store(this_thread(), Ordering::Relaxed);
        // Release pairs with the Acquire in `is_mine`.
        self.update(|word| counted(stamp, count_of(word, stamp).saturating_add(1)));
    }

    /// Notes that this process is about to give it back once; tells whether the process had it.
    #[inline]
    pub fn gives(&self) -> bool {
        let stamp = stamp();
        let before = self.update(|word| counted(stamp, count_of(word, stamp).saturating_sub(1)));
        count_of(before, stamp) > 0
    }

    /// Undoes `gives`, as it could not be given back.
    pub fn kept(&self) {
        let stamp = stamp();
        self.update(|word| counted(stamp, count_of(word, stamp).saturating_add(1)));
    }

    fn update(&self, change: impl Fn(u64) -> u64) -> u64 {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let swap = self.word.compare_exchange_weak(
                word,
                change(word),
                Ordering::Release,
                Ordering::Relaxed,
            );
            match swap {
                Ok(before) => return before,
                Err(now) => word = now,
            }
        }
    }

    /// Returns how often this process took it and has not given it back.
    pub fn count(&self) -> u32 {
        // Acquire pairs with the Release of the thread that counted.
        count_of(self.word.load(Ordering::Acquire), stamp())
    }

    /// Tells whether this thread took it, as the last one of its process.
    pub fn is_mine(&self) -> bool {
        self.count() > 0 && self.thread.load(Ordering::Relaxed) == this_thread()
    }
}

fn counted(stamp: u32, count: u32) -> u64 {
    u64::from(stamp) << 32 | u64::from(count)
}

fn count_of(word: u64, stamp: u32) -> u32 {
    if (word >> 32) as u32 == stamp {
        word as u32
    } else {
        0
    }
}

/// Takes a lock or permit: at once if it is free, else without the GIL. Tells whether
/// that succeeded before the time was over.
pub fn acquire(
    py: Python<'_>,
    block: bool,
    timeout: Option<f64>,
    try_once: impl Fn() -> Result<bool>,
    wait: impl Fn(Deadline) -> Result<()> + Sync,
) -> PyResult<bool> {
    if try_once().map_err(to_python)? {
        return Ok(true);
    }
    let end = deadline_of(block, timeout)?;
    if end.has_passed() {
        return Ok(false);
    }
    Ok(waiting(py, end, wait)?.is_some())
}

/// Turns the outcome of an attempt that did not wait into whether it took something.
pub fn acquire_now(attempt: Result<()>) -> PyResult<bool> {
    match attempt {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::TimedOut => Ok(false),
        Err(error) => Err(to_python(error)),
    }
}

fn stamp() -> u32 {
    Family::existing().map_or(0, |family| family.me().raw())
}
