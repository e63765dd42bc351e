//! The launch spec: everything that a process hands over to a process that it starts.

use std::os::fd::{BorrowedFd, OwnedFd};

use crate::process::Payload;
use procession_shm::member::table::DAEMON;

/// Specifies a new process.
#[derive(Debug, Default)]
pub struct LaunchSpec<'fd> {
    /// Its name in the member table, for display.
    pub name: String,
    /// Whether it ends when its parent ends, for whatever reason.
    pub daemon: bool,
    /// What to run, in the face's own format.
    pub payload: Option<Payload>,
    /// Descriptors to pass on, in this order.
    pub fds: Vec<BorrowedFd<'fd>>,
}

impl LaunchSpec<'_> {
    /// Tells whether a spare of a server needs a mailbox for this.
    #[must_use]
    pub fn needs_mail(&self) -> bool {
        !self.fds.is_empty() || self.daemon
    }

    /// Tells the same for a spare of this process, which has this process's lifeline already.
    pub(crate) fn needs_spare_mail(&self) -> bool {
        !self.fds.is_empty()
    }

    pub(crate) fn flags(&self) -> u32 {
        if self.daemon { DAEMON } else { 0 }
    }
}

/// Everything that a new process has inherited.
#[derive(Debug, Default)]
pub struct Inherited {
    /// What to run, in the face's own format.
    pub payload: Option<Payload>,
    /// The descriptors of [`LaunchSpec::fds`], in the same order; numbers may differ.
    pub fds: Vec<OwnedFd>,
}
