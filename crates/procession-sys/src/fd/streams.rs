//! The standard streams of this process and of those that it starts.
//!
//! A program may run with some of them closed. The next file that is opened would
//! then take the number, and be printed to; so a child gets /dev/null instead.
//!
//! # Safety
//! The streams are known by their numbers, which the program may close or
//! redirect: that is an error of a call, and no descriptor is kept.

#![expect(unsafe_code, reason = "descriptors that are plain numbers")]

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::fd::{AsRawFd as _, BorrowedFd, IntoRawFd as _, OwnedFd, RawFd};

use rustix::fs::{Mode, OFlags, fcntl_getfl, fstat, open};
use rustix::io::{Errno, FdFlags, dup3, fcntl_getfd};

use crate::error::{Error, Result};
use crate::fd::kept_fd::LAST_STREAM;

/// The file that is read from and written to in the place of a closed stream.
pub const NOTHING: &std::ffi::CStr = c"/dev/null";

/// A standard stream that is open, and that a child has, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stream {
    /// The file that it is open on: device, inode, and the device's own number if the
    /// file is a device.
    target: (u64, u64, u64),
    /// How it is open.
    mode: u32,
}

/// Looks at the standard streams; `None` for one that is closed, or not passed on.
#[must_use]
pub fn look() -> [Option<Stream>; 3] {
    [0, 1, 2].map(look_at)
}

/// Returns a number for each stream that stays the same while the stream is open on the
/// same file; 0 for a closed stream.
#[must_use]
pub fn digests() -> [u64; 3] {
    look().map(|stream| {
        let mut hasher = DefaultHasher::new();
        stream.hash(&mut hasher);
        stream.map_or(0, |_| hasher.finish() | 1)
    })
}

fn look_at(number: RawFd) -> Option<Stream> {
    let fd = passed_on(number)?;
    let stat = fstat(fd).ok()?;
    Some(Stream {
        target: (stat.st_dev, stat.st_ino, stat.st_rdev),
        mode: fcntl_getfl(fd).ok()?.bits(),
    })
}

/// Lends a stream by its number; `None` when it is closed, or not passed on.
#[must_use]
pub fn passed_on(number: RawFd) -> Option<BorrowedFd<'static>> {
    // SAFETY: the callers borrow it for calls that refuse one that is closed.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = fcntl_getfd(fd).ok()?;
    (!flags.contains(FdFlags::CLOEXEC)).then_some(fd)
}

/// Returns the numbers of the streams that a program started now would not have.
pub fn missing() -> impl Iterator<Item = RawFd> {
    (0..=LAST_STREAM).filter(|&number| passed_on(number).is_none())
}

/// Returns the numbers of the streams whose bits are set.
pub fn in_set(bits: u32) -> impl Iterator<Item = RawFd> {
    (0..=LAST_STREAM).filter(move |number| bits & 1 << number != 0)
}

/// Opens /dev/null for those streams of this process that are closed.
///
/// # Errors
/// `Limit` when no descriptor is left.
pub fn fill() -> Result<()> {
    for number in 0..=LAST_STREAM {
        // SAFETY: as in `passed_on`.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        if fcntl_getfd(fd) == Err(Errno::BADF) {
            replace(number, nothing()?)?;
        }
    }
    Ok(())
}

/// Opens the file that stands for a closed stream.
///
/// # Errors
/// `Limit` when no descriptor is left.
pub fn nothing() -> Result<OwnedFd> {
    open(NOTHING, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| Error::os("open /dev/null for a closed stream", e))
}

/// Redirects a stream of this process to the file of a descriptor.
///
/// # Errors
/// When the kernel refuses.
pub fn replace(number: RawFd, by: OwnedFd) -> Result<()> {
    let failed = |e| Error::os(format_args!("redirect descriptor {number}"), e);
    if by.as_raw_fd() == number {
        // It was the lowest number that was free; children shall have it.
        rustix::io::fcntl_setfd(&by, FdFlags::empty()).map_err(failed)?;
        let _ = by.into_raw_fd();
        return Ok(());
    }
    // SAFETY: whatever has the number is closed by the call, as its owner, the
    // program that is to run here, wants.
    let mut stream =
        std::mem::ManuallyDrop::new(unsafe { std::os::fd::FromRawFd::from_raw_fd(number) });
    dup3(&by, &mut stream, rustix::io::DupFlags::empty()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{WATCHDOG, child};

    #[test]
    fn closed_streams_are_filled_and_open_ones_left_alone() {
        for closed in [&[0][..], &[1], &[2], &[0, 1], &[0, 2], &[1, 2], &[0, 1, 2]] {
            let (process, _release) = child(|_| {
                let before = look();
                for &number in closed {
                    // SAFETY: a test's child, which has no use for its streams.
                    unsafe { libc::close(number) };
                }
                assert_eq!(missing().collect::<Vec<_>>(), closed);
                fill().unwrap();
                assert_eq!(missing().count(), 0);
                let null = fstat(nothing().unwrap()).unwrap().st_rdev;
                for (number, (before, now)) in before.into_iter().zip(look()).enumerate() {
                    match closed.contains(&(number as RawFd)) {
                        true => assert_eq!(now.unwrap().target.2, null),
                        false => assert_eq!(now, before),
                    }
                }
                0
            });
            assert!(process.wait(WATCHDOG()).unwrap());
            assert!(process.reap().unwrap().unwrap().is_success());
        }
    }
}
