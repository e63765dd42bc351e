//! The execution context of a process: all that exec passes on to a program, apart from
//! its arguments and its environment.
//!
//! If two looks are equal, a process that is started at one moment cannot be told from
//! a process that is started at the other. A look leaves out what a process cannot see
//! from within (its parent's name) and what exec resets (handlers, timers, the death
//! signal).
//!
//! # Safety
//! Two calls read numbers of the process.

#![expect(unsafe_code, reason = "ids that may be 0")]

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use rustix::process::getpriority_process;

use crate::attributes::namespaces::{self, Namespaces, Which};
use crate::error::{Error, ErrorKind, Result};
use crate::fd::streams::{self, Stream};
use crate::limits::rlimits::Limits;

/// Holds everything that a process would inherit if the calling thread started it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionContext {
    /// Lines of the kernel's description of the calling thread.
    status: String,
    /// One bit for each signal that is ignored.
    ignored: u64,
    control_group: String,
    namespaces: Namespaces,
    limits: Limits,
    niceness: i32,
    /// Of processes and of terminal; 0 for one whose leader is not seen from
    /// this pid namespace, as in many containers (pid_namespaces(7)).
    group: libc::pid_t,
    session: libc::pid_t,
    /// The working directory and the root, by device and inode.
    directories: [(u64, u64); 2],
    /// The standard streams; a child has no other descriptors that it was not
    /// given ([`Spawn`](crate::process::spawn::Spawn)).
    streams: [Option<Stream>; 3],
}

/// Beginnings of those lines of `status` that a child inherits (proc_pid_status(5)).
const INHERITED: [&str; 15] = [
    "Umask:",
    "Uid:",
    "Gid:",
    "Groups:",
    "CapInh:",
    "CapPrm:",
    "CapEff:",
    "CapBnd:",
    "CapAmb:",
    "NoNewPrivs:",
    "Seccomp:",
    "Seccomp_filters:",
    "Cpus_allowed:",
    "Mems_allowed:",
    "CoreDumping:",
];

/// Signals that do not count: SIGPIPE, which a child that is started by
/// [`Spawn`](crate::process::spawn::Spawn) does not ignore, and the two that the C
/// library keeps to itself (nptl(7)) and begins to use with the first thread.
const OWN_SIGNALS: u64 = 1 << (libc::SIGPIPE - 1) | 0b11 << 31;

impl ExecutionContext {
    /// Looks around.
    ///
    /// # Errors
    /// When /proc is missing, or a directory has become unreachable.
    pub fn look() -> Result<Self> {
        let own = "/proc/thread-self";
        let all = read(&format!("{own}/status"))?;
        let ignored = all
            .lines()
            .find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:\t")?, 16).ok())
            .ok_or_else(|| Error::new(ErrorKind::Unsupported, "/proc tells of no signals"))?;
        let status = all
            .lines()
            .filter(|line| INHERITED.iter().any(|name| line.starts_with(name)))
            .flat_map(|line| [line, "\n"])
            .collect();
        // Not by rustix, whose ids are never 0.
        // SAFETY: no memory is read or written.
        let group = unsafe { libc::getpgrp() };
        // SAFETY: as above; it cannot fail for the caller itself.
        let session = unsafe { libc::getsid(0) };
        Ok(Self {
            status,
            ignored: ignored & !OWN_SIGNALS,
            // Missing where the kernel has none.
            control_group: fs::read_to_string(format!("{own}/cgroup")).unwrap_or_default(),
            namespaces: namespaces::look(Which::All),
            limits: Limits::current(),
            niceness: getpriority_process(None)
                .map_err(|e| Error::os("ask for the priority", e))?,
            group,
            session,
            directories: [identity(".")?, identity("/")?],
            streams: streams::look(),
        })
    }
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).map_err(|e| Error::os(format_args!("read {path}"), e))
}

fn identity(path: &str) -> Result<(u64, u64)> {
    let metadata =
        fs::metadata(path).map_err(|e| Error::os(format_args!("look at directory {path}"), e))?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use rustix::io::{FdFlags, fcntl_setfd};

    use super::*;
    use crate::testing;

    fn shows(change: impl FnOnce()) -> bool {
        testing::shows(|| ExecutionContext::look().unwrap(), change)
    }

    #[test]
    fn what_a_child_would_inherit_shows() {
        assert!(!shows(|| ()), "nothing");
        let directory = || std::env::set_current_dir("/proc").unwrap();
        assert!(shows(directory), "directory");
        let umask = || {
            rustix::process::umask(rustix::fs::Mode::from_bits_retain(0o31));
        };
        assert!(shows(umask), "umask");
        let group = || rustix::process::setpgid(None, None).unwrap();
        assert!(shows(group), "group");
        let priority = || {
            rustix::process::nice(1).unwrap();
        };
        // Where the tests run at the least priority, nothing is left to lower.
        let lowered = getpriority_process(None).unwrap() < 19;
        assert_eq!(shows(priority), lowered, "priority");
        // The parent of the tests may ignore the signal already; either way the change
        // shows.
        let signal = || {
            // SAFETY: neither disposition runs anything.
            let set = |to| unsafe { libc::signal(libc::SIGUSR1, to) };
            if set(libc::SIG_IGN) == libc::SIG_IGN {
                set(libc::SIG_DFL);
            }
        };
        assert!(shows(signal), "signal");
        let stream = || {
            let file = fs::File::open("/proc/self/exe").unwrap();
            // SAFETY: nobody else uses the child's standard input.
            assert_eq!(unsafe { libc::dup2(file.as_raw_fd(), 0) }, 0);
        };
        assert!(shows(stream), "stream");
    }

    #[test]
    fn a_descriptor_that_a_child_does_not_get_does_not_show() {
        assert!(!shows(|| {
            let file = fs::File::open("/dev/null").unwrap();
            fcntl_setfd(&file, FdFlags::empty()).unwrap();
            std::mem::forget(file);
        }));
    }
}
