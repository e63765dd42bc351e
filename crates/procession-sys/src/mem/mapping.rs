//! A shared mapping of a memory file, for the life of the process.
//!
//! # Safety
//! The mapping is never unmapped or moved, so a pointer into it stays valid for as long as the
//! process runs. A mapping for reading only ends with its value: code that looks at a family
//! borrows what is in the mapping from the `Family`, and keeps copies only. The file is sealed
//! against shrinking, so no access inside it raises SIGBUS for lack of file.

#![expect(unsafe_code, reason = "mmap and pointers into the mapping")]

use std::ffi::c_void;
use std::ptr::NonNull;

use rustix::io::{Errno, pwrite};
use rustix::mm::{self, Advice, MapFlags, ProtFlags};

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
            let unmapped = unsafe { mm::munmap(self.base.as_ptr().cast::<c_void>(), self.len) };
            debug_assert!(unmapped.is_ok(), "{unmapped:?}");
        }
    }
}

const ACCESS: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);
const SHARED: MapFlags = MapFlags::SHARED.union(MapFlags::NORESERVE);

impl Mapping {
    /// Maps the first `len` bytes of `file`.
    ///
    /// # Errors
    /// When the address space is too small or limited.
    pub fn new(file: &MemFd, len: u64) -> Result<Self> {
        Self::with_access(file, len, ACCESS)
    }

    fn with_access(file: &MemFd, len: u64, access: ProtFlags) -> Result<Self> {
        let what = || format!("reserve {len} bytes of address space");
        let size = usize::try_from(len)
            .map_err(|_| Error::os(what(), std::io::Error::from_raw_os_error(libc::ENOMEM)))?;
        // SAFETY: a null hint lets the kernel choose a free place.
        let base = unsafe { mm::mmap(std::ptr::null_mut(), size, access, SHARED, file.fd()?, 0) }
            .map_err(|e| Error::os(what(), e))?;
        // SAFETY: the range was mapped just above. A core dump without the
        // arena is what people want; failure only makes dumps larger.
        let _ = unsafe { mm::madvise(base, size, Advice::LinuxDontDump) };
        let base = NonNull::new(base.cast::<u8>())
            .ok_or_else(|| Error::os(what(), std::io::Error::from_raw_os_error(libc::ENOMEM)))?;
        Ok(Self {
            base,
            len: size,
            is_for_reading: !access.contains(ProtFlags::WRITE),
        })
    }

    /// Maps the first `len` bytes of `file` for reading only, until the value is dropped: a
    /// write to what is mapped ends this process.
    ///
    /// # Errors
    /// When the address space is too small or limited.
    pub fn for_reading(file: &MemFd, len: u64) -> Result<Self> {
        Self::with_access(file, len, ProtFlags::READ)
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
        let copy = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        let mapped = file.fd().and_then(|fd| {
            // SAFETY: the range is this mapping, and the bytes are those of now.
            unsafe { mm::mmap(base, self.len, ACCESS, copy, fd, 0) }
                .map_err(|e| Error::os("copy the family's memory", e))
        });
        if mapped.is_err() {
            // SAFETY: the range is this mapping; a use of it ends the process.
            let closed = unsafe { mm::mprotect(base, self.len, mm::MprotectFlags::empty()) };
            assert_eq!(closed, Ok(()), "the family's memory can be closed");
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
            match self.advise(offset, len, Advice::LinuxPopulateWrite) {
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
        self.advise(offset, len, Advice::LinuxRemove)
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
        let mapped = unsafe { mm::mmap(base, self.len, ACCESS, SHARED | MapFlags::FIXED, fd, 0) };
        mapped.map_err(|e| Error::os("map the family's memory anew", e))?;
        // SAFETY: as in `new`.
        let _ = unsafe { mm::madvise(base, self.len, Advice::LinuxDontDump) };
        Ok(())
    }

    /// Faults a range's pages in at one go, where the kernel can (5.14).
    pub fn populate(&self, offset: u64, len: u64) {
        // An older kernel refuses and pages fault in one by one.
        let _ = self.advise(offset, len, Advice::LinuxPopulateWrite);
    }

    fn advise(&self, offset: u64, len: u64, advice: Advice) -> rustix::io::Result<()> {
        let address = self.at(offset, len).as_ptr().cast::<c_void>();
        // SAFETY: the range is inside the mapping. Populating changes no
        // contents, and what is removed is nobody's, as the caller knows.
        unsafe { mm::madvise(address, len as usize, advice) }
    }
}
