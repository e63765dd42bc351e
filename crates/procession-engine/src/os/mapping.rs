//! A shared mapping of a memory file, for the life of the process.
//!
//! # Safety
//! The mapping is never unmapped or moved, so a pointer into it stays valid
//! for as long as the process runs. The file is sealed against shrinking, so
//! no access inside it raises SIGBUS for lack of file.

#![expect(unsafe_code, reason = "mmap and pointers into the mapping")]

use std::ffi::c_void;
use std::ptr::NonNull;

use rustix::mm::{self, Advice, MapFlags, ProtFlags};

use crate::error::{Error, Result};
use crate::os::memfd::MemFd;

/// Maps an entire memory file, readable and writable, until the process ends.
#[derive(Debug)]
pub struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping is plain memory that any thread may address; how it is
// shared is decided by those who hold pointers into it.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `len` bytes of `file`.
    ///
    /// # Errors
    /// When the address space is too small or limited.
    pub fn new(file: &MemFd, len: u64) -> Result<Self> {
        let what = || format!("reserve {len} bytes of address space");
        let size = usize::try_from(len)
            .map_err(|_| Error::os(what(), std::io::Error::from_raw_os_error(libc::ENOMEM)))?;
        // SAFETY: a null hint lets the kernel choose a free place.
        let base = unsafe {
            mm::mmap(
                std::ptr::null_mut(),
                size,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::NORESERVE,
                file,
                0,
            )
        }
        .map_err(|e| Error::os(what(), e))?;
        // SAFETY: the range was mapped just above. A core dump without the
        // arena is what people want; failure only makes dumps larger.
        let _ = unsafe { mm::madvise(base, size, Advice::LinuxDontDump) };
        let base = NonNull::new(base.cast::<u8>())
            .ok_or_else(|| Error::os(what(), std::io::Error::from_raw_os_error(libc::ENOMEM)))?;
        Ok(Self { base, len: size })
    }

    /// Returns the mapping's length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len as u64
    }

    /// Tells whether the mapping is empty (it never is).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the address of `offset`.
    ///
    /// # Panics
    /// When `offset + len` lies outside: an offset that somebody made up.
    #[must_use]
    pub fn at(&self, offset: u64, len: u64) -> NonNull<u8> {
        let end = offset.checked_add(len);
        assert!(
            end.is_some_and(|end| end <= self.len as u64),
            "offset {offset} + {len} lies outside the arena"
        );
        // SAFETY: in bounds of the mapping, checked above; it fits a usize
        // because the length does.
        unsafe { self.base.add(offset as usize) }
    }

    /// Faults a range's pages in at one go, where the kernel can (5.14).
    pub fn populate(&self, offset: u64, len: u64) {
        let address = self.at(offset, len).as_ptr().cast::<c_void>();
        // SAFETY: the range is inside the mapping; populating changes no
        // contents. An older kernel refuses and pages fault in one by one.
        let _ = unsafe { mm::madvise(address, len as usize, Advice::LinuxPopulateWrite) };
    }
}
