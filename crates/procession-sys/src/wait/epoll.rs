//! Waiting for any of a standing set of descriptors, one of them a doorbell.
//!
//! The program may close the set's own descriptor and use its number again, for a
//! set of its own perhaps, as event loops do. `fstat` cannot tell one set from another.
//! So ours is recognised by its doorbell, which `fstat` can tell apart and which is in
//! no other set, and its reports by a random number.
//!
//! # Safety
//! A number that names another file by now is forgotten instead of closed.

#![expect(unsafe_code, reason = "a descriptor that may not be ours to close")]

use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::{Errno, fcntl_dupfd_cloexec};

use crate::denial::is_denied;
use crate::error::{Error, ErrorKind, Result};
use crate::fd::kept_fd::{self, KeptFd, LAST_STREAM, past_streams};
use crate::process::liveness::boot_time;
use crate::random;
use crate::wait::doorbell::Doorbell;
use crate::wait::poll::{PollFd, PollFlags, poll, timeout};
use crate::wait::time::Deadline;

/// Holds a doorbell and a set of descriptors, each under a key, to be waited on
/// together.
#[derive(Debug)]
pub struct Epoll {
    set: Set,
    bell: Doorbell,
    bell_key: u64,
    /// Upper bits of the keys that only this set reports.
    tag: u64,
    /// When it was last seen to be ours, in nanoseconds since boot.
    seen: AtomicU64,
}

#[derive(Debug)]
enum Set {
    /// The kernel keeps it.
    Kept(ManuallyDrop<OwnedFd>),
    /// A sandbox denies epoll: each wait passes the set to the kernel.
    Told(Mutex<Vec<Entry>>),
}

/// One descriptor of a set that each wait passes to the kernel.
#[derive(Debug)]
struct Entry {
    /// The number of the descriptor that was added.
    number: RawFd,
    /// A copy of it.
    copy: KeptFd,
    key: u64,
}

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

/// Bits of a key.
const KEY_BITS: u32 = 40;

/// How long the set is believed to be ours after it was looked at, in nanoseconds.
const TRUST: u64 = kept_fd::TRUST;

impl Epoll {
    /// Makes a set of nothing but a doorbell, whose rings are reported under a
    /// key. Keys are below 2 to the power of 40.
    ///
    /// # Errors
    /// `Limit` when no descriptor is left.
    pub fn new(bell: Doorbell, bell_key: u64) -> Result<Self> {
        let set = match kept_set() {
            Ok(fd) => Set::Kept(ManuallyDrop::new(fd)),
            Err(denied) if is_denied(denied) => Set::Told(Mutex::default()),
            Err(e) => return Err(Error::os("create a set of descriptors", e)),
        };
        Self::of(set, bell, bell_key)
    }

    fn of(set: Set, bell: Doorbell, bell_key: u64) -> Result<Self> {
        let this = Self {
            set,
            bell,
            bell_key,
            tag: (random::number()? as u64) << KEY_BITS,
            seen: AtomicU64::new(boot_time()),
        };
        this.add(&this.bell, bell_key)?;
        Ok(this)
    }

    /// Returns the doorbell.
    #[must_use]
    pub fn bell(&self) -> &Doorbell {
        &self.bell
    }

