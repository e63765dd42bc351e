//! A thread that no signal reaches.
//!
//! A signal for the process must find a thread of the program: one that waits
//! would be interrupted, and does not learn of what another took.
//!
//! # Safety
//! The two calls that change the mask get initialised sets.

#![expect(unsafe_code, reason = "pthread_sigmask")]

use std::mem::MaybeUninit;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

use crate::error::{Error, Result};

/// Bytes of the thread's stack: it does little.
const STACK: usize = 256 << 10;

/// Holds a thread that works aside.
#[derive(Debug)]
pub struct DeafThread {
    handle: JoinHandle<()>,
    /// Its number, once it runs.
    number: Arc<AtomicU32>,
}

impl DeafThread {
    /// Starts a thread; it inherits what the calling one has (processors,
    /// priority), but has all signals blocked.
    ///
    /// # Errors
    /// `Limit` when there can be no other thread.
    pub fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<Self> {
        let number = Arc::new(AtomicU32::new(0));
        let told = Arc::clone(&number);
        let builder = thread::Builder::new().name(name.into()).stack_size(STACK);
        let before = block_all();
        let started = builder.spawn(move || {
            let own = rustix::thread::gettid().as_raw_nonzero().get();
            told.store(own.unsigned_abs(), Ordering::Relaxed);
            work();
        });
        restore(&before);
        let handle = started.map_err(|e| Error::os(format_args!("start thread {name}"), e))?;
        Ok(Self { handle, number })
    }

    /// Ends its [`thread::park_timeout`].
    pub fn unpark(&self) {
        self.handle.thread().unpark();
    }

    /// Blocks until the thread has ended, and the system does not count it any
    /// more.
    pub fn join(self) {
        // It panicked: whoever needs what it did will do that again.
        let _ = self.handle.join();
        let number = self.number.load(Ordering::Relaxed);
        let path = format!("/proc/self/task/{number}");
        // For an instant: the joiner is let go before the thread is quite gone.
        while Path::new(&path).exists() {
            thread::yield_now();
        }
    }

    /// Forgets the thread in a forked process, which has none.
    pub fn forget(self) {
        std::mem::forget(self.handle);
    }
}

fn block_all() -> libc::sigset_t {
    let mut all = MaybeUninit::uninit();
    // SAFETY: the set is there to be initialised; it cannot fail.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    let mut before = MaybeUninit::uninit();
    // SAFETY: the first set was initialised just above, the second is room for
    // an answer. It fails for wrong commands only.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
    // SAFETY: filled by the call above.
    unsafe { before.assume_init() }
}

fn restore(mask: &libc::sigset_t) {
    // SAFETY: the mask is one that was in force; a null is allowed.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, mask, std::ptr::null_mut()) };
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
        let thread = DeafThread::start("deaf", move || tell.send(blocked()).unwrap()).unwrap();
        let interrupt = 1 << (libc::SIGINT - 1);
        assert_ne!(told.recv().unwrap() & interrupt, 0);
        thread.join();
        assert_eq!(blocked(), before);
    }
}
