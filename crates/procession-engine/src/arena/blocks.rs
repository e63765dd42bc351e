//! Blocks by their offsets: what lies there, whose it is, and changes of hand.
//!
//! A change of hand is one compare-exchange of the block's word, whether it lies
//! in a span or is a run of chunks.
//!
//! Which word that is, the chunk's word says: of which size the blocks of its span are.
//! Whoever does not own the block (a handle may be stale) could find the chunk made anew,
//! in blocks of another size, between its look at the chunk and the one at the block, and
//! take hold of what begins elsewhere. So it looks at the chunk again: if the block's
//! word is that of another span, the second look shows it.

use crate::arena::layout::CHUNK;
use crate::arena::ledger::Ledger;
use crate::arena::spans;
use crate::arena::stamp::Stamp;
use crate::arena::word::{Use, Word};
use crate::error::{Error, ErrorKind, Result};
use crate::primitive::{AtomicU64, Ordering};

/// Where a block's word is.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// A run that begins with that chunk.
    Run(u64),
    /// The chunk of a span, and which of its blocks.
    Small(u64, u64),
}

/// A taken block, as it was a moment ago.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Where its word is.
    pub place: Place,
    /// What the word said.
    pub word: Word,
    /// Its bytes.
    pub capacity: u64,
}

impl Found {
    /// Tells whether the block is a member's.
    pub fn is_of(&self, owner: Stamp) -> bool {
        usize::from(self.word.owner) == owner.slot()
    }

    /// Writes another word if it still is what it was; tells whether it was.
    fn replace(&self, ledger: &impl Ledger, next: Word) -> bool {
        let (now, next) = (self.word.pack(), next.pack());
        // AcqRel: hands the contents over with the ownership.
        cell(ledger, self.place)
            .compare_exchange(now, next, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

/// Finds the taken block that begins at `offset`.
pub fn find(ledger: &impl Ledger, offset: u64) -> Result<Found> {
    let stale = || stale_block(offset);
    let from_data = offset
        .checked_sub(ledger.layout().data())
        .ok_or_else(stale)?;
    let (chunk, within) = (from_data / CHUNK, from_data % CHUNK);
    let high = u64::from(ledger.header().high_water.load(Ordering::Acquire));
    if chunk >= high {
        return Err(stale());
    }
    let raw = ledger.chunk_word(chunk).load(Ordering::Acquire);
    let whole = Word::unpack(raw);
    match whole.usage {
        Use::Taken if within == 0 => Ok(Found {
            place: Place::Run(chunk),
            word: whole,
            capacity: u64::from(whole.size) * CHUNK,
        }),
        Use::Span => {
            let size = spans::size_of(whole.size as usize);
            let index = within / size;
            // Acquire orders this look before the second one at the chunk's word.
            let word = Word::unpack(ledger.block_word(chunk, index).load(Ordering::Acquire));
            let is_of_it = ledger.chunk_word(chunk).load(Ordering::Relaxed) == raw;
            if is_of_it && word.usage == Use::Taken && within.is_multiple_of(size) {
                return Ok(Found {
                    place: Place::Small(chunk, index),
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
pub fn change_owner(ledger: &impl Ledger, offset: u64, from: Stamp, to: Stamp) -> Result<u64> {
    let found = find(ledger, offset)?;
    let next = Word {
        owner: to.slot() as u16,
        ..found.word
    };
    if found.is_of(from) && found.replace(ledger, next) {
        return Ok(found.capacity);
    }
    Err(stale_block(offset))
}

/// Marks a block of ours as an object and makes it the family's, in one step.
pub fn publish_object(ledger: &impl Ledger, offset: u64) {
    if let Ok(found) = find(ledger, offset) {
        let object = Word {
            object: true,
            owner: 0,
            ..found.word
        };
        // Release: whoever sees an object sees its header.
        cell(ledger, found.place).store(object.pack(), Ordering::Release);
    }
}

/// Marks a block of ours as one that carries loans, which go with it from here on.
pub fn mark_carrying(ledger: &impl Ledger, offset: u64) {
    if let Ok(found) = find(ledger, offset) {
        let carrying = Word {
            carries: true,
            ..found.word
        };
        // Release: whoever sees the mark sees the list.
        cell(ledger, found.place).store(carrying.pack(), Ordering::Release);
    }
}

/// Makes an object's block ours, if its word still is what it was: the generation in it
/// tells this object from all that come after it.
pub fn hold_object(ledger: &impl Ledger, found: &Found, me: Stamp) -> bool {
    let held = Word {
        owner: me.slot() as u16,
        ..found.word
    };
    found.replace(ledger, held)
}

fn cell(ledger: &impl Ledger, place: Place) -> &AtomicU64 {
    match place {
        Place::Run(chunk) => ledger.chunk_word(chunk),
        Place::Small(chunk, index) => ledger.block_word(chunk, index),
    }
}

/// Makes the error that tells of an offset at which there is no such block.
pub fn stale_block(offset: u64) -> Error {
    Error::new(
        ErrorKind::Stale,
        format!("the block at {offset} is not, or no longer, what the message says"),
    )
}
