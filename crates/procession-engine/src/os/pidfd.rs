//! A descriptor of a process: it can be waited on, and never means another.
//!
//! # Safety
//! Two system calls that rustix lacks are made by hand: signals by any number,
//! and the exit status of a process that somebody else reaps.

#![expect(unsafe_code, reason = "pidfd_send_signal by number, PIDFD_GET_INFO")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};

use crate::error::{Error, ErrorKind, Result};
use crate::os::exit_status::ExitStatus;
use crate::os::poll;
use crate::os::proc_status::{ProcStatus, has_our_ids};
use crate::os::time::Deadline;

/// Owns a descriptor of a process; readable once the process has ended.
#[derive(Debug)]
pub struct PidFd {
    fd: OwnedFd,
    pid: u32,
}

impl PidFd {
    /// Opens the process that has `pid` now.
    ///
    /// Only the parent, before it reaps, knows for sure whom the number means;
    /// anybody else checks afterwards (see [`is_alive`]).
    ///
    /// # Errors
    /// `Dead` when no process has that number.
    ///
    /// [`is_alive`]: crate::os::liveness::is_alive
    pub fn open(pid: u32) -> Result<Self> {
        let gone = || Error::new(ErrorKind::Dead, format!("process {pid} is gone"));
        let number = i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(gone)?;
        match pidfd_open(number, PidfdFlags::empty()) {
            Ok(fd) => Ok(Self { fd, pid }),
            Err(Errno::SRCH) => Err(gone()),
            Err(e) => Err(Error::os(format_args!("open process {pid}"), e)),
        }
    }

    /// Opens a child that this process has just started. One that cannot be
    /// watched must not run: it is killed and reaped.
    ///
    /// # Errors
    /// `Limit` when no descriptor is left.
    pub fn of_child(pid: u32) -> Result<Self> {
        Self::open(pid).inspect_err(|_| {
            let _ = abandon(pid);
        })
    }

    /// Takes over a descriptor of process `pid` that somebody passed on.
    #[must_use]
    pub fn from_received(fd: OwnedFd, pid: u32) -> Self {
        Self { fd, pid }
    }

    /// Returns the descriptor alone.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// Returns the number of the process; once reaped, it may be another's.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Tells whether the process has ended, reaped or not.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        // Looking fails only for lack of memory: nothing is known then.
        poll::is_readable(&self.fd).unwrap_or(false)
    }

    /// Blocks until the process has ended (true) or the deadline passes.
    ///
    /// # Errors
    /// `Interrupted` when a signal arrived first.
    pub fn wait(&self, deadline: Deadline) -> Result<bool> {
        poll::wait_readable(&self.fd, deadline)
    }

    /// Sends a signal, 0 for none; tells whether there was somebody to get it.
    ///
    /// # Errors
    /// When the signal does not exist or the process is another user's.
    pub fn send_signal(&self, signal: i32) -> Result<bool> {
        // SAFETY: no pointer is passed but the null that stands for no
        // further information.
        let code = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.fd.as_raw_fd(),
                signal,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        if code == 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() == Some(libc::ESRCH) {
            return Ok(false);
        }
        let what = format!("send signal {signal} to process {}", self.pid);
        Err(Error::os(what, error))
    }

    /// Reaps the process if it has ended; returns how, or `None` if it runs.
    /// Never blocks.
    ///
    /// # Errors
    /// `Invalid` when it is no child of this process, or was reaped before.
    pub fn reap(&self) -> Result<Option<ExitStatus>> {
        self.wait_for(WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
    }

    /// As [`reap`](Self::reap), but leaves the process a zombie: its number
    /// stays its own.
    ///
    /// # Errors
    /// As [`reap`](Self::reap).
    pub fn ended(&self) -> Result<Option<ExitStatus>> {
        self.wait_for(WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT)
    }

    fn wait_for(&self, options: WaitIdOptions) -> Result<Option<ExitStatus>> {
        let status = match waitid(WaitId::PidFd(self.fd.as_fd()), options) {
            Ok(Some(status)) => status,
            Ok(None) => return Ok(None),
            Err(Errno::CHILD) => {
                let message = format!("process {} is no child left to reap", self.pid);
                return Err(Error::new(ErrorKind::Invalid, message));
            }
            Err(e) => return Err(Error::os(format_args!("reap process {}", self.pid), e)),
        };
        let code = match status.terminating_signal() {
            Some(signal) => -signal,
            None => status.exit_status().unwrap_or(0),
        };
        Ok(Some(ExitStatus::from_code(code)))
    }

    /// Returns how a process ended that somebody else reaps, or has reaped;
    /// `None` before its end, and where the kernel does not tell (once reaped,
    /// before 6.15; until then, where /proc is missing).
    #[must_use]
    pub fn exit_info(&self) -> Option<ExitStatus> {
        // It may be reaped between the first two looks.
        self.told_once_reaped()
            .or_else(|| self.told_until_reaped())
            .or_else(|| self.told_once_reaped())
    }

    fn told_until_reaped(&self) -> Option<ExitStatus> {
        let status = ProcStatus::of(self.pid)?;
        // 0 also stands for what we may not know.
        if status.exit_code == 0 && !has_our_ids(self.pid) {
            return None;
        }
        // A zombie takes signals; once it is reaped, nobody does, and its number
        // may be another's.
        let is_its_own = status.is_zombie() && self.send_signal(0).unwrap_or(false);
        is_its_own.then(|| ExitStatus::from_wait_status(status.exit_code))
    }

    fn told_once_reaped(&self) -> Option<ExitStatus> {
        let mut info = PidfdInfo {
            mask: PIDFD_INFO_EXIT,
            ..PidfdInfo::default()
        };
        // SAFETY: the request's number carries the size of the struct, which
        // lives through the call.
        let code = unsafe { libc::ioctl(self.fd.as_raw_fd(), libc::PIDFD_GET_INFO, &raw mut info) };
        let told = code == 0 && info.mask & PIDFD_INFO_EXIT != 0;
        told.then(|| ExitStatus::from_wait_status(info.exit_code))
    }
}

