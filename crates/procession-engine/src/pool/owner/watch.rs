//! The descriptors that a leader sleeps on: a doorbell, and one for each worker's exit.
//!
//! The program may close these descriptors at any time. Then rings and exits would not be
//! noticed, so a leader checks whether they are still open, and replaces them if not.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::pool::api::starter::WorkerProcess;
use procession_shm::Family;
use procession_sys::error::{ErrorKind, Result};
use procession_sys::wait::doorbell::{self, Doorbell};
use procession_sys::wait::epoll::Epoll;

/// The doorbells of pools have numbers from here on.
const FIRST_DOORBELL: u32 = 0x8000_0000;

/// The key of the doorbell in the set of descriptors; keys of slots are greater.
pub(crate) const DOORBELL: u64 = 0;

/// A set of descriptors with a doorbell, which has a number of its own.
#[derive(Debug)]
pub(crate) struct Watch {
    pub epoll: Epoll,
    /// The doorbell's number.
    pub number: u32,
}

impl Watch {
    pub(crate) fn new(family: &Family) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(FIRST_DOORBELL);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let bell = Doorbell::bind(family.id(), family.me().raw(), number)?;
        Ok(Self {
            epoll: Epoll::new(bell, DOORBELL)?,
            number,
        })
    }

    /// Adds a worker, whose exit is then reported under a key; false if it has ended already.
    pub(crate) fn add(&self, worker: &dyn WorkerProcess, key: u64) -> Result<bool> {
        match worker.watch() {
            Ok(end) => self.epoll.add(end, key).map(|()| true),
            Err(error) if error.kind() == ErrorKind::Dead => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes a worker, whose exit is then not reported any more.
    pub(crate) fn remove(&self, worker: &dyn WorkerProcess) {
        // Fails if it was removed before, or the program has closed the descriptor.
        if let Ok(end) = worker.watch() {
            let _ = self.epoll.remove(end);
        }
    }

    pub(crate) fn ring(&self, family: &Family) {
        // Fails only for lack of memory; then the leader looks when its slice ends.
        let _ = doorbell::ring(family.id(), family.me().raw(), self.number);
    }
}
