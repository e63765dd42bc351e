//! Two ends with descriptors, each of which sends messages to the other.
//!
//! An end crosses to another process as its descriptor (by inheritance or over
//! a socket) and its [`TrackHandle`](super::TrackHandle). A [`link`](super::link())
//! has no descriptors, and crosses in any message.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::channel::wire::{Receiving, Sending};
use crate::channel::{Message, Track};
use crate::error::{Error, ErrorKind, Result};
use crate::os::poll::wait_readable;
use crate::os::socket;
use crate::os::time::Deadline;

/// Makes a pipe, both ends of which send and receive.
///
/// ```
/// use procession_engine::channel::pipe;
/// use procession_engine::os::time::Deadline;
///
/// let (here, there) = pipe()?;
/// there.send(&[b"he", b"llo"], Deadline::NEVER)?;
/// assert_eq!(&*here.recv(Deadline::NEVER)?, b"hello");
/// # Ok::<(), procession_engine::Error>(())
/// ```
///
/// # Errors
/// `Limit` when no descriptor is left, `OutOfMemory`.
pub fn pipe() -> Result<(PipeEnd, PipeEnd)> {
    let (first, second) = socket::stream_pair()?;
    let (here, there) = Track::pair()?;
    Ok((
        PipeEnd::from_parts(first, here),
        PipeEnd::from_parts(second, there),
    ))
}

/// Makes a pipe of which the first end only receives and the second only sends.
///
/// # Errors
/// As [`pipe`].
pub fn one_way_pipe() -> Result<(PipeEnd, PipeEnd)> {
    let (mut receiver, mut sender) = pipe()?;
    receiver.way = Way::In;
    sender.way = Way::Out;
    Ok((receiver, sender))
}

/// One end of a pipe.
#[derive(Debug)]
pub struct PipeEnd {
    fd: OwnedFd,
    track: Track,
    way: Way,
}

/// What an end is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Both,
    In,
    Out,
}

impl PipeEnd {
    /// Puts together an end of what has crossed.
    #[must_use]
    pub fn from_parts(fd: OwnedFd, track: Track) -> Self {
        let way = Way::Both;
        Self { fd, track, way }
    }

    /// Takes an end apart, for faces with descriptors of their own.
    #[must_use]
    pub fn into_parts(self) -> (OwnedFd, Track) {
        (self.fd, self.track)
    }

    /// Sends a message, its bytes taken from the parts in turn. The deadline
    /// is for its beginning: what has begun to leave, leaves.
    ///
    /// # Errors
    /// `Closed` when nobody holds the other end, or a process died in the middle
    /// of a message; `TimedOut`, `Interrupted`; `Invalid` at the end that only
    /// receives.
    pub fn send(&self, parts: &[&[u8]], deadline: Deadline) -> Result<()> {
        if self.way == Way::In {
            return Err(only("receives"));
        }
        let mut sending = Sending::new(self.fd.as_fd(), Some(&self.track), parts);
        let mut result = sending.go_on(deadline);
        while may_go_on(&result) && sending.is_cut() {
            result = sending.go_on(Deadline::NEVER);
        }
        result
    }

    /// Receives the next message. The deadline is for its beginning.
    ///
    /// # Errors
    /// `Closed` when nobody holds the other end and no message is left, `Dead`
    /// when the sender ended in the middle of one; `TimedOut`, `Interrupted`,
    /// `OutOfMemory`; `Invalid` at the end that only sends.
    pub fn recv(&self, deadline: Deadline) -> Result<Message> {
        if self.way == Way::Out {
            return Err(only("sends"));
        }
        let mut receiving = Receiving::new(self.fd.as_fd(), Some(&self.track), usize::MAX);
        let mut result = receiving.go_on(deadline);
        while may_go_on(&result) && receiving.is_cut() {
            result = receiving.go_on(Deadline::NEVER);
        }
        result
    }

    /// Waits until there is something to receive, the end included, or the
    /// deadline passes; tells whether there is.
    ///
    /// # Errors
    /// `Interrupted`.
    pub fn poll(&self, deadline: Deadline) -> Result<bool> {
        wait_readable(&self.fd, deadline)
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

fn only(does: &str) -> Error {
    let message = format!("this end of the pipe only {does}");
    Error::new(ErrorKind::Invalid, message)
}
