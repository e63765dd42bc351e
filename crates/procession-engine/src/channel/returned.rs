//! What a queue says when it does not take a block.

use std::fmt;

use crate::arena::Block;
use crate::error::Error;

/// Says why a block could not be put, and gives it back.
#[derive(Debug)]
pub struct Returned {
    /// Why.
    pub error: Error,
    /// What was to be put.
    pub block: Block,
}

impl fmt::Display for Returned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Returned {}
