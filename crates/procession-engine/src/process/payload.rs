//! Bytes that cross between two processes: in with a start, out with an end.

use std::ops::Deref;

use crate::arena::Block;
use crate::error::Result;

/// Owns the bytes at the beginning of a block.
#[derive(Debug)]
pub struct Payload {
    block: Block,
    len: usize,
}

impl Payload {
    /// Makes a payload of the first `len` bytes of a block, or of all if there
    /// are fewer.
    #[must_use]
    pub fn new(block: Block, len: usize) -> Self {
        let len = len.min(usize::try_from(block.capacity()).unwrap_or(usize::MAX));
        Self { block, len }
    }

    /// Copies bytes into a block of their own.
    ///
    /// # Errors
    /// `OutOfMemory` when the arena or the machine is full.
    pub fn copy_of(bytes: &[u8]) -> Result<Self> {
        let mut block = Block::new(bytes.len() as u64)?;
        block[..bytes.len()].copy_from_slice(bytes);
        Ok(Self::new(block, bytes.len()))
    }

    /// Returns the block and how many of its bytes are the payload.
    #[must_use]
    pub fn into_parts(self) -> (Block, usize) {
        (self.block, self.len)
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.block[..self.len]
    }
}
