//! What the threads of this process have taken of a lock or semaphore.
//!
//! The engine knows which process holds what; `multiprocessing` also tells
//! whether the calling thread was the last of its process to take it
//! (`Condition` asks), and how often the process did.

use procession_engine::Result;
use procession_engine::arena::Family;
use procession_engine::os::thread::this_thread;
use procession_engine::os::time::Deadline;
use procession_engine::primitive::{AtomicU32, AtomicU64, Ordering};
use pyo3::prelude::*;

use crate::error::to_python;
use crate::wait::{deadline_of, waiting};

/// Counts what this process has taken and not given back.
///
/// The counts are Relaxed: they are read and written with the GIL held, and in
/// a forked child the stamp tells that they are the parent's.
#[derive(Default)]
pub struct Held {
    stamp: AtomicU32,
    count: AtomicU32,
    thread: AtomicU64,
}

impl Held {
    /// Notes that this thread took it once.
    #[inline]
    pub fn took(&self) {
        let stamp = stamp();
        let count = self.count_of(stamp);
        self.stamp.store(stamp, Ordering::Relaxed);
        self.thread.store(this_thread(), Ordering::Relaxed);
        self.count.store(count.saturating_add(1), Ordering::Relaxed);
    }

    /// Notes that this process gave it back once.
    #[inline]
    pub fn gave(&self) {
        self.count
            .store(self.count().saturating_sub(1), Ordering::Relaxed);
    }

    /// Returns how often this process took it and has not given it back.
    pub fn count(&self) -> u32 {
        self.count_of(stamp())
    }

    fn count_of(&self, stamp: u32) -> u32 {
        if self.stamp.load(Ordering::Relaxed) == stamp {
            self.count.load(Ordering::Relaxed)
        } else {
            0
        }
    }

    /// Tells whether this thread took it, as the last one of its process.
    pub fn is_mine(&self) -> bool {
        self.count() > 0 && self.thread.load(Ordering::Relaxed) == this_thread()
    }
}

/// Takes something: at once if it is free, else without the GIL. Tells
/// whether it could before the time was over.
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

fn stamp() -> u32 {
    Family::existing().map_or(0, |family| family.me().raw())
}
