//! Two ends with descriptors, each of which sends messages to the other.
//!
//! An end is a descriptor and what it shares with the other end; messages go through both
//! as [`sending`] and [`receiving`] say. It crosses to another process as its descriptor (by inheritance or over
//! a socket) and its [`PipeHandle`](super::PipeHandle). A [`duplex`](super::duplex())
//! has no descriptors, and crosses in any message.

pub(crate) mod framing;
pub(crate) mod handover;
pub mod receiving;
pub mod sending;
pub(crate) mod shared;

use std::os::fd::OwnedFd;

use crate::channel::PipeShared;
use procession_sys::error::Result;
use procession_sys::sandbox::{Need, must_allow};
use procession_sys::socket::io;

/// Makes a pipe; returns its two ends, which are alike.
///
/// ```
/// use std::os::fd::AsFd;
///
/// use procession_engine::channel::pipe;
/// use procession_engine::channel::pipe::receiving::Receiving;
/// use procession_engine::channel::pipe::sending::Sending;
/// use procession_engine::sys::wait::time::Deadline;
///
/// let [(here, ours), (there, theirs)] = pipe()?;
/// let parts: [&[u8]; 2] = [b"he", b"llo"];
/// Sending::new(here.as_fd(), Some(&ours), &parts).go_on(Deadline::NEVER)?;
/// let mut receiving = Receiving::new(there.as_fd(), Some(&theirs), usize::MAX);
/// assert_eq!(&*receiving.go_on(Deadline::NEVER)?, b"hello");
/// # Ok::<(), procession_engine::Error>(())
/// ```
///
/// # Errors
/// `Limit` when no descriptor is left, `OutOfMemory`.
pub fn pipe() -> Result<[(OwnedFd, PipeShared); 2]> {
    must_allow(Need::Pipes)?;
    let (first, second) = io::stream_pair()?;
    let (here, there) = PipeShared::pair()?;
    Ok([(first, here), (second, there)])
}
