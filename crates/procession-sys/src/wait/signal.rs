//! Tells threads of one process that what they wait for may have come.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{Error, ErrorKind, Result};
use crate::wait::futex::{self, Scope, Woken};
use crate::wait::time::Deadline;

/// Wakes threads of this process that wait for a change.
#[derive(Debug, Default)]
pub struct Signal {
    /// Changes with each notification; threads park on it.
    epoch: AtomicU32,
    parked: AtomicU32,
}

impl Signal {
    /// Wakes all that wait, to look again. It makes no system call when nobody does.
    pub fn notify(&self) {
        // SeqCst: a waiter counts itself before it reads the epoch and looks.
        self.epoch.fetch_add(1, Ordering::SeqCst);
        if self.parked.load(Ordering::SeqCst) != 0 {
            futex::wake(&self.epoch, u32::MAX, Scope::Private);
        }
    }

    /// Waits until `done` or the deadline; tells whether it is done.
    ///
    /// # Errors
    /// `Interrupted` when a signal of the system arrived.
    pub fn wait(&self, done: &dyn Fn() -> bool, deadline: Deadline) -> Result<bool> {
        self.parked.fetch_add(1, Ordering::SeqCst);
        let result = self.park(done, deadline);
        self.parked.fetch_sub(1, Ordering::SeqCst);
        result
    }

    fn park(&self, done: &dyn Fn() -> bool, deadline: Deadline) -> Result<bool> {
        loop {
            let epoch = self.epoch.load(Ordering::SeqCst);
            if done() {
                return Ok(true);
            }
            match futex::wait(&self.epoch, epoch, deadline, Scope::Private) {
                Woken::Changed => {}
                Woken::TimedOut => return Ok(done()),
                Woken::Interrupted => {
                    return Err(Error::new(ErrorKind::Interrupted, "a signal arrived"));
                }
            }
        }
    }
}
