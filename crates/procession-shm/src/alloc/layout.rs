//! The layout of the family's memory file.
//!
//! ```text
//! header | members | chunk words | chunk flags | block words | data chunks
//! ```
//!
//! The parts before the data are addressed by index, and sparse: a page of them gets memory
//! when the chunks that it describes come into use. These parts never hold anything else,
//! so a stale index reads a word, never a payload.

use crate::lock::raw_lock::RawLock;
use crate::member::stamp::MAX_MEMBERS;
use procession_sys::primitive::{AtomicU32, AtomicU64};

/// Bytes in a chunk, the unit in which memory is handed to runs and spans. In a model, a
/// chunk holds two of the largest blocks.
pub const CHUNK: u64 = if cfg!(loom) { 32 << 10 } else { 64 << 10 };

/// Bytes in the smallest block; a chunk of them has this many words.
pub const SMALLEST: u64 = 64;

/// Block words that each chunk may need.
pub const WORDS_PER_CHUNK: u64 = CHUNK / SMALLEST;

/// Bytes of a page: the unit of backing with memory.
pub const PAGE: u64 = 4096;

/// Bytes of one entry in the member table.
pub const MEMBER_SIZE: u64 = 128;

/// First word of the file: marks it as the memory of a family.
pub const MAGIC: u64 = 0x7072_6f63_6573_7369;

/// What the first page holds.
#[cfg_attr(loom, derive(Default))]
#[repr(C)]
pub struct ArenaHeader {
    /// [`MAGIC`].
    pub magic: AtomicU64,
    /// The build that created the file ([`Schema::build`](crate::Schema::build)).
    pub build: AtomicU64,
    /// Chunks that the reservation has room for.
    pub chunks: AtomicU32,
    /// Who has set `limit`, a [`LimitOrigin`](crate::alloc::limit::LimitOrigin).
    pub limit_origin: AtomicU32,
    /// The family's random number, in two halves.
    pub id: [AtomicU64; 2],
    /// Bytes of data that may be backed with memory at once.
    pub limit: AtomicU64,
    /// Serial of the newest object; serials are never reused.
    pub serial: AtomicU64,
    /// Guards the handing out of chunks.
    pub chunk_lock: RawLock,
    /// Chunks at or past this one have never been used.
    pub high_water: AtomicU32,
    /// No free chunk is likely to lie before this one.
    pub first_free: AtomicU32,
    /// Chunks backed with memory; recounted before an allocation fails because of it.
    pub backed: AtomicU32,
    /// Free chunks that kept their memory, approximately.
    pub cached: AtomicU32,
    /// Members at or past this slot have never been used.
    pub members_high_water: AtomicU32,
    /// Spans per size class, approximately.
    pub spans: [AtomicU32; 16],
    /// Well-known objects: their handles' offset and serial.
    pub roots: [[AtomicU64; 2]; 8],
    /// The family's secret, which only members can read, in two halves.
    pub secret: [AtomicU64; 2],
    /// The trace of the family that is being written: its number in the high half, and the
    /// stamp of the member that writes it; 0 while there is none.
    pub trace: AtomicU64,
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

    /// Returns the layout with the most chunks that takes no more than so many
    /// bytes; `None` if there is none.
    #[must_use]
    pub fn within(bytes: u64) -> Option<Self> {
        let fixed = Self { chunks: 0 }.size();
        let each = CHUNK + WORDS_PER_CHUNK * 8 + 12;
        let mut chunks = bytes.checked_sub(fixed)? / each;
        // Rounding up to pages and chunks may cost one or two chunks.
        while (Self { chunks }).size() > bytes {
            chunks = chunks.checked_sub(1)?;
        }
        Some(Self { chunks })
    }

    /// Size of the file.
    #[must_use]
    pub fn size(self) -> u64 {
        self.data() + self.chunks * CHUNK
    }
}
