//! A descriptor by which threads of one process wake each other from `poll`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{Errno, read, write};

use crate::error::{Error, Result};

/// Owns a flag that can be polled: readable while raised.
///
/// A forked child shares it with its parent.
#[derive(Debug)]
pub struct EventFd(OwnedFd);

impl EventFd {
    /// Makes a lowered flag.
    ///
    /// # Errors
    /// `Limit` when no descriptor is left.
    pub fn new() -> Result<Self> {
        eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map(Self)
            .map_err(|e| Error::os("create a flag to wake threads by", e))
    }

    /// Raises the flag.
    pub fn raise(&self) {
        // EAGAIN: the counter is at its end, so the flag is up.
        while write(&self.0, &1u64.to_ne_bytes()) == Err(Errno::INTR) {}
    }

    /// Lowers the flag; tells whether it had been up.
    pub fn lower(&self) -> bool {
        let mut count = [0; 8];
        loop {
            match read(&self.0, &mut count) {
                Err(Errno::INTR) => {}
                other => return other.is_ok(),
            }
        }
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::poll::is_readable;

    #[test]
    fn it_is_readable_while_raised() {
        let flag = EventFd::new().unwrap();
        assert!(!flag.lower());
        flag.raise();
        flag.raise();
        assert!(is_readable(&flag).unwrap());
        assert!(flag.lower());
        assert!(!is_readable(&flag).unwrap());
    }
}
