//! A descriptor of ours among those that the program closes, and whose numbers
//! it uses again.
//!
//! A program may close every descriptor at any time (daemons and sandboxes do),
//! or start with a standard stream closed. So each that the engine keeps is
//! moved past the standard streams, and remembers which file it was open on:
//! before a use that would damage another file, or be misled by it, the engine looks
//! whether the number still means that file. Another thread may still close the
//! descriptor between the look and the use; every program with such a thread has that
//! race.
//!
//! Files without an inode of their own (epoll, eventfd, and pidfds before Linux
//! 6.9) cannot be told apart this way: see [`PidFd`](crate::process::pidfd::PidFd)
//! and [`Epoll`](crate::wait::epoll::Epoll). `docs/descriptors.md` lists all.
//!
//! # Safety
//! A number that names another file by now is forgotten instead of closed. A later
//! descriptor of several is borrowed from a list that only grows.

#![expect(unsafe_code, reason = "a descriptor that may not be ours to close")]

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use rustix::fs::{Stat, fstat};
use rustix::io::fcntl_dupfd_cloexec;

use crate::process::liveness::boot_time;

/// Numbers up to this one are the standard streams, and never ours.
pub const LAST_STREAM: RawFd = 2;

/// Moves a descriptor past the standard streams, one of which was closed.
///
/// # Errors
/// When no descriptor is left.
pub fn past_streams(fd: OwnedFd) -> rustix::io::Result<OwnedFd> {
    if fd.as_raw_fd() > LAST_STREAM {
        return Ok(fd);
    }
    fcntl_dupfd_cloexec(&fd, LAST_STREAM + 1)
}

/// Moves both of two descriptors past the standard streams.
///
/// # Errors
/// When no descriptor is left.
pub fn both_past_streams(
    (first, second): (OwnedFd, OwnedFd),
) -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    Ok((past_streams(first)?, past_streams(second)?))
}

/// Names a file for as long as somebody has it open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// Names the file that a descriptor is open on; `None` when it is closed.
    #[must_use]
    pub fn of(fd: impl AsFd) -> Option<Self> {
        fstat(fd).ok().map(Self::from)
    }
}

impl From<Stat> for FileId {
    fn from(stat: Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
        }
    }
}

/// Knows what a number was open on, and when it was last seen to be that still.
#[derive(Debug)]
pub struct Known {
    device: AtomicU64,
    /// 0 where a sandbox forbids the look: then the number is believed.
    inode: AtomicU64,
    /// In nanoseconds since boot.
    seen: AtomicU64,
}

/// How long a number is believed after a look, in nanoseconds: too short for a program
/// to close it, use it for another file and come back; and long enough that a
/// descriptor in constant use is hardly ever looked at.
pub const TRUST: u64 = 100_000;

impl Known {
    /// Remembers what a descriptor is open on now.
    #[must_use]
    pub fn by(fd: impl AsFd) -> Self {
        let this = Self {
            device: AtomicU64::new(0),
            inode: AtomicU64::new(0),
            seen: AtomicU64::new(0),
        };
        this.set(fd);
        this
    }

    /// Remembers what a descriptor is open on now, instead.
    pub fn set(&self, fd: impl AsFd) {
        let file = FileId::of(fd);
        let (device, inode) = file.map_or((0, 0), |file| (file.device, file.inode));
        // Relaxed, as all here: a thread that changes the descriptor while others use
        // it makes their calls fail in any case.
        self.device.store(device, Ordering::Relaxed);
        self.inode.store(inode, Ordering::Relaxed);
        // Much may have happened before the first use.
        self.seen.store(0, Ordering::Relaxed);
    }

    /// Tells whether a descriptor is open on it still.
    #[must_use]
    pub fn is(&self, fd: impl AsFd) -> bool {
        let file = self.file();
        file.is_none() || FileId::of(fd) == file
    }

    /// As [`is`](Self::is), but looks again only some time after it has last looked.
    #[must_use]
    pub fn was_lately(&self, fd: impl AsFd) -> bool {
        let now = boot_time();
        if now.wrapping_sub(self.seen.load(Ordering::Relaxed)) < TRUST {
            return true;
        }
        let is = self.is(fd);
        if is {
            self.seen.store(now, Ordering::Relaxed);
        }
        is
    }

    fn file(&self) -> Option<FileId> {
        let file = FileId {
            device: self.device.load(Ordering::Relaxed),
            inode: self.inode.load(Ordering::Relaxed),
        };
        (file.inode != 0).then_some(file)
    }
}

