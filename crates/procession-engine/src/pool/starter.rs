//! How a face gives a pool its workers.

use std::os::fd::BorrowedFd;

use crate::arena::{Handle, Stamp};
use crate::error::Result;
use crate::process::{Child, ExitStatus};

/// Starts worker processes, by whatever start method.
pub trait WorkerStarter: Send + Sync + 'static {
    /// Starts a process that joins with [`Worker::attach`] and ends with this
    /// one. It is called by whoever leads, without any lock of the pool.
    ///
    /// # Errors
    /// When no process can be had. Nothing is left behind then.
    ///
    /// [`Worker::attach`]: super::Worker::attach
    fn start(&self, opening: Opening) -> Result<Box<dyn WorkerProcess>>;
}

/// What a new worker is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Its place in the pool, from 0; a later worker may have it again.
    pub index: u32,
    /// What it attaches to.
    pub lane: Handle,
}

/// A worker process as its pool sees it.
pub trait WorkerProcess: Send {
    /// Returns who it is in the family.
    fn stamp(&self) -> Stamp;

    /// Returns its process id.
    fn pid(&self) -> u32;

    /// Returns the descriptor that is readable once it has ended.
    fn sentinel(&self) -> BorrowedFd<'_>;

    /// Returns how it ended, once it has, and has it buried.
    ///
    /// # Errors
    /// When that cannot be learnt.
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

    fn sentinel(&self) -> BorrowedFd<'_> {
        Self::sentinel(self)
    }

    fn try_wait(&self) -> Result<Option<ExitStatus>> {
        Self::try_wait(self)
    }

    fn signal(&self, signal: i32) -> Result<()> {
        Self::signal(self, signal).map(drop)
    }
}
