//! The identity of a member: its slot in the member table and that slot's generation.

use std::fmt;

/// Slots in the member table; slot 0 belongs to no member.
pub const MAX_MEMBERS: usize = 1 << SLOT_BITS;

const SLOT_BITS: u32 = 12;
const GENERATION_BITS: u32 = 19;
const GENERATION_MASK: u32 = (1 << GENERATION_BITS) - 1;

/// Names one member of the family, and no later member in the same slot (until 524,288
/// members have used the slot).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Stamp(u32);

impl Stamp {
    /// Names nobody.
    pub const NOBODY: Self = Self(0);

    /// Makes the stamp of a slot in its given generation.
    #[must_use]
    pub fn new(slot: usize, generation: u32) -> Self {
        debug_assert!(slot < MAX_MEMBERS);
        Self(slot as u32 | (generation & GENERATION_MASK) << SLOT_BITS)
    }

    /// Reads a stamp back from its number; bit 31 is not part of it.
    #[must_use]
    pub fn from_raw(raw: u32) -> Self {
        Self(raw & ((1 << (SLOT_BITS + GENERATION_BITS)) - 1))
    }

    /// Returns the number, below 2^31.
    #[must_use]
    pub fn raw(self) -> u32 {
        self.0
    }

    /// Returns the slot in the member table.
    #[must_use]
    pub fn slot(self) -> usize {
        (self.0 & ((1 << SLOT_BITS) - 1)) as usize
    }

    /// Returns the slot's generation.
    #[must_use]
    pub fn generation(self) -> u32 {
        self.0 >> SLOT_BITS
    }

    /// Tells whether this names nobody.
    #[must_use]
    pub fn is_nobody(self) -> bool {
        self.slot() == 0
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot(), self.generation())
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
