//! An end of a pipe as a face holds it: a descriptor, and what it shares.

#![allow(dead_code, reason = "each test program uses some of it")]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use procession_engine::channel::pipe::receiving::Receiving;
use procession_engine::channel::pipe::sending::Sending;
use procession_engine::channel::{Message, PipeShared, pipe};
use procession_engine::sys::wait::poll::wait_readable;
use procession_engine::sys::wait::time::Deadline;
use procession_engine::{ErrorKind, Result};

pub struct PipeEnd {
    fd: OwnedFd,
    track: PipeShared,
}

/// Makes a pipe.
pub fn pipe_ends() -> (PipeEnd, PipeEnd) {
    let [first, second] = pipe().unwrap();
    let end = |(fd, track)| PipeEnd { fd, track };
    (end(first), end(second))
}

impl PipeEnd {
    /// Sends a message; the deadline is for its beginning.
    pub fn send(&self, parts: &[&[u8]], deadline: Deadline) -> Result<()> {
        let mut sending = Sending::new(self.fd.as_fd(), Some(&self.track), parts);
        let mut result = sending.go_on(deadline);
        while may_go_on(&result) && sending.is_cut() {
            result = sending.go_on(Deadline::NEVER);
        }
        result
    }

    /// Receives a message; the deadline is for its beginning.
    pub fn recv(&self, deadline: Deadline) -> Result<Message> {
        let mut receiving = Receiving::new(self.fd.as_fd(), Some(&self.track), usize::MAX);
        let mut result = receiving.go_on(deadline);
        // It has only stopped looking, and sleeps from now on.
        if matches!(&result, Err(error) if error.kind() == ErrorKind::Interrupted) {
            result = receiving.go_on(deadline);
        }
        while may_go_on(&result) && receiving.is_cut() {
            result = receiving.go_on(Deadline::NEVER);
        }
        result
    }

    /// Tells whether there is something to receive now, the end included.
    pub fn is_readable(&self) -> bool {
        wait_readable(&self.fd, Deadline::now()).unwrap()
    }
}

impl AsFd for PipeEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn may_go_on<T>(result: &Result<T>) -> bool {
    matches!(result, Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::TimedOut))
}
