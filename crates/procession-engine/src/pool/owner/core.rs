//! What all threads of a pool's process share: its state, its lead, its collector.
//!
//! Leaves out what they do with it: [`event_loop`](super::event_loop) leads,
//! [`background`](super::background) collects, [`cancel`](super::cancel) cancels.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::pool::api::outcome::Sink;
use crate::pool::api::starter::WorkerStarter;
use crate::pool::owner::function_names::FunctionNames;
use crate::pool::owner::leadership::Leadership;
use crate::pool::owner::scheduler::{PoolState, Sleeper};
use crate::pool::owner::watch::Watch;
use crate::pool::owner::worker_slot::WorkerSlot;
use crate::pool::shm::summary::PoolSummary;
use procession_shm::{Family, Stamp};
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::wait::futex::{self, Scope};
use procession_sys::wait::signal::Signal;

/// A pool, as all threads of its process have it.
pub(crate) struct PoolCore<S: Sink> {
    pub family: &'static Family,
    pub owner: Stamp,
    pub sink: S,
    pub starter: Box<dyn WorkerStarter>,
    pub state: Mutex<PoolState<S::Token>>,
    pub lead: Leadership,
    /// Given when a worker was started, or could not be.
    pub started: Signal,
    /// The names of functions, by the labels of their tasks.
    pub names: Arc<FunctionNames>,
    /// What viewers outside of the family see of this pool.
    pub summary: Arc<PoolSummary>,
    /// After how many tasks a worker is replaced.
    pub tasks_per_worker: Option<u32>,
    /// The futex that the collector parks on; see `background.rs`.
    pub collector_wake: AtomicU32,
    pub collector: Mutex<Option<JoinHandle<()>>>,
}

impl<S: Sink> PoolCore<S> {
    pub(crate) fn lock(&self) -> MutexGuard<'_, PoolState<S::Token>> {
        // No face is called under the mutex, so only a panic in the engine itself can
        // poison it; continuing is better than failing every later call.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn check_owner(&self) -> Result<()> {
        if self.family.me() == self.owner {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::NotOwner,
            "the pool belongs to the process that made it, not to this forked copy",
        ))
    }

    /// Wakes the leader if it sleeps, to look at the state again. The caller holds the mutex,
    /// or else the leader could fall asleep between the change and this call.
    pub(crate) fn wake_leader(&self, state: &PoolState<S::Token>) {
        if state.sleeper != Sleeper::Nobody {
            state.watch.ring(self.family);
        }
    }

    /// Wakes the collector if it naps or sleeps.
    pub(crate) fn wake_collector(&self) {
        self.collector_wake.fetch_add(1, Ordering::SeqCst);
        futex::wake(&self.collector_wake, 1, Scope::Private);
    }

    /// Waits until the collector has ended. The pool has ended, and the collector was woken.
    pub(crate) fn join_collector(&self) {
        let thread = self.collector().take();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            // An error means that a delivery panicked, which was reported then.
            let _ = thread.join();
        }
    }

    pub(crate) fn collector(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.collector
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The descriptors that the leader sleeps on.
impl<S: Sink> PoolCore<S> {
    /// Replaces descriptors that the program has closed.
    pub(crate) fn renew_watch(&self) -> Result<()> {
        let fresh = Watch::new(self.family)?;
        let mut state = self.lock();
        let mut ended = Vec::new();
        self.summary.moved(fresh.number);
        for slot in &state.slots {
            // Relaxed: if a ring still goes to the old doorbell, the leader looks when its
            // slice ends.
            slot.channel.doorbell.store(fresh.number, Ordering::Relaxed);
            if !fresh.add(slot.process.as_ref(), slot.key)? {
                ended.push(slot.key);
            }
        }
        state.exits.append(&mut ended);
        state.watch = Arc::new(fresh);
        Ok(())
    }

    /// Adds a worker that was just started to the current set.
    pub(crate) fn watch_worker(&self, slot: &WorkerSlot<S::Token>) -> Result<()> {
        let watch = Arc::clone(&self.lock().watch);
        match watch.add(slot.process.as_ref(), slot.key) {
            Err(error) if error.kind() == ErrorKind::Stale => {
                self.renew_watch()?;
                let watch = Arc::clone(&self.lock().watch);
                slot.channel.doorbell.store(watch.number, Ordering::Relaxed);
                watch.add(slot.process.as_ref(), slot.key).map(drop)
            }
            // If the worker has ended already, a later look of the leader finds that.
            result => result.map(drop),
        }
    }

    /// Finds dead workers whose exit went unreported because the program has closed their
    /// descriptors.
    pub(crate) fn find_unreported_exits(&self) {
        let mut state = self.lock();
        let unreported =
            |slot: &&WorkerSlot<S::Token>| !slot.process.is_watched() && slot.process.is_dead();
        let mut keys: Vec<_> = state
            .slots
            .iter()
            .filter(unreported)
            .map(|slot| slot.key)
            .collect();
        state.exits.append(&mut keys);
    }
}
