//! What the process that asks for another hands over to it.

use std::os::fd::{BorrowedFd, OwnedFd};

use crate::arena::member::DAEMON;
use crate::process::Payload;

/// Says what a new process is to be, and what it is to do.
#[derive(Debug, Default)]
pub struct Orders<'fd> {
    /// Its name in the family's table, for others to see.
    pub name: String,
    /// Whether it ends when its parent does, by whatever cause.
    pub daemon: bool,
    /// What it is to do, in the face's own format.
    pub payload: Option<Payload>,
    /// Descriptors for it, which it receives in this order.
    pub fds: Vec<BorrowedFd<'fd>>,
}

impl Orders<'_> {
    /// Tells whether a spare must be able to receive descriptors for this.
    #[must_use]
    pub fn needs_mail(&self) -> bool {
        !self.fds.is_empty() || self.daemon
    }

    /// Tells the same for a spare that we keep, which has our lifeline.
    pub(super) fn needs_spare_mail(&self) -> bool {
        !self.fds.is_empty()
    }

    pub(super) fn flags(&self) -> u32 {
        if self.daemon { DAEMON } else { 0 }
    }
}

/// What a new process was handed over.
#[derive(Debug, Default)]
pub struct Received {
    /// What to do, in the face's own format.
    pub payload: Option<Payload>,
    /// The descriptors of [`Orders::fds`], in the same order; numbers may differ.
    pub fds: Vec<OwnedFd>,
}
