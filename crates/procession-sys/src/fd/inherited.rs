//! Descriptors that a parent left open for this process, known by number, and
//! those that this process would leave open.
//!
//! # Safety
//! A number is taken over once per process, from a list that the parent made;
//! nothing else in the process knows of it yet. The others are looked at only,
//! by calls that fail if they are closed.

#![expect(unsafe_code, reason = "numbers become owned descriptors")]

use std::fs;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_getfd, fcntl_setfd};

use crate::error::{Error, Result};
use crate::fd::kept_fd::LAST_STREAM;

/// Takes over descriptors by their numbers, closed on exec from now on. Of the
/// standard streams, and of a number that comes twice, it takes copies.
///
/// # Errors
/// When one of them is not open in this process; the others are closed.
pub fn take(numbers: &[RawFd]) -> Result<Vec<OwnedFd>> {
    let mut taken: Vec<OwnedFd> = Vec::with_capacity(numbers.len());
    let mut seen = Vec::with_capacity(numbers.len());
    for &number in numbers {
        let failed = |e| Error::os(format_args!("take over descriptor {number}"), e);
        if number < 0 {
            return Err(failed(rustix::io::Errno::BADF));
        }
        // SAFETY: borrowed for the calls below, which fail if it is not open.
        let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
        if number <= LAST_STREAM || seen.contains(&number) {
            taken.push(fcntl_dupfd_cloexec(borrowed, LAST_STREAM + 1).map_err(failed)?);
            continue;
        }
        fcntl_setfd(borrowed, FdFlags::CLOEXEC).map_err(failed)?;
        // SAFETY: it is open, and nobody else here owns it (see above).
        taken.push(unsafe { OwnedFd::from_raw_fd(number) });
        seen.push(number);
    }
    Ok(taken)
}

/// Returns the numbers of the descriptors without close-on-exec, but for the
/// standard streams; none where there is no /proc.
#[must_use]
pub fn inheritable() -> Vec<RawFd> {
    // Those of this thread, which may have a table of its own.
    let entries = fs::read_dir("/proc/thread-self/fd")
        .into_iter()
        .flatten()
        .flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&number| number > LAST_STREAM && is_inheritable(number))
        .collect()
}

fn is_inheritable(number: RawFd) -> bool {
    // SAFETY: it is borrowed for the call below, which refuses one that is
    // closed and changes nothing.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl_getfd(fd).is_ok_and(|flags| !flags.contains(FdFlags::CLOEXEC))
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsRawFd as _, IntoRawFd as _};

    use super::*;

    #[test]
    fn numbers_become_owned_and_a_repeated_one_a_copy() {
        let (read, _write) = rustix::pipe::pipe().unwrap();
        let number = read.into_raw_fd();
        let taken = take(&[number, number, 1]).unwrap();
        assert_eq!(taken[0].as_raw_fd(), number);
        assert_ne!(taken[1].as_raw_fd(), number);
        assert!(taken[2].as_raw_fd() > LAST_STREAM);
    }

    #[test]
    fn a_closed_number_is_an_error() {
        assert!(take(&[-1]).is_err());
        assert!(take(&[1 << 20]).is_err());
    }
}
