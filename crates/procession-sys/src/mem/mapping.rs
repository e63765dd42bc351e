//! A shared mapping of a memory file, for the life of the process.
//!
//! # Safety
//! The mapping is never unmapped or moved, so a pointer into it stays valid for as long as the
//! process runs. A mapping for reading only ends with its value: code that looks at a family
//! borrows what is in the mapping from the `Family`, and keeps copies only. The file is sealed
//! against shrinking, so no access inside it raises SIGBUS for lack of file.

#![expect(unsafe_code, reason = "mmap and pointers into the mapping")]

use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::ptr::NonNull;

use rustix::io::{Errno, pwrite};

use crate::error::{Error, ErrorKind, Result};
use crate::mem::memfd::MemFd;
use crate::steps::step;

/// Maps an entire memory file, readable and writable, until the process ends.
#[derive(Debug)]
pub struct Mapping {
    base: NonNull<u8>,
    len: usize,
    is_for_reading: bool,
}

// SAFETY: a mapping is plain memory that any thread may address; how it is
// shared is decided by those who hold pointers into it.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.is_for_reading {
            // SAFETY: the range is this mapping, and nobody has a pointer into one for reading
            // that outlives the value, as the header says.
            let unmapped = unsafe { libc::munmap(self.base.as_ptr().cast::<c_void>(), self.len) };
            debug_assert_eq!(unmapped, 0);
        }
    }
}

const ACCESS: c_int = libc::PROT_READ | libc::PROT_WRITE;
const SHARED: c_int = libc::MAP_SHARED | libc::MAP_NORESERVE;

impl Mapping {
    /// Maps the first `len` bytes of `file`.
    ///
    /// # Errors
    /// When the address space is too small or limited.
    pub fn new(file: &MemFd, len: u64) -> Result<Self> {
        Self::with_access(file, len, ACCESS)
    }

    fn with_access(file: &MemFd, len: u64, access: c_int) -> Result<Self> {
        let what = || format!("reserve {len} bytes of address space");
        let size = usize::try_from(len)
            .map_err(|_| Error::os(what(), std::io::Error::from_raw_os_error(libc::ENOMEM)))?;
        // SAFETY: a null hint lets the kernel choose a free place.
        let base = unsafe { mmap(std::ptr::null_mut(), size, access, SHARED, file.fd()?) }
            .map_err(|e| Error::os(what(), e))?;
        // SAFETY: the range was mapped just above. A core dump without the
        // arena is what people want; failure only makes dumps larger.
        let _ = unsafe { madvise(base, size, libc::MADV_DONTDUMP) };
        let base = NonNull::new(base.cast::<u8>())
            .ok_or_else(|| Error::os(what(), std::io::Error::from_raw_os_error(libc::ENOMEM)))?;
        Ok(Self {
            base,
            len: size,
            is_for_reading: access & libc::PROT_WRITE == 0,
        })
    }

    /// Maps the first `len` bytes of `file` for reading only, until the value is dropped: a
    /// write to what is mapped ends this process.
    ///
    /// # Errors
    /// When the address space is too small or limited.
    pub fn for_reading(file: &MemFd, len: u64) -> Result<Self> {
        Self::with_access(file, len, libc::PROT_READ)
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
    /// When `offset + len` lies outside the mapping, as an invented offset may.
    #[inline]
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

    /// Returns the address of the mapping's first byte, and the address behind its
    /// last.
    #[must_use]
    pub fn addresses(&self) -> (usize, usize) {
        let start = self.base.as_ptr() as usize;
        (start, start + self.len)
    }

    /// Makes the mapping a copy: what this process writes from here on, nobody else sees. Where
    /// that cannot be had, any use of the mapping ends this process.
    pub fn keep_apart(&self, file: &MemFd) {
        let base = self.base.as_ptr().cast::<c_void>();
        let copy = libc::MAP_PRIVATE | libc::MAP_NORESERVE | libc::MAP_FIXED;
        let mapped = file.fd().and_then(|fd| {
            // SAFETY: the range is this mapping, and the bytes are those of now.
            unsafe { mmap(base, self.len, ACCESS, copy, fd) }
                .map_err(|e| Error::os("copy the family's memory", e))
        });
        if mapped.is_err() {
            // SAFETY: the range is this mapping; a use of it ends the process.
            let closed = unsafe { libc::mprotect(base, self.len, libc::PROT_NONE) };
            assert_eq!(closed, 0, "the family's memory can be closed");
        }
    }

    /// Backs a range with memory, so that touching it can no longer fail; its
    /// pages are faulted in. Needs no descriptor where the kernel can (5.14).
    ///
    /// # Errors
    /// `OutOfMemory` when the system has none left.
    pub fn back(&self, file: &MemFd, offset: u64, len: u64) -> Result<()> {
        loop {
            step();
            match self.advise(offset, len, libc::MADV_POPULATE_WRITE) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(e @ (Errno::NOMEM | Errno::FAULT | Errno::HWPOISON)) => {
                    // A touch would have died of this fault.
                    let e = if e == Errno::FAULT { Errno::NOMEM } else { e };
                    return Err(Error::os(format_args!("back {len} bytes with memory"), e));
                }
                // An older kernel, or a sandbox.
                Err(_) => break,
            }
        }
        match file.commit(offset, len) {
            // Without the descriptor pages get memory as they are touched.
            Err(error) if error.kind() == ErrorKind::Invalid => Ok(()),
            result => result,
        }
    }

