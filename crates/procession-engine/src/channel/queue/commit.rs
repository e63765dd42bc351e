//! One end's place in the segments, published by one store.

use procession_sys::primitive::{AtomicU64, Ordering};

/// Where an end is: the segment and how far into it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The segment's offset in the arena.
    pub segment: u64,
    /// Bytes into it.
    pub position: u64,
    /// Bytes that the segment has; the head does not use it.
    pub capacity: u64,
}

impl Cursor {
    /// Returns where that is in the arena.
    pub fn offset(self) -> u64 {
        self.segment + self.position
    }
}

/// Two places, and a word that says which of them counts and how many items have
/// passed. Only the holder of the end's guard changes it.
///
/// A new place is written aside and the word stored after it, so a process that is
/// killed in between has changed nothing. No two states have the same word.
#[derive(Debug)]
#[repr(C)]
pub struct Commit {
    /// Twice the count, plus the index of the place that counts.
    word: AtomicU64,
    places: [[AtomicU64; 2]; 2],
}

impl Commit {
    /// Returns the word of the state that counts.
    pub fn word(&self) -> u64 {
        self.word.load(Ordering::Relaxed)
    }

    /// Returns how many items have passed this end.
    pub fn count(&self) -> u64 {
        // Acquire pairs with the Release in `advance`: items that are counted
        // can be read.
        self.word.load(Ordering::Acquire) >> 1
    }

    /// Returns the place; for the holder of the guard.
    pub fn place(&self) -> Cursor {
        let [segment, packed] = &self.places[(self.word() & 1) as usize];
        let packed = packed.load(Ordering::Relaxed);
        Cursor {
            segment: segment.load(Ordering::Relaxed),
            position: packed >> 32,
            capacity: packed & 0xffff_ffff,
        }
    }

    /// Publishes the next place, `items` further on; for the holder of the guard.
    pub fn advance(&self, items: u64, place: Cursor) {
        let word = self.word();
        self.write(!word & 1, place);
        // Release pairs with the Acquire in `count`.
        self.word
            .store(((word >> 1) + items) << 1 | (!word & 1), Ordering::Release);
    }

    /// Sets the place that counts, where nobody else can see it yet.
    pub fn begin(&self, place: Cursor) {
        self.write(self.word() & 1, place);
    }

    fn write(&self, index: u64, place: Cursor) {
        let [segment, packed] = &self.places[index as usize];
        segment.store(place.segment, Ordering::Relaxed);
        packed.store(place.position << 32 | place.capacity, Ordering::Relaxed);
    }
}
