//! A flag by which processes that share it wake each other from `poll`.
//!
//! It is a pipe and not an eventfd: an eventfd has no identity by which to see that the
//! program has closed it and uses its number for another file.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::{Errno, read, write};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::denial::refused;
use crate::error::Result;
use crate::fd::kept_fd::KeptFd;

/// Owns a flag that can be polled: readable while raised.
///
/// A forked child shares it with its parent.
#[derive(Debug)]
pub struct Flag {
    read: KeptFd,
    write: KeptFd,
}

impl Flag {
    /// Makes a lowered flag.
    ///
    /// # Errors
    /// `Limit` when no descriptor is left.
    pub fn new() -> Result<Self> {
        let failed = |e| refused("pipe2", "create a flag to wake others by", e);
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(failed)?;
        Ok(Self {
            read: KeptFd::keep(read).map_err(failed)?,
            write: KeptFd::keep(write).map_err(failed)?,
        })
    }

    /// Raises the flag, unless the program has closed it.
    pub fn raise(&self) {
        if let Some(end) = self.write.ours() {
            // EAGAIN: the pipe is full, so the flag is up.
            while write(end, b"!") == Err(Errno::INTR) {}
        }
    }

    /// Lowers the flag; tells whether it had been up.
    pub fn lower(&self) -> bool {
        let Some(end) = self.read.ours() else {
            return false;
        };
        let mut was_up = false;
        let mut bytes = [0; 256];
        loop {
            match read(end, &mut bytes) {
                Err(Errno::INTR) => {}
                Ok(count) if count == bytes.len() => was_up = true,
                Ok(count) => return was_up || count > 0,
                Err(_) => return was_up,
            }
        }
    }
}

impl AsFd for Flag {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.unverified()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::poll::is_readable;

    #[test]
    fn it_is_readable_while_raised() {
        let flag = Flag::new().unwrap();
        assert!(!flag.lower());
        flag.raise();
        flag.raise();
        assert!(is_readable(&flag).unwrap());
        assert!(flag.lower());
        assert!(!is_readable(&flag).unwrap());
    }
}
