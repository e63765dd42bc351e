//! Publishing what this process is parked on, for processes that ask for its state, and for a
//! trace.
//!
//! Leaves out what the number means to people: `process::State` words it. With
//! several threads parked, the last to park is the one that is seen.

use crate::trace::{self, ObjectId};
use procession_shm::{SharedBody, SharedObject, Stamp};
use procession_sys::primitive::{AtomicU64, Ordering};

/// Says that this process waits on an object, until dropped.
pub(crate) struct BlockedOn<'a> {
    cell: &'a AtomicU64,
    value: u64,
    /// The object of the wait that a trace was told of.
    told: Option<ObjectId>,
}

impl BlockedOn<'static> {
    /// Publishes that `me` waits on `object`.
    pub(crate) fn on<B: SharedBody>(object: &SharedObject<B>, me: Stamp) -> Self {
        let cell = &object.family().member(me).waiting_on;
        let value = (B::KIND as u64) << 56 | object.handle().serial;
        // Relaxed: read for display alone.
        cell.store(value, Ordering::Relaxed);
        let told = object.family().is_traced().then(|| ObjectId::of(object));
        if let Some(object) = told {
            trace::wait_begins(object);
        }
        Self { cell, value, told }
    }
}

impl Drop for BlockedOn<'_> {
    fn drop(&mut self) {
        if let Some(object) = self.told {
            trace::wait_ends(object);
        }
        // Another thread may have stored what it waits on since.
        let _ = self
            .cell
            .compare_exchange(self.value, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}
