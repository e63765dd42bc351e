//! The mapped memory file, and typed views of its fixed parts.
//!
//! # Safety
//! The views are references to atomics inside a mapping that is never
//! unmapped, at offsets that the layout keeps aligned and apart from the data.

#![expect(unsafe_code, reason = "views of mapped memory")]

use std::os::fd::{BorrowedFd, OwnedFd};

use crate::alloc::chunks::BACKED;
use crate::alloc::layout::{ArenaHeader, CHUNK, Layout, MAGIC, MEMBER_SIZE, PAGE, WORDS_PER_CHUNK};
use crate::alloc::limit::MemoryLimit;
use crate::alloc::store::BackingStore;
use crate::member::table::Member;
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::fd::own_table::ProgramsTable;
use procession_sys::mem::mapping::Mapping;
use procession_sys::mem::memfd::{MemFd, largest_file};
use procession_sys::primitive::{AtomicU32, AtomicU64, Ordering};
use procession_sys::signals::BlockedSignals;

/// Chunks of the reservations tried in turn: 256, 64, 16, 4 and 1 GiB.
const RESERVATIONS: [u64; 5] = [4 << 20, 1 << 20, 1 << 18, 1 << 16, 1 << 14];

/// Chunks without which a reservation is of no use, about 1 MiB.
const LEAST: u64 = 16;

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
    /// When not even the smallest reservation succeeds.
    pub fn create(limit: MemoryLimit, id: u128, build: u64) -> Result<Self> {
        let mut last = Error::new(ErrorKind::OutOfMemory, "no reservation was tried");
        for chunks in reservations(largest_file())? {
            match Self::reserve(Layout { chunks }) {
                Ok(space) => {
                    space.map.back(&space.file, 0, PAGE)?;
                    let header = space.header();
                    header.chunks.store(chunks as u32, Ordering::Relaxed);
                    header.id[0].store(id as u64, Ordering::Relaxed);
                    header.id[1].store((id >> 64) as u64, Ordering::Relaxed);
                    header.limit.store(limit.bytes, Ordering::Relaxed);
                    let origin = limit.origin as u32;
                    header.limit_origin.store(origin, Ordering::Relaxed);
                    header.members_high_water.store(1, Ordering::Relaxed);
                    header.build.store(build, Ordering::Relaxed);
                    // Release: a process that reads the magic sees the rest.
                    header.magic.store(MAGIC, Ordering::Release);
                    return Ok(space);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Maps a file that another member of the same build created.
    ///
    /// # Errors
    /// When the file is not a family's, or is of another build.
    pub fn open(file: MemFd, ours: u64) -> Result<Self> {
        let map = Mapping::new(&file, file.size()?)?;
        Self::checked(file, map, ours)
    }

    /// As [`open`](Self::open), for reading only.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_for_reading(file: MemFd, ours: u64) -> Result<Self> {
        let map = Mapping::for_reading(&file, file.size()?)?;
        Self::checked(file, map, ours)
    }

    fn checked(file: MemFd, map: Mapping, ours: u64) -> Result<Self> {
        let mut space = Self {
            file,
            map,
            layout: Layout { chunks: 0 },
        };
        let not_a_familys = || {
            let message = "the inherited descriptor is not the memory of a procession family";
            Error::new(ErrorKind::Unsupported, message)
        };
        if space.map.len() < PAGE {
            return Err(not_a_familys());
        }
        let header = space.header();
        // Acquire pairs with the Release in `create`.
        let magic = header.magic.load(Ordering::Acquire);
        if magic != MAGIC {
            return Err(not_a_familys());
        }
        let build = header.build.load(Ordering::Relaxed);
        if build != ours {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "this process runs another build of procession ({ours:016x}) than the family \
                     that started it ({build:016x}): they would misread each other's memory; \
                     was it installed anew, or is another one found first, since the parent began?"
                ),
            ));
        }
        let chunks = u64::from(header.chunks.load(Ordering::Relaxed));
        let layout = Layout { chunks };
        if layout.size() > space.map.len() {
            return Err(not_a_familys());
        }
        space.layout = layout;
        Ok(space)
    }

    fn reserve(layout: Layout) -> Result<Self> {
        let file = MemFd::create(layout.size())?;
        let map = Mapping::new(&file, layout.size())?;
        Ok(Self { file, map, layout })
    }

    /// Returns the memory file's descriptor. If the program has closed it, the file is opened
    /// again, if need be through one of the `relatives`: processes that may have it open.
    ///
    /// # Errors
    /// `Invalid` when no way to open the file is left.
    pub fn fd(&self, relatives: impl Iterator<Item = u32>) -> Result<BorrowedFd<'_>> {
        self.file.fd_to_pass_on(self.map.addresses(), relatives)
    }

    /// Opens the file again for a thread that has its own table of descriptors.
    ///
    /// # Errors
    /// `Invalid` when the program has closed it.
    pub fn open_by(&self, table: &ProgramsTable) -> Result<OwnedFd> {
        self.file.open_by(table)
    }

    /// Moves everything to a fresh file, because the old file's descriptor is lost. The
    /// caller must be the only thread of the only process that has the old file mapped.
    ///
    /// # Errors
    /// When a new file cannot be made, or there is not enough memory for the copy; then
    /// nothing has changed.
    pub fn move_to_fresh_file(&self) -> Result<()> {
        let file = MemFd::create(self.layout.size())?;
        let (layout, header) = (self.layout, self.header());
        let members = u64::from(header.members_high_water.load(Ordering::Relaxed));
        let chunks = u64::from(header.high_water.load(Ordering::Relaxed));
        let tables = [
            (0, PAGE),
            (Layout::MEMBERS, members * MEMBER_SIZE),
            (layout.chunk_words(), chunks * 8),
            (layout.chunk_flags(), chunks * 4),
            (layout.block_words(), chunks * WORDS_PER_CHUNK * 8),
        ];
        let is_backed =
            |chunk: &u64| self.chunk_flags(*chunk).load(Ordering::Relaxed) & BACKED != 0;
        let backed = (0..chunks).filter(is_backed);
        let data = backed.map(|chunk| (layout.data() + chunk * CHUNK, CHUNK));
        // A signal handler that uses the memory would write to the old file.
        let _held_back = BlockedSignals::all();
        for (offset, len) in tables.into_iter().chain(data) {
            self.map.copy_to(&file, offset, len)?;
        }
        self.map.replace_by(&file)?;
        self.file.replace_by(file)
    }

    /// Makes what this process has mapped a copy: what it writes from here on, nobody else sees.
    pub fn keep_apart(&self) {
        self.map.keep_apart(&self.file);
    }

    /// Returns the bytes of memory that back the file now.
    ///
    /// # Errors
    /// When the program has closed its descriptor.
    pub fn resident(&self) -> Result<u64> {
        self.file.resident()
    }

    /// Returns the mapping.
    #[inline]
    #[must_use]
    pub fn map(&self) -> &Mapping {
        &self.map
    }

    /// Returns the entry of a member's slot.
    #[must_use]
    pub fn member(&self, slot: usize) -> &Member {
        let offset = Layout::MEMBERS + slot as u64 * MEMBER_SIZE;
        let at = self.map.at(offset, MEMBER_SIZE).cast::<Member>();
        // SAFETY: this part of the file holds members and nothing else; they are atomics.
        unsafe { at.as_ref() }
    }

    fn word(&self, offset: u64) -> &AtomicU64 {
        let at = self.map.at(offset, 8).cast::<AtomicU64>();
        // SAFETY: the layout keeps words aligned to 8 and apart from data.
        unsafe { at.as_ref() }
    }
}