/// Owns a descriptor whose number may name another file by the next use.
#[derive(Debug)]
pub struct KeptFd {
    fd: ManuallyDrop<OwnedFd>,
    /// What it was open on when it was kept.
    known: Known,
}

impl KeptFd {
    /// Keeps a descriptor, past the standard streams.
    ///
    /// # Errors
    /// When it has to be moved and no descriptor is left.
    pub fn keep(fd: OwnedFd) -> rustix::io::Result<Self> {
        let fd = past_streams(fd)?;
        let known = Known::by(&fd);
        Ok(Self {
            fd: ManuallyDrop::new(fd),
            known,
        })
    }

    /// Lends the descriptor if it still is open on the same file.
    #[must_use]
    pub fn ours(&self) -> Option<BorrowedFd<'_>> {
        self.known.is(&*self.fd).then(|| self.fd.as_fd())
    }

    /// As [`ours`](Self::ours), for descriptors in constant use: looks again only some
    /// time after the last look.
    #[must_use]
    pub fn lately_ours(&self) -> Option<BorrowedFd<'_>> {
        self.known.was_lately(&*self.fd).then(|| self.fd.as_fd())
    }

    /// Names the file, if the system told it.
    #[must_use]
    pub fn file(&self) -> Option<FileId> {
        self.known.file()
    }

    /// Lends the number without a look: for uses that do no harm to another file, and
    /// whose answer nobody trusts.
    #[must_use]
    pub fn unverified(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Gives the descriptor away; `None` if it is not ours any more.
    #[must_use]
    pub fn into_fd(mut self) -> Option<OwnedFd> {
        let is_ours = self.ours().is_some();
        // SAFETY: `self` is forgotten, so nobody takes it a second time.
        let fd = unsafe { ManuallyDrop::take(&mut self.fd) };
        std::mem::forget(self);
        if is_ours {
            return Some(fd);
        }
        std::mem::forget(fd);
        None
    }
}

impl Drop for KeptFd {
    fn drop(&mut self) {
        if self.ours().is_some() {
            // SAFETY: dropped once, here; it is ours, as was just seen.
            unsafe { ManuallyDrop::drop(&mut self.fd) };
        }
    }
}

/// Owns a descriptor that can be opened anew if the program has closed it.
#[derive(Debug)]
pub struct RenewedFd {
    first: KeptFd,
    /// The descriptor that was opened in its place; null until then. Set once.
    next: AtomicPtr<RenewedFd>,
}

impl RenewedFd {
    /// Begins with a descriptor that is open.
    #[must_use]
    pub fn new(first: KeptFd) -> Self {
        Self {
            first,
            next: AtomicPtr::new(std::ptr::null_mut()),
        }
    }

    /// Returns the first descriptor, lost or not.
    #[must_use]
    pub fn first(&self) -> &KeptFd {
        &self.first
    }

    /// Returns the descriptor that was opened last, lost or not.
    #[must_use]
    pub fn last(&self) -> &KeptFd {
        let mut at = self;
        while let Some(next) = at.next() {
            at = next;
        }
        &at.first
    }

    /// Returns the first descriptor alone; later ones are closed.
    #[must_use]
    pub fn into_first(self) -> KeptFd {
        let this = ManuallyDrop::new(self);
        this.free_later();
        // SAFETY: `this` is not dropped, so nobody takes it a second time.
        unsafe { std::ptr::read(&raw const this.first) }
    }

    /// Lends the descriptor that `is_ours` finds to be ours; opens another if
    /// all were lost.
    ///
    /// # Errors
    /// Those of `open`.
    pub fn get<E>(
        &self,
        is_ours: impl Fn(&KeptFd) -> bool,
        open: impl FnOnce() -> Result<KeptFd, E>,
    ) -> Result<BorrowedFd<'_>, E> {
        let mut at = self;
        loop {
            if is_ours(&at.first) {
                return Ok(at.first.unverified());
            }
            match at.next() {
                Some(next) => at = next,
                None => break,
            }
        }
        let fresh = Box::into_raw(Box::new(Self::new(open()?)));
        // Two threads may have opened one each: both are kept.
        loop {
            let swap = at.next.compare_exchange(
                std::ptr::null_mut(),
                fresh,
                // Release pairs with the Acquire in `next`.
                Ordering::AcqRel,
                Ordering::Acquire,
            );
            match swap {
                Ok(_) => break,
                // SAFETY: set once, to what lives as long as `self`.
                Err(other) => at = unsafe { &*other },
            }
        }
        // SAFETY: linked into the list above, which is freed with `self`.
        Ok(unsafe { &*fresh }.first.unverified())
    }

    fn next(&self) -> Option<&Self> {
        // Acquire pairs with the Release in `get`.
        let next = self.next.load(Ordering::Acquire);
        // SAFETY: null, or set once to what lives as long as `self`.
        unsafe { next.as_ref() }
    }
}