    /// Gives a range's memory back; it reads as zero afterwards.
    ///
    /// # Errors
    /// When the kernel refuses; the range then keeps its memory.
    pub fn give_back(&self, file: &MemFd, offset: u64, len: u64) -> Result<()> {
        step();
        // Refused by a sandbox, or where the program has locked its memory.
        self.advise(offset, len, libc::MADV_REMOVE)
            .or_else(|_| file.release(offset, len))
    }

    /// Copies a range to the same place of another file, except for pages that hold
    /// only zeros.
    ///
    /// # Errors
    /// `OutOfMemory` when the system has no memory for it.
    pub fn copy_to(&self, file: &MemFd, offset: u64, len: u64) -> Result<()> {
        const PAGE: usize = 4096;
        let failed = |e| Error::os("copy the family's memory", e);
        let at = self.at(offset, len).as_ptr();
        // SAFETY: inside the mapping; the caller is the only thread of the only
        // process that has it, so nobody writes meanwhile.
        let bytes = unsafe { std::slice::from_raw_parts(at.cast_const(), len as usize) };
        for (page, part) in bytes.chunks(PAGE).enumerate() {
            if part.iter().all(|&byte| byte == 0) {
                continue;
            }
            let mut done = 0;
            while done < part.len() {
                let place = offset + (page * PAGE + done) as u64;
                match pwrite(file.fd()?, &part[done..], place) {
                    Ok(count) => done += count,
                    Err(Errno::INTR) => {}
                    Err(e) => return Err(failed(e)),
                }
            }
        }
        Ok(())
    }

    /// Maps another file in the place of the one that is mapped; it holds the same
    /// bytes, so that nobody can tell.
    ///
    /// # Errors
    /// When the kernel refuses; all stays as it is then.
    pub fn replace_by(&self, file: &MemFd) -> Result<()> {
        let fd = file.fd()?;
        let base = self.base.as_ptr().cast::<c_void>();
        // SAFETY: the range is this mapping, and the bytes are the same: what is
        // borrowed from it stays what it was.
        let mapped = unsafe { mmap(base, self.len, ACCESS, SHARED | libc::MAP_FIXED, fd) };
        mapped.map_err(|e| Error::os("map the family's memory anew", e))?;
        // SAFETY: as in `new`.
        let _ = unsafe { madvise(base, self.len, libc::MADV_DONTDUMP) };
        Ok(())
    }

    /// Faults a range's pages in at one go, where the kernel can (5.14).
    pub fn populate(&self, offset: u64, len: u64) {
        // An older kernel refuses and pages fault in one by one.
        let _ = self.advise(offset, len, libc::MADV_POPULATE_WRITE);
    }

    fn advise(&self, offset: u64, len: u64, advice: c_int) -> rustix::io::Result<()> {
        let address = self.at(offset, len).as_ptr().cast::<c_void>();
        // SAFETY: the range is inside the mapping. Populating changes no
        // contents, and what is removed is nobody's, as the caller knows.
        unsafe { madvise(address, len as usize, advice) }
    }
}

/// Maps a file from its start.
///
/// # Safety
/// With `MAP_FIXED` nobody uses what the range had, or it has the same afterwards.
unsafe fn mmap(
    hint: *mut c_void,
    len: usize,
    access: c_int,
    flags: c_int,
    fd: BorrowedFd<'_>,
) -> rustix::io::Result<*mut c_void> {
    // SAFETY: the caller's promise.
    let base = unsafe { libc::mmap(hint, len, access, flags, fd.as_raw_fd(), 0) };
    match base {
        libc::MAP_FAILED => Err(last_error()),
        base => Ok(base),
    }
}

/// Asks the kernel to treat a range in some way.
///
/// # Safety
/// If the advice changes what is read there, nobody reads it.
pub(super) unsafe fn madvise(
    start: *mut c_void,
    len: usize,
    advice: c_int,
) -> rustix::io::Result<()> {
    // SAFETY: the caller's promise.
    match unsafe { libc::madvise(start, len, advice) } {
        0 => Ok(()),
        _ => Err(last_error()),
    }
}

fn last_error() -> Errno {
    let error = std::io::Error::last_os_error();
    Errno::from_io_error(&error).unwrap_or(Errno::INVAL)
}
