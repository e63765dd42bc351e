//! The error of a queue that does not take a block.

use std::fmt;

use procession_shm::Block;
use procession_sys::error::Error;

/// Says why a block could not be put, and gives it back.
#[derive(Debug)]
pub struct PutError {
    /// Why the block was not put.
    pub error: Error,
    /// The block that was to be put.
    pub block: Block,
}

impl fmt::Display for PutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for PutError {}
