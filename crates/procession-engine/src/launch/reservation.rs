//! A reserved member slot, which is given back unless a process takes it.

use crate::family;
use crate::process::sweep;
use procession_shm::{Family, Stamp};
use procession_sys::error::Result;

/// Holds a member slot for a process that is about to start. Dropping it gives the slot back,
/// and frees all blocks that were given to the member.
#[derive(Debug)]
pub(crate) struct MemberReservation {
    family: &'static Family,
    stamp: Stamp,
}

impl MemberReservation {
    /// Reserves a slot for a process with these flags of the member table.
    ///
    /// # Errors
    /// `Limit` when the family is full.
    pub(crate) fn reserve(name: &str, flags: u32) -> Result<Self> {
        sweep();
        let family = family()?;
        let stamp = family.reserve_member()?;
        family.member(stamp).describe(name, flags);
        Ok(Self { family, stamp })
    }

    /// Reserves a slot as [`reserve`](Self::reserve) does, for the thread that boots spares: it
    /// opens no descriptor, and reclaims no member.
    ///
    /// # Errors
    /// `Limit` when all slots are taken, by living or dead members.
    pub(crate) fn reserve_unused(name: &str, flags: u32) -> Result<Self> {
        let family = family()?;
        let stamp = family.reserve_unused_member()?;
        family.member(stamp).describe(name, flags);
        Ok(Self { family, stamp })
    }

    pub(crate) fn family(&self) -> &'static Family {
        self.family
    }

    pub(crate) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Gives back a slot whose member owns nothing; the thread that boots spares has to use
    /// this.
    pub(crate) fn give_back_unused(self) {
        self.family.release_unused_member(self.stamp);
        std::mem::forget(self);
    }

    /// Leaves the slot to the process that was started.
    pub(crate) fn keep(self) -> Stamp {
        let stamp = self.stamp;
        std::mem::forget(self);
        stamp
    }
}

impl Drop for MemberReservation {
    fn drop(&mut self) {
        self.family.release_member(self.stamp);
    }
}