    /// Tells whether set and doorbell are there still: the program may have closed
    /// them.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        let is_intact = || match &self.set {
            // The kernel refuses this unless it is a set that has this very file under
            // this number.
            Set::Kept(fd) => {
                epoll::modify(&**fd, &self.bell, self.data(self.bell_key), FLAGS).is_ok()
            }
            Set::Told(entries) => locked(entries).iter().all(|e| e.copy.ours().is_some()),
        };
        let is_ours = self.bell.is_up() && is_intact();
        if is_ours {
            self.seen.store(boot_time(), Ordering::Relaxed);
        }
        is_ours
    }

    /// Adds `fd`, to be reported under `key` whenever there is something to
    /// read or its other end is gone.
    ///
    /// # Errors
    /// When it is in the set already or cannot be waited on (a plain file);
    /// `Stale` when the program has closed the set.
    pub fn add(&self, fd: impl AsFd, key: u64) -> Result<()> {
        if key != self.bell_key && !self.is_ours() {
            return Err(lost());
        }
        let failed = |e| Error::os("add a descriptor to a set", e);
        match &self.set {
            Set::Kept(set) => epoll::add(&**set, fd, self.data(key), FLAGS).map_err(failed),
            Set::Told(entries) => {
                let number = fd.as_fd().as_raw_fd();
                let copy = fcntl_dupfd_cloexec(fd, LAST_STREAM + 1)
                    .and_then(KeptFd::keep)
                    .map_err(failed)?;
                locked(entries).push(Entry { number, copy, key });
                Ok(())
            }
        }
    }

    /// Takes `fd` out of the set.
    ///
    /// # Errors
    /// When it is not in the set; `Stale` when the program has closed the set.
    pub fn remove(&self, fd: impl AsFd) -> Result<()> {
        if !self.is_ours() {
            return Err(lost());
        }
        let failed = |e| Error::os("remove a descriptor from a set", e);
        match &self.set {
            Set::Kept(set) => epoll::delete(&**set, fd).map_err(failed),
            Set::Told(entries) => {
                let number = fd.as_fd().as_raw_fd();
                let mut entries = locked(entries);
                let place = entries.iter().position(|entry| entry.number == number);
                entries.swap_remove(place.ok_or_else(|| failed(Errno::NOENT))?);
                Ok(())
            }
        }
    }

    /// Blocks until a descriptor is ready or the deadline passes; replaces the
    /// contents of `ready` by those that are.
    ///
    /// # Errors
    /// `Interrupted` when a signal arrived first. `Stale` when the program has
    /// closed the set.
    pub fn wait(&self, ready: &mut Vec<Ready>, deadline: Deadline) -> Result<()> {
        ready.clear();
        let set = match &self.set {
            Set::Kept(set) => set,
            Set::Told(entries) => return wait_for_told(entries, ready, deadline),
        };
        loop {
            // Another's set is not even asked: some sets forget what they have
            // reported.
            let trusted = boot_time().wrapping_sub(self.seen.load(Ordering::Relaxed)) < TRUST;
            if !trusted && !self.is_ours() {
                return Err(lost());
            }
            let mut buffer = [MaybeUninit::<Event>::uninit(); BATCH];
            let limit = timeout(deadline.within(LONGEST_WAIT));
            let (events, _) = epoll::wait(&**set, &mut buffer, limit.as_ref()).map_err(failed)?;
            for event in events.iter() {
                // The struct is packed: its fields are copied, not borrowed.
                let (flags, data) = (event.flags, event.data);
                let key = data.u64() ^ self.tag;
                if key >> KEY_BITS != 0 {
                    ready.clear();
                    return Err(lost());
                }
                let gone = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
                let hung_up = flags.intersects(gone);
                ready.push(Ready { key, hung_up });
            }
            if !ready.is_empty() || deadline.has_passed() {
                return Ok(());
            }
        }
    }

    fn data(&self, key: u64) -> EventData {
        EventData::new_u64(self.tag | key)
    }
}

/// Makes a set that the kernel keeps, if every call that it takes is allowed.
fn kept_set() -> rustix::io::Result<OwnedFd> {
    let set = epoll::create(CreateFlags::CLOEXEC).and_then(past_streams)?;
    // A set cannot contain itself: the kernel says so, unless the call is denied.
    if let Err(denied) = epoll::delete(&set, &set)
        && is_denied(denied)
    {
        return Err(denied);
    }
    let mut none = [MaybeUninit::<Event>::uninit(); 1];
    let at_once = timeout(Deadline::now());
    match epoll::wait(&set, &mut none, at_once.as_ref()) {
        Err(denied) if is_denied(denied) => Err(denied),
        _ => Ok(set),
    }
}

/// Waits for those that are in the set as the wait begins.
fn wait_for_told(
    entries: &Mutex<Vec<Entry>>,
    ready: &mut Vec<Ready>,
    deadline: Deadline,
) -> Result<()> {
    // Copies again: others may change the set meanwhile.
    let mut set = Vec::new();
    for entry in &*locked(entries) {
        let copy = fcntl_dupfd_cloexec(entry.copy.ours().ok_or_else(lost)?, LAST_STREAM + 1)
            .map_err(|e| Error::os("wait for a set of descriptors", e))?;
        set.push((copy, entry.key));
    }
    let events = PollFlags::IN | PollFlags::RDHUP;
    let mut fds: Vec<_> = set.iter().map(|(fd, _)| PollFd::new(fd, events)).collect();
    poll(&mut fds, deadline)?;
    for ((_, key), fd) in set.iter().zip(&fds) {
        let found = fd.revents();
        if !found.is_empty() {
            ready.push(Ready {
                key: *key,
                hung_up: found.intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR),
            });
        }
    }
    Ok(())
}

fn locked(entries: &Mutex<Vec<Entry>>) -> MutexGuard<'_, Vec<Entry>> {
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The events that each descriptor in the set is waited for.
const FLAGS: EventFlags = EventFlags::IN.union(EventFlags::RDHUP);

fn failed(error: rustix::io::Errno) -> Error {
    match error {
        // Closed, or no set.
        rustix::io::Errno::BADF | rustix::io::Errno::INVAL => lost(),
        _ => Error::os("wait for a set of descriptors", error),
    }
}

