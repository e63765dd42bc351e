//! How a process ended.

use std::fmt;

/// The error number for a child that ended by itself where it should not have (ECHILD),
/// as opposed to a child that was killed.
pub const FAILED: i32 = libc::ECHILD;

/// Says how a process ended: with an exit code, or by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExitStatus {
    code: i32,
}

impl ExitStatus {
    /// The status of a process that ended well.
    pub const SUCCESS: Self = Self { code: 0 };

    /// Makes a status from a code: 0 to 255, or minus the signal's number.
    #[must_use]
    pub const fn from_code(code: i32) -> Self {
        Self { code }
    }

    /// Makes a status from the status word of `wait(2)`.
    #[must_use]
    pub const fn from_wait_status(word: i32) -> Self {
        if libc::WIFSIGNALED(word) {
            Self::from_code(-libc::WTERMSIG(word))
        } else {
            Self::from_code(libc::WEXITSTATUS(word))
        }
    }

    /// Returns the status as a word of `wait(2)`; it fits in 16 bits.
    #[must_use]
    pub const fn to_wait_status(self) -> i32 {
        if self.code < 0 {
            -self.code & 0x7f
        } else {
            (self.code & 0xff) << 8
        }
    }

    /// Returns the exit code, or minus the number of the signal that killed.
    #[must_use]
    pub const fn code(self) -> i32 {
        self.code
    }

    /// Returns the signal that killed the process, if one did.
    #[must_use]
    pub const fn signal(self) -> Option<i32> {
        if self.code < 0 {
            Some(-self.code)
        } else {
            None
        }
    }

    /// Tells whether the process exited with code 0.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.code == 0
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.signal() {
            None => write!(f, "exited with code {}", self.code),
            Some(signal) => match signal_name(signal) {
                Some(name) => write!(f, "was killed by {name}"),
                None => write!(f, "was killed by signal {signal}"),
            },
        }
    }
}

/// Returns a signal's name, for the signals that have one.
#[must_use]
pub const fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGSTKFLT => "SIGSTKFLT",
        libc::SIGCHLD => "SIGCHLD",
        libc::SIGCONT => "SIGCONT",
        libc::SIGSTOP => "SIGSTOP",
        libc::SIGTSTP => "SIGTSTP",
        libc::SIGTTIN => "SIGTTIN",
        libc::SIGTTOU => "SIGTTOU",
        libc::SIGURG => "SIGURG",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGVTALRM => "SIGVTALRM",
        libc::SIGPROF => "SIGPROF",
        libc::SIGWINCH => "SIGWINCH",
        libc::SIGIO => "SIGIO",
        libc::SIGPWR => "SIGPWR",
        libc::SIGSYS => "SIGSYS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_status_word() {
        for code in (0..256).chain(-64..0) {
            let status = ExitStatus::from_code(code);
            assert_eq!(
                ExitStatus::from_wait_status(status.to_wait_status()),
                status
            );
        }
    }

    #[test]
    fn a_core_dump_is_a_death_by_its_signal() {
        let status = ExitStatus::from_wait_status(0x80 | libc::SIGSEGV);
        assert_eq!(status.code(), -libc::SIGSEGV);
        assert_eq!(status.to_string(), "was killed by SIGSEGV");
    }
}
