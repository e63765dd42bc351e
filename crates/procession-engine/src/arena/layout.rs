//! Where everything lies in the family's memory file.
//!
//! ```text
//! header | members | chunk words | chunk flags | block words | data chunks
//! ```
//!
//! All but the data is addressed by index and sparse: a page of it gets memory
//! when the chunks it describes come into use. Nothing in front of the data
//! ever changes its meaning, so a stale index reads a word, never a payload.

use crate::arena::raw_lock::RawLock;
use crate::arena::stamp::MAX_MEMBERS;
use crate::primitive::{AtomicU32, AtomicU64};

/// Bytes in a chunk, the unit in which memory is handed to runs and spans. A model's
/// hold two of the largest blocks.
pub const CHUNK: u64 = if cfg!(loom) { 32 << 10 } else { 64 << 10 };

/// Bytes in the smallest block; a chunk of them has this many words.
pub const SMALLEST: u64 = 64;

/// Block words that each chunk may need.
pub const WORDS_PER_CHUNK: u64 = CHUNK / SMALLEST;

/// Bytes of a page: the unit of backing with memory.
pub const PAGE: u64 = 4096;

/// Bytes of one entry in the member table.
pub const MEMBER_SIZE: u64 = 128;

/// First word of the file: tells it from any other.
pub const MAGIC: u64 = 0x7072_6f63_6573_7369;

/// Changes with the layout: members of one family run the same build.
pub const VERSION: u32 = 1;

/// What the first page holds.
#[cfg_attr(loom, derive(Default))]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: AtomicU64,
    /// [`VERSION`].
    pub version: AtomicU32,
    /// Chunks that the reservation has room for.
    pub chunks: AtomicU32,
    /// The family's random number, in two halves.
    pub id: [AtomicU64; 2],
    /// Bytes of data that may be backed with memory at once.
    pub limit: AtomicU64,
    /// Serial of the newest object; each gets its own, never reused.
    pub serial: AtomicU64,
    /// Guards the handing out of chunks.
    pub chunk_lock: RawLock,
    /// Chunks at or past this one have never been used.
    pub high_water: AtomicU32,
    /// No free chunk is likely to lie before this one.
    pub first_free: AtomicU32,
    /// Chunks backed with memory (recounted before it is believed to be full).
    pub backed: AtomicU32,
    /// Free chunks that kept their memory, about.
    pub cached: AtomicU32,
    /// Members at or past this slot have never been used.
    pub members_high_water: AtomicU32,
    /// Spans per size class, about.
    pub spans: [AtomicU32; 16],
    /// Well-known objects: their handles' offset and serial.
    pub roots: [[AtomicU64; 2]; 8],
}

/// Computes where the parts lie, for a reservation of a number of chunks.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Chunks of data.
    pub chunks: u64,
}

impl Layout {
    /// Offset of the member table.
    pub const MEMBERS: u64 = PAGE;

    /// Offset of the chunk words: one u64 each.
    #[must_use]
    pub fn chunk_words(self) -> u64 {
        Self::MEMBERS + MAX_MEMBERS as u64 * MEMBER_SIZE
    }

    /// Offset of the chunk flags: one u32 each.
    #[must_use]
    pub fn chunk_flags(self) -> u64 {
        (self.chunk_words() + self.chunks * 8).next_multiple_of(PAGE)
    }

    /// Offset of the block words: [`WORDS_PER_CHUNK`] of u64 per chunk.
    #[must_use]
    pub fn block_words(self) -> u64 {
        (self.chunk_flags() + self.chunks * 4).next_multiple_of(PAGE)
    }

    /// Offset of the first data chunk.
    #[must_use]
    pub fn data(self) -> u64 {
        (self.block_words() + self.chunks * WORDS_PER_CHUNK * 8).next_multiple_of(CHUNK)
    }

    /// Size of the file.
    #[must_use]
    pub fn size(self) -> u64 {
        self.data() + self.chunks * CHUNK
    }
}
