//! Why a pool has ended.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use procession_sys::error::Error;

/// Why a pool runs no more tasks.
#[derive(Debug)]
pub enum PoolEnd {
    /// It was closed, and has done all its tasks.
    Closed,
    /// It was terminated.
    Terminated,
    /// A worker could not set itself up; its face's report of that.
    Initializer(Vec<u8>),
    /// A worker took too long to set itself up.
    SetupTimedOut(SetupOverrun),
    /// Workers could not be started, or died too often.
    Workers(Error),
}

/// The end of a worker that took too long to set itself up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupOverrun {
    /// What was to set it up.
    pub name: Arc<str>,
    /// The process id of the worker, which was ended.
    pub pid: u32,
    /// Its place in the pool.
    pub index: u32,
    /// How long it was allowed to take.
    pub limit: Duration,
}

impl fmt::Display for SetupOverrun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} took longer than {} s to set up worker {} (process {}), which was ended, and \
             its pool with it",
            self.name,
            self.limit.as_secs_f64(),
            self.index,
            self.pid
        )
    }
}

impl fmt::Display for PoolEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the pool is closed and its workers have ended"),
            Self::Terminated => f.write_str("the pool was terminated"),
            Self::Initializer(_) => f.write_str("a worker's initializer failed"),
            Self::SetupTimedOut(overrun) => overrun.fmt(f),
            Self::Workers(error) => error.fmt(f),
        }
    }
}
