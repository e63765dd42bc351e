//! The interface by which a face starts a pool's workers.

use std::os::fd::BorrowedFd;

use crate::process::{Child, ExitStatus};
use procession_shm::{Handle, Stamp};
use procession_sys::error::Result;

/// Starts worker processes; the face chooses the start method.
pub trait WorkerStarter: Send + Sync + 'static {
    /// Starts a process that joins with [`Worker::attach`] and ends with this
    /// one. The leader calls it without holding any lock of the pool.
    ///
    /// # Errors
    /// When no process can be started; `Interrupted` when a signal came before the attempt.
    /// Nothing is left behind then.
    ///
    /// [`Worker::attach`]: crate::pool::Worker::attach
    fn start(&self, spec: WorkerSpec) -> Result<Box<dyn WorkerProcess>>;
}

/// The arguments of a new worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerSpec {
    /// Its place in the pool, from 0; a later worker may have it again.
    pub index: u32,
    /// The handle of its channel.
    pub channel: Handle,
}

/// A worker process, as the pool that owns it uses it.
pub trait WorkerProcess: Send {
    /// Returns its stamp in the family.
    fn stamp(&self) -> Stamp;

    /// Returns its process id.
    fn pid(&self) -> u32;

    /// Returns a descriptor that is readable once the process has ended; opens it again if
    /// the program has closed it.
    ///
    /// # Errors
    /// `Dead` when the process has ended and been reaped; `Limit` when no descriptor is left.
    fn watch(&self) -> Result<BorrowedFd<'_>>;

    /// Tells whether the first descriptor by which it was watched is still open.
    fn is_watched(&self) -> bool;

    /// Tells whether it has ended.
    fn is_dead(&self) -> bool;

    /// Returns its exit status once it has ended, and reclaims it.
    ///
    /// # Errors
    /// When the exit status cannot be read.
    fn try_wait(&self) -> Result<Option<ExitStatus>>;

    /// Sends it a signal, if it still runs.
    ///
    /// # Errors
    /// When it may not be sent.
    fn signal(&self, signal: i32) -> Result<()>;
}

impl WorkerProcess for Child {
    fn stamp(&self) -> Stamp {
        Self::stamp(self)
    }

    fn pid(&self) -> u32 {
        Self::pid(self)
    }

    fn watch(&self) -> Result<BorrowedFd<'_>> {
        Self::watch(self)
    }

    fn is_watched(&self) -> bool {
        Self::is_watched(self)
    }

    fn is_dead(&self) -> bool {
        Self::is_dead(self)
    }

    fn try_wait(&self) -> Result<Option<ExitStatus>> {
        Self::try_wait(self)
    }

    fn signal(&self, signal: i32) -> Result<()> {
        Self::signal(self, signal).map(drop)
    }
}