fn lost() -> Error {
    let message = "the program has closed the set of descriptors that is waited for";
    Error::new(ErrorKind::Stale, message)
}

impl Drop for Epoll {
    fn drop(&mut self) {
        let is_ours = self.is_ours();
        if let Set::Kept(fd) = &mut self.set
            && is_ours
        {
            // SAFETY: dropped once, here; it is ours, as was just seen.
            unsafe { ManuallyDrop::drop(fd) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::BorrowedFd;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::testing::{WATCHDOG, child};
    use crate::wait::doorbell;

    fn set(line: u32) -> Epoll {
        let family = u128::from(std::process::id()) << 64 | u128::from(line);
        Epoll::new(Doorbell::bind(family, 1, 1).unwrap(), 7).unwrap()
    }

    fn number_of(set: &Epoll) -> RawFd {
        match &set.set {
            Set::Kept(fd) => fd.as_raw_fd(),
            Set::Told(_) => panic!("no sandbox is here"),
        }
    }

    #[test]
    fn a_set_whose_number_is_another_sets_is_neither_believed_nor_closed() {
        let (process, _release) = child(|_| {
            let set = set(line!());
            assert!(set.is_ours());
            let other = epoll::create(CreateFlags::CLOEXEC).unwrap();
            let (spoken, mut speaker) = UnixStream::pair().unwrap();
            epoll::add(&other, &spoken, EventData::new_u64(7), FLAGS).unwrap();
            speaker.write_all(b"x").unwrap();
            let number = number_of(&set);
            // SAFETY: numbers of this test's own.
            assert_eq!(unsafe { libc::dup2(other.as_raw_fd(), number) }, number);
            assert!(!set.is_ours());
            let error = set.wait(&mut Vec::new(), Deadline::NEVER).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Stale);
            assert_eq!(set.add(&speaker, 8).unwrap_err().kind(), ErrorKind::Stale);
            drop(set);
            // SAFETY: open still, as the line below finds.
            let kept = unsafe { BorrowedFd::borrow_raw(number) };
            epoll::modify(kept, &spoken, EventData::new_u64(9), FLAGS).unwrap();
            0
        });
        assert!(process.wait(WATCHDOG()).unwrap());
        assert!(process.reap().unwrap().unwrap().is_success());
    }

    #[test]
    fn a_silent_set_that_was_replaced_is_noticed() {
        let (process, _release) = child(|_| {
            let set = set(line!());
            set.wait(
                &mut Vec::new(),
                Deadline::after(Duration::from_nanos(TRUST)),
            )
            .unwrap();
            let other = epoll::create(CreateFlags::CLOEXEC).unwrap();
            let number = number_of(&set);
            // SAFETY: numbers of this test's own.
            assert_eq!(unsafe { libc::dup2(other.as_raw_fd(), number) }, number);
            let slice = Deadline::after(Duration::from_secs(10));
            let error = set.wait(&mut Vec::new(), slice).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Stale);
            0
        });
        assert!(process.wait(WATCHDOG()).unwrap());
        assert!(process.reap().unwrap().unwrap().is_success());
    }

    #[test]
    fn a_ring_is_reported_under_the_bells_key() {
        let line = line!();
        let family = u128::from(std::process::id()) << 64 | u128::from(line);
        let set = set(line);
        assert!(doorbell::ring(family, 1, 1).unwrap());
        let mut ready = Vec::new();
        set.wait(&mut ready, WATCHDOG()).unwrap();
        assert_eq!(ready.iter().map(|r| r.key).collect::<Vec<_>>(), [7]);
        assert!(set.bell().drain());
    }

    #[test]
    fn reports_keys_of_readable_and_hung_up_descriptors_only() {
        reports_only_those(&set(line!()));
        let family = u128::from(std::process::id()) << 64 | u128::from(line!());
        let bell = Doorbell::bind(family, 1, 1).unwrap();
        reports_only_those(&Epoll::of(Set::Told(Mutex::default()), bell, 7).unwrap());
    }

    fn reports_only_those(set: &Epoll) {
        let (quiet, _other) = UnixStream::pair().unwrap();
        let (spoken, mut speaker) = UnixStream::pair().unwrap();
        let (left, leaver) = UnixStream::pair().unwrap();
        set.add(&quiet, 1).unwrap();
        set.add(&spoken, 2).unwrap();
        set.add(&left, (1 << KEY_BITS) - 1).unwrap();
        speaker.write_all(b"x").unwrap();
        // Not a close: a child of another test may have a copy.
        leaver.shutdown(std::net::Shutdown::Both).unwrap();
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
                    key: (1 << KEY_BITS) - 1,
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
