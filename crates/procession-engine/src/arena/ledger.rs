//! What the allocators keep their books on: words, and memory behind them.
//!
//! The arena's is [`Space`](crate::arena::space::Space). Loom has another, of a few
//! words and no memory, so that it can try what follows a death in the middle of an
//! entry (`ledger/loom_tests.rs`).

use crate::arena::layout::{Header, Layout};
use crate::error::Result;
use crate::primitive::{AtomicU32, AtomicU64};

/// The words of chunks and blocks, and the memory of chunks.
pub trait Ledger {
    /// Returns where the parts lie.
    fn layout(&self) -> Layout;

    /// Returns the header.
    fn header(&self) -> &Header;

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
