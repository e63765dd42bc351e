//! What the allocators work on: the state words, and the memory behind them.
//!
//! The arena implements it as [`Space`](crate::alloc::space::Space). The loom models
//! (`store/loom_tests.rs`) implement it with a few words and no memory, so that they can
//! kill a member in the middle of an allocation and check what others make of it.

use crate::alloc::layout::{ArenaHeader, Layout};
use procession_sys::error::Result;
use procession_sys::primitive::{AtomicU32, AtomicU64};

/// The words of chunks and blocks, and the memory of chunks.
pub trait BackingStore {
    /// Returns where the parts lie.
    fn layout(&self) -> Layout;

    /// Returns the header.
    fn header(&self) -> &ArenaHeader;

    /// Returns the word of a chunk.
    fn chunk_word(&self, chunk: u64) -> &AtomicU64;

    /// Returns the flags of a chunk: bit 0, backed; the rest, free blocks.
    fn chunk_flags(&self, chunk: u64) -> &AtomicU32;

    /// Returns the word of a block in a span.
    fn block_word(&self, chunk: u64, index: u64) -> &AtomicU64;

    /// Backs the fixed part's pages that hold `[offset, offset + len)`.
    ///
    /// # Errors
    /// `OutOfMemory` when the system has none left.
    fn commit_table(&self, offset: u64, len: u64) -> Result<()>;

    /// Backs chunks with memory.
    ///
    /// # Errors
    /// `OutOfMemory` when the system has none left.
    fn back(&self, first: u64, count: u64) -> Result<()>;

    /// Gives the memory of chunks back.
    ///
    /// # Errors
    /// When the kernel keeps it.
    fn unback(&self, first: u64, count: u64) -> Result<()>;
}

#[cfg(all(test, loom))]
mod loom_tests;
