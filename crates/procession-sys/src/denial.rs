//! Recognises a system call that a sandbox (seccomp, a container, an emulator) denies,
//! and makes the error that names the call.

use std::fmt::Display;
use std::io;

use rustix::io::Errno;

use crate::error::{Error, ErrorKind};

/// Tells whether a system call fails like this because it is not allowed, or because
/// the kernel does not have it.
pub(crate) fn is_denied(error: Errno) -> bool {
    is_denial(Some(error.raw_os_error()))
}

/// As [`is_denied`], by the number.
pub(crate) fn is_denial(number: Option<i32>) -> bool {
    matches!(number, Some(libc::EPERM | libc::ENOSYS | libc::EACCES))
}

/// Makes an error from a system call that failed, and names it if it was not
/// allowed; `what` says what was tried.
pub(crate) fn refused(call: &str, what: impl Display, error: impl Into<io::Error>) -> Error {
    let source: io::Error = error.into();
    match source.raw_os_error() {
        Some(number) if is_denial(Some(number)) => Error::new(
            ErrorKind::Os,
            format!(
                "cannot {what}: the system call {call} is denied ({source}); \
                 where this process runs in a sandbox (seccomp, a container), allow it there"
            ),
        )
        .with_errno(number),
        _ => Error::os(what, source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_names_the_call_and_keeps_its_number() {
        let error = refused("socket", "ring", Errno::PERM);
        assert!(
            error
                .to_string()
                .contains("the system call socket is denied")
        );
        assert_eq!(error.errno(), Some(libc::EPERM));
        let error = refused("socket", "ring", Errno::MFILE);
        assert_eq!(error.kind(), ErrorKind::Limit);
    }
}
