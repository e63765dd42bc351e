//! A process that is a copy of this one.
//!
//! Who forks is the face's choice (the C library, or an interpreter with rules
//! of its own), so this is in two halves around the fork itself.

use crate::arena::member::BOOTED;
use crate::arena::{Family, Stamp};
use crate::error::Result;
use crate::os::fork::Forked as Side;
use crate::os::lifeline::{self, Lifeline};
use crate::os::pidfd::PidFd;
use crate::process::{Child, sweep};
use crate::start::join::hold_for_life;
use crate::start::orders::Orders;
use crate::start::spawn_spares;

/// Says on which side of a fork the caller is.
#[derive(Debug)]
pub enum Forked {
    /// In the parent, which holds the child.
    Parent(Child),
    /// In the child.
    Child,
}

/// Forks by `fork`, and does what procession needs on both sides.
///
/// The child has all that the parent had, so the payload and the descriptors
/// of `orders` are not used.
///
/// # Errors
/// What `fork` says, or `Limit` when the family is full. In the child: when no
/// descriptor is left to tie it to its parent; it must end then.
pub fn fork_with(orders: &Orders<'_>, fork: impl FnOnce() -> Result<Side>) -> Result<Forked> {
    let prepared = PreparedFork::new(orders)?;
    match fork()? {
        Side::Parent(pid) => prepared.in_parent(pid).map(Forked::Parent),
        Side::Child => {
            prepared.in_child()?;
            Ok(Forked::Child)
        }
    }
}

/// Has all ready for the fork that this thread is about to make.
///
/// Dropping it says that there was no fork.
#[derive(Debug)]
#[must_use = "after the fork, one side calls `in_parent` and the other `in_child`"]
pub struct PreparedFork {
    family: &'static Family,
    parent: Stamp,
    child: Stamp,
    daemon: bool,
}

impl PreparedFork {
    /// Prepares a fork by this thread.
    ///
    /// # Errors
    /// `Limit` when the family is full or no descriptor is left.
    pub fn new(orders: &Orders<'_>) -> Result<Self> {
        spawn_spares::pause();
        if orders.daemon {
            // Opened before the fork, for the child to inherit.
            drop(lifeline::read_end()?);
        }
        let mut this = Self::with_flags(&orders.name, orders.flags() | BOOTED)?;
        this.daemon = orders.daemon;
        Ok(this)
    }

    /// Prepares the fork of a process with these flags of the member table.
    pub(super) fn with_flags(name: &str, flags: u32) -> Result<Self> {
        sweep();
        let family = Family::get()?;
        let parent = family.me();
        let child = family.prepare_fork()?;
        family.member(child).describe(name, flags);
        Ok(Self {
            family,
            parent,
            child,
            daemon: false,
        })
    }

    /// Returns the stamp that the child will have.
    #[must_use]
    pub fn child(&self) -> Stamp {
        self.child
    }

    /// Takes charge of the child, in the parent.
    ///
    /// # Errors
    /// `Limit` when no descriptor is left to watch the child by; it was ended
    /// and reaped then.
    pub fn in_parent(self, pid: u32) -> Result<Child> {
        // On failure the child is gone, and dropping `self` frees its place.
        let pidfd = PidFd::of_child(pid)?;
        let family = self.family;
        Ok(Child::own(family, self.in_keeper(), pidfd))
    }

    /// Leaves the child to a parent that keeps it for another process, and will free
    /// its place; returns its stamp.
    pub(super) fn in_keeper(self) -> Stamp {
        let child = self.child;
        std::mem::forget(self);
        child
    }

    /// Ties the child to its parent if it is to end with it, in the child.
    ///
    /// # Errors
    /// When no descriptor is left for that; the child must end then.
    pub fn in_child(self) -> Result<()> {
        if self.daemon {
            hold_for_life(Lifeline::hold_inherited()?);
        }
        Ok(())
    }

    /// Says that there was no fork, as dropping does.
    pub fn cancel(self) {
        drop(self);
    }
}

impl Drop for PreparedFork {
    fn drop(&mut self) {
        // In the child the place is its own.
        if self.family.me() == self.parent {
            self.family.cancel_fork(self.child);
        }
    }
}
