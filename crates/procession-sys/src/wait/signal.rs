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
        if self.is_awaited() {
            futex::wake(&self.epoch, u32::MAX, Scope::Private);
        }
    }

    /// Waits until `done` or the deadline; tells whether it is done.
    ///
    /// # Errors
    /// `Interrupted` when a signal of the system arrived.
    pub fn wait(&self, done: &dyn Fn() -> bool, deadline: Deadline) -> Result<bool> {
        loop {
            match self.wait_once(done, deadline) {
                Woken::Changed if done() => return Ok(true),
                Woken::Changed => {}
                Woken::TimedOut => return Ok(done()),
                Woken::Interrupted => {
                    return Err(Error::new(
                        ErrorKind::Interrupted,
                        "a signal arrived during a wait for another thread",
                    ));
                }
            }
        }
    }

    /// Waits for the next notification, or the deadline; does not wait if it is `done`.
    pub fn wait_once(&self, done: &dyn Fn() -> bool, deadline: Deadline) -> Woken {
        self.parked.fetch_add(1, Ordering::SeqCst);
        let epoch = self.epoch.load(Ordering::SeqCst);
        let woken = if done() {
            Woken::Changed
        } else {
            futex::wait(&self.epoch, epoch, deadline, Scope::Private)
        };
        self.parked.fetch_sub(1, Ordering::SeqCst);
        woken
    }

    /// Returns a number that changes with each notification.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Tells whether any thread waits.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.parked.load(Ordering::SeqCst) != 0
    }
}
