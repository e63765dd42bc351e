//! Owned pieces of the arena.
//!
//! # Safety
//! Only the owner of a block, which its state word names, accesses the bytes. Members trust
//! one another to keep to that.

#![expect(unsafe_code, reason = "slices of arena memory")]

use std::fmt;

use crate::family::Family;
use crate::member::stamp::Stamp;
use procession_sys::error::Result;

/// Owns a piece of the arena and frees it when dropped.
///
/// In a forked child, the copy of a parent's block does nothing when dropped.
pub struct Block {
    offset: u64,
    capacity: u64,
}

impl Block {
    /// Makes a block of at least `len` bytes, and copies the parts to its beginning, one
    /// after the other.
    ///
    /// # Errors
    /// As [`Family::alloc`].
    ///
    /// # Panics
    /// When the parts are longer than the block.
    pub fn of(family: &Family, parts: &[&[u8]], len: u64) -> Result<Self> {
        let mut block = family.alloc(len)?;
        let mut at = 0;
        for part in parts {
            block[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        Ok(block)
    }

    /// Takes over the block at `offset` from `owner` (or from the family, if that is nobody).
    ///
    /// # Errors
    /// `Stale` when that member does not own such a block.
    pub fn claim(offset: u64, owner: Stamp) -> Result<Self> {
        let family = Family::current()?;
        let capacity = family.change_owner(offset, owner, family.me())?;
        Ok(Self { offset, capacity })
    }

    pub(crate) fn owned(offset: u64, capacity: u64) -> Self {
        Self { offset, capacity }
    }

    /// Returns where the block lies in the arena.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns how many bytes the block holds.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Makes `to` the owner, which frees the block from then on; its death does, too.
    ///
    /// # Errors
    /// `Stale` when this process does not own it (a forked copy).
    pub fn give(self, to: Stamp) -> Result<u64> {
        let family = Family::current()?;
        family.change_owner(self.offset, family.me(), to)?;
        Ok(self.leak())
    }

    /// Makes the family the owner: no member's death frees the block.
    ///
    /// # Errors
    /// `Stale` when this process does not own it (a forked copy).
    pub fn disown(self) -> Result<u64> {
        self.give(Stamp::NOBODY)
    }

    /// Keeps the ownership, but does not free the block any more; only the reclaim of this
    /// process does.
    #[must_use]
    pub fn leak(self) -> u64 {
        let offset = self.offset;
        std::mem::forget(self);
        offset
    }

    /// Returns the address of the first byte.
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        Family::existing()
            .expect("a block exists only in a family")
            .pointer(self.offset, self.capacity)
            .as_ptr()
    }
}

impl std::ops::Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the block is ours, `capacity` bytes long, and always
        // initialised memory (the file reads as zero at first).
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.capacity as usize) }
    }
}

impl std::ops::DerefMut for Block {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut self` makes it the only view here.
        unsafe { std::slice::from_raw_parts_mut(self.as_ptr(), self.capacity as usize) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Some(family) = Family::existing() {
            family.free(self.offset);
        }
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({} + {})", self.offset, self.capacity)
    }
}
