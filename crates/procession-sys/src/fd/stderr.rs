//! Writing to descriptor 2, past the standard library and its locks.

use rustix::io::Errno;

/// Writes what it can; nobody is told what it could not.
///
/// A child by fork may find the standard library's own stderr locked for ever, by a thread
/// that only its parent has.
pub fn write(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match rustix::io::write(rustix::stdio::stderr(), bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}
