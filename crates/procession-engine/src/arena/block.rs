//! Owned pieces of the arena.
//!
//! # Safety
//! A block's bytes are reached by whoever owns the block, in whatever process;
//! its state word says who that is. Members trust one another with the rest.

#![expect(unsafe_code, reason = "slices of arena memory")]

use std::fmt;

use crate::arena::family::Family;
use crate::arena::stamp::Stamp;
use crate::error::Result;

/// Owns a piece of the arena and frees it when dropped.
///
/// In a forked child the copy of a parent's block is inert.
pub struct Block {
    offset: u64,
    capacity: u64,
}

impl Block {
    /// Allocates at least `len` bytes. Their contents are whatever was there.
    ///
    /// # Errors
    /// `OutOfMemory` when the arena or the machine is full.
    pub fn new(len: u64) -> Result<Self> {
        Family::get()?.alloc(len)
    }

    /// Makes a block of at least `len` bytes that begins with the parts, one after the
    /// other.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    ///
    /// # Panics
    /// When the parts are longer than the block.
    pub fn of(parts: &[&[u8]], len: u64) -> Result<Self> {
        let mut block = Self::new(len)?;
        let mut at = 0;
        for part in parts {
            block[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        Ok(block)
    }

    /// Takes over the block at `offset` from `owner` (nobody: the family).
    ///
    /// # Errors
    /// `Stale` when that member does not own such a block.
    pub fn claim(offset: u64, owner: Stamp) -> Result<Self> {
        let family = Family::get()?;
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

    /// Makes `to` the owner; the block is then freed by it or when it dies.
    ///
    /// # Errors
    /// `Stale` when this process does not own it (a forked copy).
    pub fn give(self, to: Stamp) -> Result<u64> {
        let family = Family::get()?;
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

    /// Stays the owner, but forgets to free; the death of this process does.
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
