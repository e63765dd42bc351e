//! A thread that no signal reaches.
//!
//! A signal for the process must reach a thread of the program, so that it interrupts
//! the thread's wait; if this thread took the signal, the program would not notice.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

use crate::error::Result;
use crate::process::fork::refusal;
use crate::signals::BlockedSignals;

/// Bytes of the thread's stack: it does little.
pub(crate) const STACK: usize = 256 << 10;

/// Holds a background thread.
#[derive(Debug)]
pub struct MaskedThread {
    handle: JoinHandle<()>,
    /// Its number, once it runs.
    number: Arc<AtomicU32>,
}

impl MaskedThread {
    /// Starts a thread; it inherits processors and priority of the calling one, but no
    /// signal reaches it.
    ///
    /// # Errors
    /// `Limit` when there can be no other thread.
    pub fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<Self> {
        let number = Arc::new(AtomicU32::new(0));
        let told = Arc::clone(&number);
        let builder = thread::Builder::new().name(name.into()).stack_size(STACK);
        let held_back = BlockedSignals::all();
        let started = builder.spawn(move || {
            told.store(own_number(), Ordering::Relaxed);
            work();
        });
        drop(held_back);
        let handle = started.map_err(|e| refusal(&format!("start thread {name}"), e))?;
        Ok(Self { handle, number })
    }

    /// Ends its [`thread::park_timeout`].
    pub fn unpark(&self) {
        self.handle.thread().unpark();
    }

    /// Blocks until the thread has ended and the system has ceased to count it.
    pub fn join(self) {
        // It panicked: a caller that needs its work does the work again.
        let _ = self.handle.join();
        wait_until_gone(self.number.load(Ordering::Relaxed));
    }

    /// Forgets the thread in a forked process, which has none.
    pub fn forget(self) {
        std::mem::forget(self.handle);
    }
}

/// Returns the number of the calling thread, by which the system knows it.
#[must_use]
pub fn own_number() -> u32 {
    rustix::thread::gettid().as_raw_pid().unsigned_abs()
}

/// Blocks until the system has ceased to count a thread that was joined: a join returns
/// an instant before the thread is quite gone.
pub(crate) fn wait_until_gone(number: u32) {
    let path = format!("/proc/self/task/{number}");
    while Path::new(&path).exists() {
        thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn it_has_all_signals_blocked_and_the_starter_has_not() {
        let blocked = || {
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            let line = status.lines().find(|line| line.starts_with("SigBlk:"));
            u64::from_str_radix(line.unwrap().split_once('\t').unwrap().1, 16).unwrap()
        };
        let before = blocked();
        let (tell, told) = channel();
        let thread = MaskedThread::start("deaf", move || tell.send(blocked()).unwrap()).unwrap();
        let interrupt = 1 << (libc::SIGINT - 1);
        assert_ne!(told.recv().unwrap() & interrupt, 0);
        thread.join();
        assert_eq!(blocked(), before);
    }
}
