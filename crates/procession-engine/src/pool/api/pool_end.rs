//! Why a pool has ended.

use std::fmt;

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
    /// Workers could not be started, or died too often.
    Workers(Error),
}

impl fmt::Display for PoolEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the pool is closed and its workers have ended"),
            Self::Terminated => f.write_str("the pool was terminated"),
            Self::Initializer(_) => f.write_str("a worker's initializer failed"),
            Self::Workers(error) => error.fmt(f),
        }
    }
}
