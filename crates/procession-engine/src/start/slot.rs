//! A place in the family that is given back unless a process takes it.

use crate::arena::{Family, Stamp};
use crate::error::Result;
use crate::process::sweep;

/// Holds a place set aside for a process that is about to start. Dropping it
/// gives the place back, with all blocks that were given to it.
#[derive(Debug)]
pub(super) struct Slot {
    family: &'static Family,
    stamp: Stamp,
}

impl Slot {
    /// Sets a place aside for a process with these flags of the member table.
    ///
    /// # Errors
    /// `Limit` when the family is full.
    pub(super) fn reserve(name: &str, flags: u32) -> Result<Self> {
        sweep();
        let family = Family::get()?;
        let stamp = family.reserve_member()?;
        family.member(stamp).describe(name, flags);
        Ok(Self { family, stamp })
    }

    pub(super) fn family(&self) -> &'static Family {
        self.family
    }

    pub(super) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Leaves the place to the process that was started.
    pub(super) fn keep(self) -> Stamp {
        let stamp = self.stamp;
        std::mem::forget(self);
        stamp
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.family.release_member(self.stamp);
    }
}
