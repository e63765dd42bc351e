//! The mapped memory file, and typed views of its fixed parts.
//!
//! # Safety
//! The views are references to atomics inside a mapping that is never
//! unmapped, at offsets that the layout keeps aligned and apart from the data.

#![expect(unsafe_code, reason = "views of mapped memory")]

use crate::arena::layout::{
    CHUNK, Header, Layout, MAGIC, MEMBER_SIZE, PAGE, VERSION, WORDS_PER_CHUNK,
};
use crate::arena::ledger::Ledger;
use crate::arena::member::Member;
use crate::error::{Error, ErrorKind, Result};
use crate::os::mapping::Mapping;
use crate::os::memfd::MemFd;
use crate::primitive::{AtomicU32, AtomicU64, Ordering};

/// Chunks of the reservations tried in turn: 256, 64, 16, 4 and 1 GiB.
const RESERVATIONS: [u64; 5] = [4 << 20, 1 << 20, 1 << 18, 1 << 16, 1 << 14];

/// Owns the memory file and its mapping.
#[derive(Debug)]
pub struct Space {
    file: MemFd,
    map: Mapping,
    layout: Layout,
}

impl Space {
    /// Creates a fresh file with as much room as the address space allows.
    ///
    /// # Errors
    /// When not even the smallest reservation is to be had.
    pub fn create(limit: u64, id: u128) -> Result<Self> {
        let mut last = Error::new(ErrorKind::OutOfMemory, "no reservation was tried");
        for chunks in RESERVATIONS {
            match Self::reserve(Layout { chunks }) {
                Ok(space) => {
                    space.file.commit(0, PAGE)?;
                    let header = space.header();
                    header.chunks.store(chunks as u32, Ordering::Relaxed);
                    header.id[0].store(id as u64, Ordering::Relaxed);
                    header.id[1].store((id >> 64) as u64, Ordering::Relaxed);
                    header.limit.store(limit, Ordering::Relaxed);
                    header.members_high_water.store(1, Ordering::Relaxed);
                    header.version.store(VERSION, Ordering::Relaxed);
                    // Release: whoever reads the magic sees the rest.
                    header.magic.store(MAGIC, Ordering::Release);
                    return Ok(space);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Maps a file that another member created.
    ///
    /// # Errors
    /// When the file is not a family's, or is of another build.
    pub fn open(file: MemFd) -> Result<Self> {
        let len = file.size()?;
        let map = Mapping::new(&file, len)?;
        let mut space = Self {
            file,
            map,
            layout: Layout { chunks: 0 },
        };
        let header = space.header();
        // Acquire pairs with the Release in `create`.
        let magic = header.magic.load(Ordering::Acquire);
        let version = header.version.load(Ordering::Relaxed);
        if magic != MAGIC || version != VERSION {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the inherited descriptor is not the memory of a procession family of \
                     layout {VERSION} (it says {version}): parent and child must run the same build"
                ),
            ));
        }
        let chunks = u64::from(header.chunks.load(Ordering::Relaxed));
        space.layout = Layout { chunks };
        Ok(space)
    }

    fn reserve(layout: Layout) -> Result<Self> {
        let file = MemFd::create("procession", layout.size())?;
        let map = Mapping::new(&file, layout.size())?;
        Ok(Self { file, map, layout })
    }

    /// Returns the memory file.
    #[must_use]
    pub fn file(&self) -> &MemFd {
        &self.file
    }

    /// Returns the mapping.
    #[must_use]
    pub fn map(&self) -> &Mapping {
        &self.map
    }

    /// Returns the entry of a member's slot.
    #[must_use]
    pub fn member(&self, slot: usize) -> &Member {
        let offset = Layout::MEMBERS + slot as u64 * MEMBER_SIZE;
        let at = self.map.at(offset, MEMBER_SIZE).cast::<Member>();
        // SAFETY: the table holds members for good; they are made of atomics.
        unsafe { at.as_ref() }
    }

    fn word(&self, offset: u64) -> &AtomicU64 {
        let at = self.map.at(offset, 8).cast::<AtomicU64>();
        // SAFETY: the layout keeps words aligned to 8 and apart from data.
        unsafe { at.as_ref() }
    }
}

impl Ledger for Space {
    fn layout(&self) -> Layout {
        self.layout
    }

    fn header(&self) -> &Header {
        let at = self.map.at(0, size_of::<Header>() as u64).cast::<Header>();
        // SAFETY: page 0 holds the header for good; it is made of atomics.
        unsafe { at.as_ref() }
    }

    fn chunk_word(&self, chunk: u64) -> &AtomicU64 {
        debug_assert!(chunk < self.layout.chunks);
        self.word(self.layout.chunk_words() + chunk * 8)
    }

    fn chunk_flags(&self, chunk: u64) -> &AtomicU32 {
        debug_assert!(chunk < self.layout.chunks);
        let at = self.map.at(self.layout.chunk_flags() + chunk * 4, 4);
        // SAFETY: aligned to 4 by the layout, and never anything else.
        unsafe { at.cast::<AtomicU32>().as_ref() }
    }

    fn block_word(&self, chunk: u64, index: u64) -> &AtomicU64 {
        debug_assert!(index < WORDS_PER_CHUNK);
        self.word(self.layout.block_words() + (chunk * WORDS_PER_CHUNK + index) * 8)
    }

    fn commit_table(&self, offset: u64, len: u64) -> Result<()> {
        let start = offset / PAGE * PAGE;
        let end = (offset + len).next_multiple_of(PAGE);
        self.file.commit(start, end - start)
    }

    fn back(&self, first: u64, count: u64) -> Result<()> {
        let offset = self.layout.data() + first * CHUNK;
        self.file.commit(offset, count * CHUNK)
    }

    fn unback(&self, first: u64, count: u64) -> Result<()> {
        let offset = self.layout.data() + first * CHUNK;
        self.file.release(offset, count * CHUNK)
    }
}
