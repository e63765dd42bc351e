//! Starting a process by a fork.
//!
//! The face calls `fork` itself (through the C library, or through an interpreter with rules
//! of its own), so this file has the part before the fork and the part after it.

use crate::family;
use crate::launch::boot::hold_for_life;
use crate::launch::spec::LaunchSpec;
use crate::launch::surplus;
use crate::process::{Child, sweep};
use crate::trace;
use procession_shm::member::table::BOOTED;
use procession_shm::{Family, Stamp};
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::fd::streams;
use procession_sys::process::fork::Forked as Side;
use procession_sys::process::lifeline::{self, Lifeline};
use procession_sys::process::pidfd::{PidFd, abandon};
use procession_sys::sandbox::{Need, must_allow};

/// The side of a fork on which the caller is.
#[derive(Debug)]
pub enum Forked {
    /// In the parent, which holds the child.
    Parent(Child),
    /// In the child.
    Child,
}

/// Forks by `fork`, and does what procession needs on both sides.
///
/// The child has a copy of all that the parent has, so the payload and the descriptors
/// of the launch spec are not used.
///
/// # Errors
/// The error of `fork`, or `Limit` when the family is full. In the child: when no descriptor
/// is left to tie it to its parent; it must end then.
pub fn fork_with(spec: &LaunchSpec<'_>, fork: impl FnMut() -> Result<Side>) -> Result<Forked> {
    let prepared = PreparedFork::new(spec)?;
    match surplus::in_room(fork)? {
        Side::Parent(pid) => prepared.in_parent(pid).map(Forked::Parent),
        Side::Child => {
            prepared.in_child()?;
            Ok(Forked::Child)
        }
    }
}

/// A prepared fork, which this thread is about to make.
///
/// Dropping it gives up the start. If the fork was made nevertheless, its child is killed
/// and reaped, or ends by itself when it finds its slot gone.
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
    pub fn new(spec: &LaunchSpec<'_>) -> Result<Self> {
        must_allow(Need::Starts)?;
        surplus::pause();
        if spec.daemon {
            // Opened before the fork, so that the child inherits it.
            drop(lifeline::read_end()?);
        }
        let mut this = Self::with_flags(&spec.name, spec.flags() | BOOTED)?;
        this.daemon = spec.daemon;
        Ok(this)
    }

    /// Prepares a fork; the member table gets these flags for the child.
    pub(crate) fn with_flags(name: &str, flags: u32) -> Result<Self> {
        sweep();
        let family = family()?;
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

    /// Returns the child; called in the parent.
    ///
    /// # Errors
    /// `Limit` when no descriptor is left to watch the child by; it was ended
    /// and reaped then.
    pub fn in_parent(self, pid: u32) -> Result<Child> {
        let family = self.family;
        let opened = PidFd::of_child(pid);
        let child = self.in_keeper();
        match opened {
            Ok(pidfd) => Ok(Child::own(family, child, pidfd)),
            Err(error) => {
                // The child was reaped, and its pid may be reused: do not use it.
                let _ = family.cancel_fork(child);
                family.release_member(child);
                Err(error)
            }
        }
    }

    /// Hands the child over to the process that keeps spares, which will free its slot;
    /// returns its stamp.
    pub(crate) fn in_keeper(self) -> Stamp {
        let child = self.child;
        self.family.end_fork();
        std::mem::forget(self);
        child
    }

    /// Finishes the start in the child: a daemon holds the parent's lifeline from here on, and
    /// missing standard streams are opened.
    ///
    /// # Errors
    /// When no descriptor is left for that, or the parent has given up the start;
    /// the child must end then.
    pub fn in_child(self) -> Result<()> {
        if self.family.me().is_nobody() {
            let message = "the start of this process was given up while it was forked";
            return Err(Error::new(ErrorKind::Dead, message));
        }
        if self.daemon {
            hold_for_life(Lifeline::hold_inherited()?);
        }
        if self.family.is_traced() {
            trace::process_started(self.family);
        }
        streams::fill()
    }

    /// Gives up the start, as dropping does: if the child was forked nevertheless, it is
    /// killed and reaped.
    pub fn cancel(self) {
        drop(self);
    }
}

impl Drop for PreparedFork {
    fn drop(&mut self) {
        // Only in the parent: in the child, the slot is the child's own.
        if self.family.me() == self.parent
            && let Some(pid) = self.family.cancel_fork(self.child)
        {
            // The face has forked, but did not report the child's pid.
            let _ = abandon(pid);
            self.family.release_member(self.child);
        }
    }
}