/// Kills and reaps a child that this process has just started and cannot watch;
/// returns how it ended, if that is to be known.
#[must_use]
pub fn abandon(pid: u32) -> Option<ExitStatus> {
    let pid = libc::pid_t::try_from(pid).ok()?;
    // SAFETY: nobody else reaps, so the number still means our child.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    loop {
        let mut word = 0;
        // SAFETY: the status is written to a local variable.
        let reaped = unsafe { libc::waitpid(pid, &raw mut word, 0) };
        if reaped == pid {
            return Some(ExitStatus::from_wait_status(word));
        }
        if io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
            return None;
        }
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// `struct pidfd_info`, first version (include/uapi/linux/pidfd.h, 6.15).
#[derive(Default)]
#[repr(C)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    pids: [u32; 3],
    ids: [u32; 8],
    exit_code: i32,
}

const _: () = assert!(size_of::<PidfdInfo>() == 64);

/// Asks for, or announces, the exit code.
const PIDFD_INFO_EXIT: u64 = libc::PIDFD_INFO_EXIT as u64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::os::testing::{WATCHDOG, child};

    #[test]
    fn a_running_process_is_not_dead_and_cannot_be_reaped() {
        let (process, release) = child(|go| go.wait());
        assert!(!process.is_dead());
        assert_eq!(process.reap().unwrap(), None);
        let soon = Deadline::after(Duration::from_millis(1));
        assert!(!process.wait(soon).unwrap());
        drop(release);
        assert!(process.wait(WATCHDOG()).unwrap());
        assert_eq!(process.reap().unwrap(), Some(ExitStatus::SUCCESS));
    }

    #[test]
    fn the_exit_code_arrives_once() {
        let (process, _release) = child(|_| 42);
        assert!(process.wait(WATCHDOG()).unwrap());
        assert!(process.is_dead());
        assert_eq!(process.ended().unwrap().unwrap().code(), 42);
        assert_eq!(process.reap().unwrap().unwrap().code(), 42);
        assert_eq!(process.reap().unwrap_err().kind(), ErrorKind::Invalid);
        assert!(process.is_dead());
    }

    #[test]
    fn a_death_by_signal_is_negative() {
        let (process, _release) = child(|go| go.wait());
        assert!(process.send_signal(libc::SIGKILL).unwrap());
        assert!(process.wait(WATCHDOG()).unwrap());
        assert_eq!(process.reap().unwrap().unwrap().code(), -libc::SIGKILL);
        assert!(!process.send_signal(libc::SIGKILL).unwrap());
    }

    #[test]
    fn an_ended_process_tells_its_exit_before_and_after_it_is_reaped() {
        let (process, release) = child(|go| go.wait() + 7);
        assert_eq!(process.exit_info(), None);
        drop(release);
        assert!(process.wait(WATCHDOG()).unwrap());
        assert_eq!(process.exit_info().unwrap().code(), 7);
        let reaped = process.reap().unwrap();
        // Before 6.15 the kernel does not tell.
        assert!(process.exit_info().is_none_or(|told| Some(told) == reaped));
    }

    #[test]
    fn a_number_nobody_has_is_dead() {
        assert_eq!(PidFd::open(0).unwrap_err().kind(), ErrorKind::Dead);
        assert_eq!(PidFd::open(u32::MAX).unwrap_err().kind(), ErrorKind::Dead);
    }
}
