//! A ring of bytes in the arena, in which records lie one after another.
//!
//! A record lies in one piece: a record that does not fit before the ring's end begins at
//! the ring's start, and a skip mark fills the rest. Positions count bytes and never go back.
//! The [`task_queue`](super::task_queue) and the [`reply_queue`](super::reply_queue) say which
//! side may access which positions.
//!
//! # Safety
//! A ring is part of an object that lives while the process is attached. That nobody writes
//! bytes which another looks at follows from the protocol of those queues. So code that
//! takes the right to write bytes, or borrows some, says in an `unsafe` block why the
//! protocol lets it. Words are atomics, and may be read at any place and time.

#![expect(unsafe_code, reason = "records are bytes of the arena")]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a word; records consist of whole words.
const WORD: u64 = 8;

/// Gives access to the bytes of one ring.
#[derive(Clone, Copy, Debug)]
pub struct Ring {
    base: NonNull<u8>,
    capacity: u64,
}

// SAFETY: the address is in the arena, which every thread may access; the queue words beside
// the ring say which side may access which bytes.
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

    /// Reads the word at `position`, a multiple of 8.
    pub fn word(self, position: u64) -> u64 {
        // Relaxed here and below: the queue's words say what may be read.
        self.atomic(position).load(Ordering::Relaxed)
    }

    /// Takes the right to write from `position` to `limit`.
    ///
    /// # Safety
    /// For as long as it exists, nobody else writes there, and nobody has borrowed any of the
    /// bytes.
    pub unsafe fn writable(self, position: u64, limit: u64) -> WritableRange {
        WritableRange {
            ring: self,
            position,
            limit,
        }
    }

    /// Borrows the bytes at `position`.
    ///
    /// # Safety
    /// Nobody writes there for as long as they are borrowed.
    pub unsafe fn bytes<'a>(self, position: u64, len: u64) -> &'a [u8] {
        let at = self.at(position, len);
        // SAFETY: `at` has checked the place, which stays mapped for good; the caller
        // promises the rest.
        unsafe { std::slice::from_raw_parts(at.as_ptr(), len as usize) }
    }

    fn atomic<'a>(self, position: u64) -> &'a AtomicU64 {
        let at = self.at(position & !(WORD - 1), WORD);
        // SAFETY: `at` has checked the place, which stays mapped for good, and is aligned like
        // the base and the position.
        unsafe { AtomicU64::from_ptr(at.cast().as_ptr()) }
    }

    /// Returns the address of `len` bytes that lie in one piece.
    fn at(self, position: u64, len: u64) -> NonNull<u8> {
        let offset = position % self.capacity;
        // Even if the other side wrote garbage, no access may leave the ring.
        assert!(
            self.holds(position, len),
            "a record reaches over the end of its ring"
        );
        // SAFETY: the sum lies inside the ring.
        unsafe { self.base.add(offset as usize) }
    }
}

/// The right to write some bytes of a ring.
#[derive(Debug)]
pub struct WritableRange {
    ring: Ring,
    position: u64,
    limit: u64,
}

impl WritableRange {
    /// Returns the ring.
    pub fn ring(&self) -> Ring {
        self.ring
    }

    /// Returns where it begins.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Returns where it ends.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Writes the word at `position`, a multiple of 8.
    ///
    /// # Panics
    /// When that is not in the range.
    pub fn set_word(&mut self, position: u64, word: u64) {
        self.check(position, WORD);
        self.ring.atomic(position).store(word, Ordering::Relaxed);
    }

    /// Writes the parts, one after another, at `position`.
    ///
    /// # Panics
    /// When they are not in the range, or one of them reaches over the end of the ring.
    pub fn write(&mut self, mut position: u64, parts: &[&[u8]]) {
        for part in parts {
            let len = part.len() as u64;
            self.check(position, len);
            let at = self.ring.at(position, len);
            // SAFETY: in the range, where only we write; no part lies there, as parts are
            // borrowed.
            unsafe { std::ptr::copy_nonoverlapping(part.as_ptr(), at.as_ptr(), part.len()) };
            position += len;
        }
    }

    fn check(&self, position: u64, len: u64) {
        assert!(
            (self.position..=self.limit).contains(&position) && len <= self.limit - position,
            "a record reaches over its room in a ring"
        );
    }
}

/// Returns `len` rounded up to whole words.
pub fn padded(len: u64) -> u64 {
    len.next_multiple_of(WORD)
}
