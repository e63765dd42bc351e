//! Blocks by their offsets: finding a block, its owner, and changes of the owner.
//!
//! The owner changes by one compare-exchange of the block's word, whether the block lies
//! in a span or is a run of chunks.
//!
//! To find the word of a block in a span, [`find`] reads the block size from the chunk's
//! word first. A caller that does not own the block (its handle may be stale) has to expect
//! that between the two reads the chunk becomes a span of another block size: then the
//! block's word would be that of a block that begins elsewhere. So `find` reads the chunk's
//! word again at the end, which shows whether that happened.

use crate::alloc::layout::CHUNK;
use crate::alloc::spans;
use crate::alloc::state_word::{StateWord, Use};
use crate::alloc::store::BackingStore;
use crate::member::stamp::Stamp;
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::primitive::{AtomicU64, Ordering};

/// Where a block's word is.
#[derive(Clone, Copy, Debug)]
pub enum WordLocation {
    /// A run that begins with that chunk.
    Run(u64),
    /// The chunk of a span, and which of its blocks.
    Small(u64, u64),
}

/// Describes a taken block as it was when it was read.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Where its word is.
    pub place: WordLocation,
    /// What the word said.
    pub word: StateWord,
    /// Its bytes.
    pub capacity: u64,
}

impl Found {
    /// Tells whether the block is owned by a member (nobody: by the family).
    pub fn is_of(&self, owner: Stamp) -> bool {
        usize::from(self.word.owner) == owner.slot()
    }

    /// Replaces the block's word if it is unchanged; tells whether it was.
    fn replace(&self, store: &impl BackingStore, next: StateWord) -> bool {
        let (now, next) = (self.word.pack(), next.pack());
        // AcqRel: the block's contents are handed over with the ownership.
        cell(store, self.place)
            .compare_exchange(now, next, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

/// Finds the taken block that begins at `offset`.
pub fn find(store: &impl BackingStore, offset: u64) -> Result<Found> {
    let stale = || stale_block(offset);
    let from_data = offset
        .checked_sub(store.layout().data())
        .ok_or_else(stale)?;
    let (chunk, within) = (from_data / CHUNK, from_data % CHUNK);
    let high = u64::from(store.header().high_water.load(Ordering::Acquire));
    if chunk >= high {
        return Err(stale());
    }
    let raw = store.chunk_word(chunk).load(Ordering::Acquire);
    let whole = StateWord::unpack(raw);
    match whole.usage {
        Use::Taken if within == 0 => Ok(Found {
            place: WordLocation::Run(chunk),
            word: whole,
            capacity: u64::from(whole.size) * CHUNK,
        }),
        Use::Span => {
            let size = spans::size_of(whole.size as usize);
            let index = within / size;
            // Acquire orders this look before the second one at the chunk's word.
            let word = StateWord::unpack(store.block_word(chunk, index).load(Ordering::Acquire));
            let is_of_it = store.chunk_word(chunk).load(Ordering::Relaxed) == raw;
            if is_of_it && word.usage == Use::Taken && within.is_multiple_of(size) {
                return Ok(Found {
                    place: WordLocation::Small(chunk, index),
                    word,
                    capacity: size,
                });
            }
            Err(stale())
        }
        _ => Err(stale()),
    }
}

/// Makes `to` the owner of a block that `from` owns; returns its capacity.
///
/// # Errors
/// `Stale` when `from` does not own a block there.
pub fn change_owner(store: &impl BackingStore, offset: u64, from: Stamp, to: Stamp) -> Result<u64> {
    let found = find(store, offset)?;
    let next = StateWord {
        owner: to.slot() as u16,
        ..found.word
    };
    if found.is_of(from) && found.replace(store, next) {
        return Ok(found.capacity);
    }
    Err(stale_block(offset))
}

/// Makes a block that this process owns an object of the family, in one step.
pub fn publish_object(store: &impl BackingStore, offset: u64) {
    if let Ok(found) = find(store, offset) {
        let object = StateWord {
            object: true,
            owner: 0,
            ..found.word
        };
        // Release: a member that sees the object sees its header.
        cell(store, found.place).store(object.pack(), Ordering::Release);
    }
}

/// Marks a block that this process owns as one that carries loans.
pub fn mark_carrying(store: &impl BackingStore, offset: u64) {
    if let Ok(found) = find(store, offset) {
        let carrying = StateWord {
            carries: true,
            ..found.word
        };
        // Release: a member that sees the mark sees the list.
        cell(store, found.place).store(carrying.pack(), Ordering::Release);
    }
}

/// Makes this process the owner of an object's block, if the block's word is unchanged. The
/// generation in the word tells this object from later ones at the same place.
pub fn hold_object(store: &impl BackingStore, found: &Found, me: Stamp) -> bool {
    let held = StateWord {
        owner: me.slot() as u16,
        ..found.word
    };
    found.replace(store, held)
}

fn cell(store: &impl BackingStore, place: WordLocation) -> &AtomicU64 {
    match place {
        WordLocation::Run(chunk) => store.chunk_word(chunk),
        WordLocation::Small(chunk, index) => store.block_word(chunk, index),
    }
}

/// Returns the error for an offset at which there is no such block.
pub fn stale_block(offset: u64) -> Error {
    Error::new(
        ErrorKind::Stale,
        format!(
            "the block of shared memory at {offset} is gone, or is another's by now: the message \
             that names it was read before, or its sender took it back or has ended; send it anew"
        ),
    )
}
