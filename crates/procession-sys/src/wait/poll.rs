//! Waiting for descriptors to become ready.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::time::Timespec;

use crate::denial::refused;
use crate::error::Result;
use crate::wait::time::Deadline;

pub use rustix::event::{PollFd, PollFlags};

/// Blocks until one of `fds` is ready or the deadline passes; returns how many
/// are ready (0: the deadline passed). Each says by `revents` what it is.
///
/// # Errors
/// `Interrupted` when a signal arrived first.
pub fn poll(fds: &mut [PollFd<'_>], deadline: Deadline) -> Result<usize> {
    let timeout = timeout(deadline);
    rustix::event::poll(fds, timeout.as_ref()).map_err(|e| {
        refused(
            "ppoll",
            format_args!("wait for {} descriptors", fds.len()),
            e,
        )
    })
}

/// Blocks until `fd` has something to read, its end included, or the deadline
/// passes; tells which of the two happened.
///
/// # Errors
/// `Interrupted` when a signal arrived first.
pub fn wait_readable(fd: impl AsFd, deadline: Deadline) -> Result<bool> {
    wait_for(fd.as_fd(), PollFlags::IN, deadline)
}

/// Blocks until `fd` takes bytes, or fails at once, or the deadline passes;
/// tells which of the two happened.
///
/// # Errors
/// `Interrupted` when a signal arrived first.
pub fn wait_writable(fd: impl AsFd, deadline: Deadline) -> Result<bool> {
    wait_for(fd.as_fd(), PollFlags::OUT, deadline)
}

/// Tells whether `fd` is readable right now.
///
/// # Errors
/// When the system has no memory to look.
pub fn is_readable(fd: impl AsFd) -> Result<bool> {
    has_now(fd.as_fd(), PollFlags::IN)
}

/// Tells whether nobody holds the other end of a pipe or socket any more.
///
/// Bytes that they sent before may still be there to read.
///
/// # Errors
/// When the system has no memory to look.
pub fn is_hung_up(fd: impl AsFd) -> Result<bool> {
    has_now(fd.as_fd(), PollFlags::RDHUP)
}

fn wait_for(fd: BorrowedFd<'_>, events: PollFlags, deadline: Deadline) -> Result<bool> {
    let mut fds = [PollFd::from_borrowed_fd(fd, events)];
    Ok(poll(&mut fds, deadline)? > 0)
}

/// Looks without waiting, so no signal can interrupt it.
pub(crate) fn has_now(fd: BorrowedFd<'_>, events: PollFlags) -> Result<bool> {
    let mut fds = [PollFd::from_borrowed_fd(fd, events)];
    match rustix::event::poll(&mut fds, Some(&Timespec::default())) {
        Ok(ready) => Ok(ready > 0),
        Err(e) => Err(refused("ppoll", "look at a descriptor", e)),
    }
}

/// Returns what is left as the kernel wants it; a time too long for its type
/// is as good as none.
pub(crate) fn timeout(deadline: Deadline) -> Option<Timespec> {
    deadline
        .remaining()
        .and_then(|left| Timespec::try_from(left).ok())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn says_which_of_several_is_ready() {
        let (quiet, _other) = UnixStream::pair().unwrap();
        let (ready, mut writer) = UnixStream::pair().unwrap();
        writer.write_all(b"x").unwrap();
        let mut fds = [
            PollFd::new(&quiet, PollFlags::IN),
            PollFd::new(&ready, PollFlags::IN),
        ];
        assert_eq!(poll(&mut fds, Deadline::NEVER).unwrap(), 1);
        assert!(fds[0].revents().is_empty());
        assert!(fds[1].revents().contains(PollFlags::IN));
    }

    #[test]
    fn waits_no_less_than_the_deadline() {
        let (quiet, _other) = UnixStream::pair().unwrap();
        let before = Instant::now();
        let wait = Duration::from_millis(5);
        assert!(!wait_readable(&quiet, Deadline::after(wait)).unwrap());
        assert!(before.elapsed() >= wait);
    }

    #[test]
    fn a_hang_up_is_seen_behind_unread_bytes() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        assert!(!is_hung_up(&ours).unwrap());
        theirs.write_all(b"last words").unwrap();
        assert!(!is_hung_up(&ours).unwrap());
        // Not a close: a child of another test may have a copy.
        theirs.shutdown(std::net::Shutdown::Both).unwrap();
        assert!(is_hung_up(&ours).unwrap());
        assert!(is_readable(&ours).unwrap());
    }
}
