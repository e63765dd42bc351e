//! The state word of a chunk or block: its use and its owner.
//!
//! Every claim, change of owner and release is one compare-exchange of one
//! such word, so a kill leaves each block either as it was before the change or as it is
//! after it, with its owner's slot in the word.

use crate::member::stamp::Stamp;

/// What a chunk or block is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Not in use.
    Free,
    /// A block that a member or the family owns.
    Taken,
    /// A chunk that is cut into blocks of one size class.
    Span,
    /// A free block of a span that is being given back.
    Retired,
}

/// The unpacked word. Bits, from the lowest: use 2, object 1, owner slot 12,
/// size 22, carries 1, generation 26.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateWord {
    /// What it is used for.
    pub usage: Use,
    /// Whether an object's header begins the block.
    pub object: bool,
    /// The owner's slot; 0 is the family, which no death frees.
    pub owner: u16,
    /// Chunks of a run, or the size class of a span.
    pub size: u32,
    /// Whether the block carries loans (`transfer/carrier.rs`).
    pub carries: bool,
    /// Counts how often the place was taken and freed, so that a new block is not mistaken
    /// for an old one.
    pub generation: u32,
}

const OBJECT_BIT: u64 = 1 << 2;
const OWNER_SHIFT: u32 = 3;
const SIZE_SHIFT: u32 = 15;
const CARRIES_SHIFT: u32 = 37;
const GENERATION_SHIFT: u32 = 38;
const OWNER_MASK: u64 = (1 << 12) - 1;
const SIZE_MASK: u64 = (1 << 22) - 1;
const GENERATION_MASK: u64 = (1 << 26) - 1;

impl StateWord {
    /// Reads a word.
    #[must_use]
    pub fn unpack(raw: u64) -> Self {
        let usage = match raw & 3 {
            0 => Use::Free,
            1 => Use::Taken,
            2 => Use::Span,
            _ => Use::Retired,
        };
        Self {
            usage,
            object: raw & OBJECT_BIT != 0,
            owner: (raw >> OWNER_SHIFT & OWNER_MASK) as u16,
            size: (raw >> SIZE_SHIFT & SIZE_MASK) as u32,
            carries: raw >> CARRIES_SHIFT & 1 != 0,
            generation: (raw >> GENERATION_SHIFT & GENERATION_MASK) as u32,
        }
    }

    /// Packs the word.
    #[must_use]
    pub fn pack(self) -> u64 {
        let usage = match self.usage {
            Use::Free => 0,
            Use::Taken => 1,
            Use::Span => 2,
            Use::Retired => 3,
        };
        usage
            | u64::from(self.object) << 2
            | (u64::from(self.owner) & OWNER_MASK) << OWNER_SHIFT
            | (u64::from(self.size) & SIZE_MASK) << SIZE_SHIFT
            | u64::from(self.carries) << CARRIES_SHIFT
            | (u64::from(self.generation) & GENERATION_MASK) << GENERATION_SHIFT
    }

    /// Returns the word of the same place, taken by `owner`.
    #[must_use]
    pub fn taken(self, owner: Stamp, size: u32) -> Self {
        Self {
            usage: Use::Taken,
            object: false,
            owner: owner.slot() as u16,
            size,
            carries: false,
            generation: self.generation.wrapping_add(1),
        }
    }

    /// Returns the word of the same place, free again.
    #[must_use]
    pub fn freed(self) -> Self {
        Self {
            usage: Use::Free,
            object: false,
            owner: 0,
            size: 0,
            carries: false,
            generation: self.generation.wrapping_add(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_survives_packing() {
        let word = StateWord {
            usage: Use::Taken,
            object: true,
            owner: 4095,
            size: (1 << 22) - 1,
            carries: true,
            generation: (1 << 26) - 1,
        };
        assert_eq!(StateWord::unpack(word.pack()), word);
        let word = StateWord {
            carries: false,
            ..word
        };
        assert_eq!(StateWord::unpack(word.pack()), word);
        assert_eq!(StateWord::unpack(0).usage, Use::Free);
    }
}
