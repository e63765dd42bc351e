//! Waiting for any of a standing set of descriptors.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use crate::error::{Error, Result};
use crate::os::poll::timeout;
use crate::os::time::Deadline;

/// Holds a set of descriptors, each under a key, to be waited on together.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

/// Names a descriptor that became readable, or whose other end is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The key it was added under.
    pub key: u64,
    /// The other end is gone, or the descriptor failed.
    pub hung_up: bool,
}

/// Events fetched by one call; more of them wait for the next.
const BATCH: usize = 64;

/// The longest wait asked of the kernel at once: it counts milliseconds in an
/// `int` before 5.11.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

impl Epoll {
    /// Makes an empty set.
    ///
    /// # Errors
    /// `Limit` when no descriptor is left.
    pub fn new() -> Result<Self> {
        epoll::create(CreateFlags::CLOEXEC)
            .map(Self)
            .map_err(|e| Error::os("create a set of descriptors", e))
    }

    /// Adds `fd`, to be reported under `key` whenever there is something to
    /// read or its other end is gone.
    ///
    /// # Errors
    /// When it is in the set already or cannot be waited on (a plain file).
    pub fn add(&self, fd: impl AsFd, key: u64) -> Result<()> {
        let flags = EventFlags::IN | EventFlags::RDHUP;
        epoll::add(&self.0, fd, EventData::new_u64(key), flags)
            .map_err(|e| Error::os("add a descriptor to a set", e))
    }

    /// Takes `fd` out of the set.
    ///
    /// # Errors
    /// When it is not in the set.
    pub fn remove(&self, fd: impl AsFd) -> Result<()> {
        epoll::delete(&self.0, fd).map_err(|e| Error::os("remove a descriptor from a set", e))
    }

    /// Blocks until a descriptor is ready or the deadline passes; replaces the
    /// contents of `ready` by those that are.
    ///
    /// # Errors
    /// `Interrupted` when a signal arrived first.
    pub fn wait(&self, ready: &mut Vec<Ready>, deadline: Deadline) -> Result<()> {
        ready.clear();
        loop {
            let mut buffer = [MaybeUninit::<Event>::uninit(); BATCH];
            let limit = timeout(deadline.within(LONGEST_WAIT));
            let (events, _) = epoll::wait(&self.0, &mut buffer, limit.as_ref())
                .map_err(|e| Error::os("wait for a set of descriptors", e))?;
            ready.extend(events.iter().map(|event| {
                // The struct is packed: its fields are copied, not borrowed.
                let (flags, data) = (event.flags, event.data);
                Ready {
                    key: data.u64(),
                    hung_up: flags
                        .intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR),
                }
            }));
            if !ready.is_empty() || deadline.has_passed() {
                return Ok(());
            }
        }
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn reports_keys_of_readable_and_hung_up_descriptors_only() {
        let set = Epoll::new().unwrap();
        let (quiet, _other) = UnixStream::pair().unwrap();
        let (spoken, mut speaker) = UnixStream::pair().unwrap();
        let (left, leaver) = UnixStream::pair().unwrap();
        set.add(&quiet, 1).unwrap();
        set.add(&spoken, 2).unwrap();
        set.add(&left, u64::MAX).unwrap();
        speaker.write_all(b"x").unwrap();
        drop(leaver);
        let mut ready = Vec::new();
        set.wait(&mut ready, Deadline::NEVER).unwrap();
        ready.sort_by_key(|r| r.key);
        assert_eq!(
            ready,
            [
                Ready {
                    key: 2,
                    hung_up: false
                },
                Ready {
                    key: u64::MAX,
                    hung_up: true
                },
            ]
        );
        set.remove(&spoken).unwrap();
        set.remove(&left).unwrap();
        set.wait(&mut ready, Deadline::now()).unwrap();
        assert_eq!(ready, []);
    }
}