impl RenewedFd {
    /// Closes all but the first. The caller is the last to use `self`.
    fn free_later(&self) {
        let unlink = |one: &Self| one.next.swap(std::ptr::null_mut(), Ordering::AcqRel);
        let mut next = unlink(self);
        while !next.is_null() {
            // SAFETY: from `Box::into_raw`, and unlinked right above or below.
            let one = unsafe { Box::from_raw(next) };
            next = unlink(&one);
        }
    }
}

impl Drop for RenewedFd {
    fn drop(&mut self) {
        self.free_later();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::io::Write as _;
    use std::os::fd::{FromRawFd as _, IntoRawFd as _};

    use super::*;
    use crate::testing::{WATCHDOG, child};

    /// Takes the number of a kept descriptor for another file.
    fn take_number(of: &KeptFd, by: &OwnedFd) -> OwnedFd {
        let number = of.unverified().as_raw_fd();
        // SAFETY: a test's own numbers.
        unsafe { assert_eq!(libc::dup2(by.as_raw_fd(), number), number) };
        // SAFETY: just made.
        unsafe { OwnedFd::from_raw_fd(number) }
    }

    #[test]
    fn a_number_that_became_anothers_is_neither_lent_nor_closed() {
        let (read, _write) = std::io::pipe().unwrap();
        let kept = KeptFd::keep(read.into()).unwrap();
        assert!(kept.ours().is_some());
        let (mut theirs, mut end) = std::io::pipe().unwrap();
        let theirs_fd = theirs.as_fd().try_clone_to_owned().unwrap();
        let taken = take_number(&kept, &theirs_fd);
        drop(theirs_fd);
        assert!(kept.ours().is_none());
        drop(kept);
        drop(taken);
        end.write_all(b"x").unwrap();
        theirs.read_exact(&mut [0]).unwrap();
    }

    #[test]
    fn a_lost_descriptor_is_opened_anew_once() {
        let (read, _write) = std::io::pipe().unwrap();
        let (other, _end) = std::io::pipe().unwrap();
        let renewed = RenewedFd::new(KeptFd::keep(read.into()).unwrap());
        let is_ours = |kept: &KeptFd| kept.ours().is_some();
        let none = || Err(());
        assert!(renewed.get(is_ours, none).is_ok());
        let number = renewed.first().unverified().as_raw_fd();
        // SAFETY: a test's own number; nothing else of it is closed.
        let lost = unsafe { OwnedFd::from_raw_fd(number) };
        // Kept open elsewhere, so that nobody beside this test gets its number.
        let null = std::fs::File::open("/dev/null").unwrap();
        // SAFETY: as above.
        unsafe { libc::dup2(null.as_raw_fd(), number) };
        assert!(renewed.get(is_ours, none).is_err());
        let again = || KeptFd::keep(other.into());
        let lent = renewed.get(is_ours, again).unwrap().as_raw_fd();
        assert_eq!(renewed.get(is_ours, none).unwrap().as_raw_fd(), lent);
        drop(renewed);
        drop(lost);
    }

    #[test]
    fn no_descriptor_is_a_standard_stream() {
        let (process, _release) = child(|_| {
            for stream in 0..=LAST_STREAM {
                // SAFETY: a test's child, which has no use for its streams.
                unsafe { libc::close(stream) };
            }
            let (read, write) = std::io::pipe().unwrap();
            assert_eq!(read.as_raw_fd(), 0);
            let pair = both_past_streams((read.into(), write.into())).unwrap();
            assert!(pair.0.as_raw_fd() > LAST_STREAM && pair.1.as_raw_fd() > LAST_STREAM);
            let null = std::fs::File::open("/dev/null").unwrap();
            assert!(null.as_raw_fd() <= LAST_STREAM);
            let kept = KeptFd::keep(null.into()).unwrap();
            let _ = kept.into_fd().unwrap().into_raw_fd();
            0
        });
        assert!(process.wait(WATCHDOG()).unwrap());
        assert!(process.reap().unwrap().unwrap().is_success());
    }
}
