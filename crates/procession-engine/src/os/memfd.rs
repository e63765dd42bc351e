//! The anonymous shared-memory file behind an arena.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, FallocateFlags, MemfdFlags, SealFlags};
use rustix::process::{Resource, getrlimit};

use crate::error::{Error, Result};
use crate::os::steps::step;

/// Owns a memory file of fixed, sparse size.
#[derive(Debug)]
pub struct MemFd(OwnedFd);

impl MemFd {
    /// Creates a file of `len` bytes, none of them backed by memory yet, that
    /// nobody can shrink or grow.
    ///
    /// # Errors
    /// When the system has no descriptor left or refuses the size.
    pub fn create(name: &str, len: u64) -> Result<Self> {
        // A file beyond this limit would not be refused but cost a SIGXFSZ.
        let limit = getrlimit(Resource::Fsize).current;
        if limit.is_some_and(|limit| limit < len) {
            return Err(Error::os(
                format_args!("size the memory file to {len} bytes"),
                rustix::io::Errno::FBIG,
            ));
        }
        let fd = fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
            .map_err(|e| Error::os("create the family's memory file", e))?;
        fs::ftruncate(&fd, len)
            .map_err(|e| Error::os(format_args!("size the memory file to {len} bytes"), e))?;
        fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)
            .map_err(|e| Error::os("seal the memory file", e))?;
        Ok(Self(fd))
    }

    /// Takes over a descriptor that a parent passed on.
    #[must_use]
    pub fn from_inherited(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Returns the file's size in bytes.
    ///
    /// # Errors
    /// When the descriptor is not a file.
    pub fn size(&self) -> Result<u64> {
        let stat = fs::fstat(&self.0).map_err(|e| Error::os("look at the memory file", e))?;
        Ok(u64::try_from(stat.st_size).unwrap_or(0))
    }

    /// Returns the bytes of memory that back the file now.
    ///
    /// # Errors
    /// When the descriptor is not a file.
    pub fn resident(&self) -> Result<u64> {
        let stat = fs::fstat(&self.0).map_err(|e| Error::os("look at the memory file", e))?;
        // st_blocks counts units of 512 bytes (stat(2)).
        Ok(u64::try_from(stat.st_blocks).unwrap_or(0) * 512)
    }

    /// Backs a range with memory, so that touching it can no longer fail.
    ///
    /// # Errors
    /// `OutOfMemory` when the system has none left.
    pub fn commit(&self, offset: u64, len: u64) -> Result<()> {
        loop {
            step();
            match fs::fallocate(&self.0, FallocateFlags::empty(), offset, len) {
                Ok(()) => return Ok(()),
                // A signal stops a long fallocate half way; what was done stays.
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(Error::os(format_args!("back {len} bytes with memory"), e)),
            }
        }
    }

    /// Gives a range's memory back; it reads as zero afterwards.
    ///
    /// # Errors
    /// When the kernel refuses; the range then keeps its memory.
    pub fn release(&self, offset: u64, len: u64) -> Result<()> {
        step();
        fs::fallocate(
            &self.0,
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            offset,
            len,
        )
        .map_err(|e| Error::os(format_args!("give back {len} bytes of memory"), e))
    }
}

impl AsFd for MemFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
