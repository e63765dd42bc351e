//! A ring of bytes in the arena, in which records lie one after another.
//!
//! A record lies in one piece: one that would not fit before the end begins at
//! the start, and a skip mark takes the rest. Positions count bytes for ever;
//! who may touch which is agreed elsewhere ([`window`](super::window),
//! [`reply_words`](super::reply_words)).
//!
//! # Safety
//! A ring is made of a piece of an object that lives while the process is
//! attached; the two sides never touch the same bytes at once, by the protocol.

#![expect(unsafe_code, reason = "records are bytes of the arena")]

use std::ptr::NonNull;

/// Where records begin: the size of the words that a record is headed by.
const WORD: u64 = 8;

/// Reaches the bytes of one ring.
#[derive(Clone, Copy, Debug)]
pub struct Ring {
    base: NonNull<u8>,
    capacity: u64,
}

// SAFETY: the address is the arena's, which every thread may reach; who
// touches which bytes is agreed by the words beside the ring.
unsafe impl Send for Ring {}

impl Ring {
    /// Makes a ring of `capacity` bytes, a multiple of 8, at `base`.
    ///
    /// # Safety
    /// The bytes are mapped, aligned to 8, and used as this ring only.
    pub unsafe fn new(base: NonNull<u8>, capacity: u64) -> Self {
        debug_assert!(capacity.is_multiple_of(WORD));
        Self { base, capacity }
    }

    /// Returns how many bytes the ring holds.
    pub fn capacity(self) -> u64 {
        self.capacity
    }

    /// Returns how many bytes to skip at `position` so that `len` bytes lie in
    /// one piece.
    pub fn skip(self, position: u64, len: u64) -> u64 {
        let to_end = self.capacity - position % self.capacity;
        if len <= to_end { 0 } else { to_end }
    }

    /// Tells whether `len` bytes at `position` lie in one piece.
    pub fn holds(self, position: u64, len: u64) -> bool {
        len <= self.capacity - position % self.capacity
    }

    /// Reads the word at `position`.
    pub fn word(self, position: u64) -> u64 {
        let at = self.at(position, WORD).cast::<u64>();
        // SAFETY: `at` has checked the place; positions are multiples of 8.
        unsafe { at.read() }
    }

    /// Writes the word at `position`.
    pub fn set_word(self, position: u64, word: u64) {
        let at = self.at(position, WORD).cast::<u64>();
        // SAFETY: as in `word`, and the protocol lets us write here.
        unsafe { at.write(word) }
    }

    /// Returns the bytes at `position`; the caller keeps to the protocol's
    /// word on how long they stay.
    pub fn bytes<'a>(self, position: u64, len: u64) -> &'a [u8] {
        let at = self.at(position, len);
        // SAFETY: `at` has checked the place, which stays mapped for good.
        unsafe { std::slice::from_raw_parts(at.as_ptr(), len as usize) }
    }

    /// Writes the parts, one after another, at `position`.
    pub fn write(self, mut position: u64, parts: &[&[u8]]) {
        for part in parts {
            let at = self.at(position, part.len() as u64);
            // SAFETY: `at` has checked the place; a part is never of the ring.
            unsafe { std::ptr::copy_nonoverlapping(part.as_ptr(), at.as_ptr(), part.len()) };
            position += part.len() as u64;
        }
    }

    /// Returns the address of `len` bytes that lie in one piece.
    fn at(self, position: u64, len: u64) -> NonNull<u8> {
        let offset = position % self.capacity;
        // Garbage must not take us out of the ring.
        assert!(
            self.holds(position, len),
            "a record reaches over the end of its ring"
        );
        // SAFETY: the sum lies inside the ring.
        unsafe { self.base.add(offset as usize) }
    }
}

/// Returns the bytes that `len` take with what fills the last word.
pub fn padded(len: u64) -> u64 {
    len.next_multiple_of(WORD)
}
