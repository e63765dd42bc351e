//! Bytes that cross between two processes: in with a start, out with an end.

use std::ops::Deref;

use crate::family;
use procession_shm::transfer::loans;
use procession_shm::{Block, HandleSource, Stamp};
use procession_sys::error;

/// Owns the bytes at the beginning of a block, which carries the handles among them.
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
    pub fn copy_of(bytes: &[u8]) -> error::Result<Self> {
        let block = Block::of(family()?, &[bytes], bytes.len() as u64)?;
        Ok(Self::new(block, bytes.len()))
    }

    /// Calls `read` with the bytes. `read` may attach to the objects whose handles are in the
    /// bytes; the objects that it has not attached to when it fails are released.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn read<T, E>(
        &self,
        read: impl FnOnce(&[u8], &HandleSource) -> Result<T, E>,
    ) -> Result<T, E> {
        loans::reading(&self.block, |source| read(self, source))
    }

    /// Returns the block and how many of its bytes are the payload.
    #[must_use]
    pub fn into_parts(self) -> (Block, usize) {
        (self.block, self.len)
    }

    /// Takes over a payload that was given to this process, by its place and its
    /// length, as [`give`](Self::give) has returned them.
    ///
    /// # Errors
    /// `Stale` when this process does not own such a block.
    pub(crate) fn claim((offset, len): (u64, u64)) -> error::Result<Self> {
        let block = Block::claim(offset, family()?.me())?;
        Ok(Self::new(block, usize::try_from(len).unwrap_or(0)))
    }

    /// Gives the payload to a member that is about to start; returns its place and its
    /// length.
    ///
    /// # Errors
    /// `Stale` when this process does not own it (a forked copy).
    pub(crate) fn give(self, member: Stamp) -> error::Result<(u64, u64)> {
        Ok((self.block.give(member)?, self.len as u64))
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.block[..self.len]
    }
}