/// Returns the sizes of reservation to try in turn, in chunks, where a file may have no more
/// than `largest` bytes.
fn reservations(largest: Option<u64>) -> Result<Vec<u64>> {
    let Some(bytes) = largest else {
        return Ok(RESERVATIONS.to_vec());
    };
    let most = Layout::within(bytes).map_or(0, |layout| layout.chunks);
    if most < LEAST {
        let least = Layout { chunks: LEAST }.size();
        let message = format!(
            "files of this process may have {bytes} bytes (RLIMIT_FSIZE, ulimit -f), and the \
             family's memory needs {least} at the least"
        );
        return Err(Error::new(ErrorKind::Limit, message));
    }
    let first = most.min(RESERVATIONS[0]);
    let mut sizes = vec![first];
    sizes.extend(RESERVATIONS.into_iter().filter(|&chunks| chunks < first));
    Ok(sizes)
}

impl BackingStore for Space {
    #[inline]
    fn layout(&self) -> Layout {
        self.layout
    }

    #[inline]
    fn header(&self) -> &ArenaHeader {
        let at = self
            .map
            .at(0, size_of::<ArenaHeader>() as u64)
            .cast::<ArenaHeader>();
        // SAFETY: page 0 holds the header and nothing else; it is made of atomics.
        unsafe { at.as_ref() }
    }

    fn chunk_word(&self, chunk: u64) -> &AtomicU64 {
        debug_assert!(chunk < self.layout.chunks);
        self.word(self.layout.chunk_words() + chunk * 8)
    }

    fn chunk_flags(&self, chunk: u64) -> &AtomicU32 {
        debug_assert!(chunk < self.layout.chunks);
        let at = self.map.at(self.layout.chunk_flags() + chunk * 4, 4);
        // SAFETY: the layout aligns flags to 4 bytes, and keeps nothing else there.
        unsafe { at.cast::<AtomicU32>().as_ref() }
    }

    fn block_word(&self, chunk: u64, index: u64) -> &AtomicU64 {
        debug_assert!(index < WORDS_PER_CHUNK);
        self.word(self.layout.block_words() + (chunk * WORDS_PER_CHUNK + index) * 8)
    }

    fn commit_table(&self, offset: u64, len: u64) -> Result<()> {
        let start = offset / PAGE * PAGE;
        let end = (offset + len).next_multiple_of(PAGE);
        self.map.back(&self.file, start, end - start)
    }

    fn back(&self, first: u64, count: u64) -> Result<()> {
        let offset = self.layout.data() + first * CHUNK;
        self.map.back(&self.file, offset, count * CHUNK)
    }

    fn unback(&self, first: u64, count: u64) -> Result<()> {
        let offset = self.layout.data() + first * CHUNK;
        self.map.give_back(&self.file, offset, count * CHUNK)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::alloc::limit::LimitOrigin;

    const BUILD: u64 = 3;

    const LIMIT: MemoryLimit = MemoryLimit {
        bytes: 1 << 20,
        origin: LimitOrigin::Variable,
    };

    #[test]
    fn the_memory_of_another_build_is_refused() {
        let space = Space::create(LIMIT, 7, BUILD).unwrap();
        let open = || {
            let copy = space.file.fd().unwrap().try_clone_to_owned().unwrap();
            Space::open(MemFd::from_inherited(copy).unwrap(), BUILD)
        };
        open().unwrap();
        let build = &space.header().build;
        build.store(BUILD ^ 1, Ordering::Relaxed);
        let error = open().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("another build"), "{error}");
    }
}
