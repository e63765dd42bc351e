//! Descriptors that a parent left open for this process, known by number.
//!
//! # Safety
//! A number is taken over once per process, from a list that the parent made;
//! nothing else in the process knows of it yet.

#![expect(unsafe_code, reason = "numbers become owned descriptors")]

use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};

use crate::error::{Error, Result};

/// Numbers up to this one are the standard streams, which stay where they are.
const LAST_STREAM: RawFd = 2;

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
