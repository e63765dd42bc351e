//! Writing to descriptor 2, past the standard library and its locks.

use std::os::fd::AsFd as _;

use rustix::io::Errno;

/// Writes as much as it can, and drops the rest without an error.
///
/// In a forked child, the standard library's own stderr may be locked for ever by a thread
/// that only the parent has.
pub fn write(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match rustix::io::write(std::io::stderr().as_fd(), bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}
