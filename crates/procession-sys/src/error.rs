//! The engine's one error: what happened, to which object or process.
//!
//! Leaves out types of the faces: each face turns [`ErrorKind`] into its own.

use std::fmt;

use rustix::process::{Resource, getrlimit};

/// Shorthand for a result with the engine's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Tells an error's class; the message tells the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The arena or the machine has no memory left.
    OutOfMemory,
    /// A fixed limit was reached (members, descriptors, restart budget).
    Limit,
    /// The object was closed, by this process or another.
    Closed,
    /// The deadline passed.
    TimedOut,
    /// A signal arrived during a wait; the caller may handle it and wait again.
    Interrupted,
    /// The process that held the object died holding it.
    OwnerDied,
    /// Only the owner may do this.
    NotOwner,
    /// The handle names an object that is gone.
    Stale,
    /// The argument or the object's state does not allow this.
    Invalid,
    /// The other process has died.
    Dead,
    /// The object is full.
    Full,
    /// The object is empty.
    Empty,
    /// The barrier is broken.
    Broken,
    /// This platform, kernel or build lacks what is needed.
    Unsupported,
    /// The process is not set up to start others (`init` was not called).
    Uninitialised,
    /// A system call failed; see [`Error::errno`].
    Os,
}

/// Says what failed, to which object or process, and why.
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    errno: Option<i32>,
}

impl Error {
    /// Makes an error of the given class.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            errno: None,
        }
    }

    /// Makes an error from a failed system call; `what` says what was tried.
    pub fn os(what: impl fmt::Display, errno: impl Into<std::io::Error>) -> Self {
        let source: std::io::Error = errno.into();
        let errno = source.raw_os_error();
        let kind = match errno {
            Some(libc::EINTR) => ErrorKind::Interrupted,
            Some(libc::ENOMEM | libc::ENOSPC) => ErrorKind::OutOfMemory,
            Some(libc::EMFILE | libc::ENFILE | libc::EAGAIN) => ErrorKind::Limit,
            _ => ErrorKind::Os,
        };
        Self {
            kind,
            message: format!("cannot {what}: {source}{}", remedy(errno)),
            errno,
        }
    }

    /// Returns the same error with the system's number for it.
    #[must_use]
    pub fn with_errno(mut self, errno: i32) -> Self {
        self.errno = Some(errno);
        self
    }

    /// Returns the error's class.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns the system's error number, where there is one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        self.errno
    }

    /// Returns the same error with words put before its message.
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }
}

/// Says what to do about a limit that the system has set.
fn remedy(errno: Option<i32>) -> String {
    match errno {
        Some(libc::EMFILE) => {
            let limit = getrlimit(Resource::Nofile).current;
            let limit = limit.map_or("unlimited".into(), |limit| limit.to_string());
            format!(
                "; this process may have {limit} descriptors open: close some, or raise the \
                 limit (ulimit -n)"
            )
        }
        Some(libc::ENFILE) => "; the machine has as many files open as it may have: close some, \
                               or raise the limit (sysctl fs.file-max)"
            .into(),
        _ => String::new(),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_without_descriptors_is_told_its_limit() {
        let limit = getrlimit(Resource::Nofile).current;
        let limit = limit.map_or("unlimited".into(), |limit| limit.to_string());
        let text = Error::os("open a pipe", rustix::io::Errno::MFILE).to_string();
        assert!(text.starts_with("cannot open a pipe: "), "{text}");
        assert!(
            text.contains(&format!("may have {limit} descriptors")),
            "{text}"
        );
        assert!(text.ends_with("(ulimit -n)"), "{text}");
        let text = Error::os("open a pipe", rustix::io::Errno::NFILE).to_string();
        assert!(text.ends_with("(sysctl fs.file-max)"), "{text}");
        let text = Error::os("open a pipe", rustix::io::Errno::BADF).to_string();
        assert!(!text.contains(';'), "{text}");
    }
}
