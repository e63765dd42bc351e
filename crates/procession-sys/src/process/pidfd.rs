//! A descriptor of a process: it can be waited on, and never means another process.
//!
//! # Safety
//! Two system calls that rustix lacks are made by hand: signals by any number,
//! and the exit status of a process that somebody else reaps.

#![expect(unsafe_code, reason = "pidfd_send_signal by number, PIDFD_GET_INFO")]

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::fs::fstatfs;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, PidfdFlags, WaitId, WaitIdOptions, getegid, geteuid, pidfd_open, waitid,
};

use crate::denial::{is_denial, is_denied, refused};
use crate::error::{Error, ErrorKind, Result};
use crate::fd::kept_fd::{KeptFd, RenewedFd};
use crate::process::exit_status::ExitStatus;
use crate::process::liveness::{boot_time, is_alive, started_before};
use crate::procfs::status::{ProcStatus, has_our_ids};
use crate::wait::poll;
use crate::wait::time::Deadline;

/// Owns a descriptor of a process; readable once the process has ended.
///
/// If the program has closed it, it is opened anew by the process id; the start time of
/// the process shows whether the id still means the same process.
#[derive(Debug)]
pub struct PidFd {
    fd: RenewedFd,
    pid: u32,
    /// A time (since boot) at which the process was there.
    seen: u64,
    /// It was gone before it could be opened: the descriptor is a pipe at its end,
    /// which is readable for good, too.
    is_gone: bool,
}

impl PidFd {
    /// Opens the process that has `pid` now.
    ///
    /// Only the parent, before it reaps, knows for sure which process the number means;
    /// any other caller checks afterwards (see [`is_alive`]).
    ///
    /// # Errors
    /// `Dead` when no process has that number.
    ///
    /// [`is_alive`]: crate::process::liveness::is_alive
    pub fn open(pid: u32) -> Result<Self> {
        let gone = || Error::new(ErrorKind::Dead, format!("process {pid} is gone"));
        let number = i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(gone)?;
        let opened = pidfd_open(number, PidfdFlags::empty()).and_then(KeptFd::keep);
        match opened {
            Ok(kept) => Ok(Self {
                fd: RenewedFd::new(kept),
                pid,
                seen: boot_time(),
                is_gone: false,
            }),
            Err(Errno::SRCH) => Err(gone()),
            Err(e) => Err(refused("pidfd_open", format_args!("open process {pid}"), e)),
        }
    }

    /// Opens the process that had `pid` at `seen`, a time since boot.
    ///
    /// # Errors
    /// `Dead` when it has ended and been reaped; `Limit` when no descriptor is left.
    pub fn open_again(pid: u32, seen: u64) -> Result<Self> {
        let again = Self::open(pid)?;
        // Looked at after it was opened: the number may mean another process by now.
        if !started_before(pid, seen) {
            let message = format!("process {pid} is gone");
            return Err(Error::new(ErrorKind::Dead, message));
        }
        Ok(Self { seen, ..again })
    }

    /// Returns a time since boot at which the process was there.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Lends the descriptor that was opened first, which the program polls, and may
    /// have closed.
    #[must_use]
    pub fn unverified(&self) -> BorrowedFd<'_> {
        self.fd.first().unverified()
    }

    /// Lends a descriptor of this process, also if the program has closed the first
    /// one.
    ///
    /// # Errors
    /// `Dead` when it was lost and the process has ended and been reaped; `Limit`
    /// when it was lost and none is left.
    pub fn fd(&self) -> Result<BorrowedFd<'_>> {
        if self.is_gone {
            let message = format!("process {} was gone when it was looked for", self.pid);
            return Err(Error::new(ErrorKind::Dead, message));
        }
        self.fd.get(
            |kept| self.is_ours(kept),
            || {
                let again = Self::open_again(self.pid, self.seen)?;
                Ok(again.fd.into_first())
            },
        )
    }

    /// Opens a child that this process has just started. A child that cannot be watched
    /// must not run: it is killed and reaped.
    ///
    /// A child that is gone already has ended and was reaped: by another thread that
    /// waits for any child, or by the kernel, where SIGCHLD is ignored.
    ///
    /// # Errors
    /// `Limit` when no descriptor is left.
    pub fn of_child(pid: u32) -> Result<Self> {
        match Self::open(pid) {
            Err(error) if error.kind() == ErrorKind::Dead => Self::gone(pid),
            Err(error) => {
                let _ = abandon(pid);
                Err(error)
            }
            opened => opened,
        }
    }

    /// Opens a process that has just been started by a guardian of ours. A process that
    /// is gone already has ended, and its guardian with it; init reaps it. A process
    /// that cannot be watched must not run: it is killed.
    ///
    /// # Errors
    /// `Limit` when no descriptor is left.
    pub fn of_ward(pid: u32) -> Result<Self> {
        match Self::open(pid) {
            Err(error) if error.kind() == ErrorKind::Dead => Self::gone(pid),
            Err(error) => {
                let pid = libc::pid_t::try_from(pid).unwrap_or(libc::pid_t::MAX);
                // SAFETY: it was there a moment ago, so the number is its own.
                unsafe { libc::kill(pid, libc::SIGKILL) };
                Err(error)
            }
            opened => opened,
        }
    }

    /// Tells whether it is a child of this process, not reaped yet.
    #[must_use]
    pub fn is_child(&self) -> bool {
        self.ended().is_ok()
    }

    fn gone(pid: u32) -> Result<Self> {
        let (end, _) = pipe_with(PipeFlags::CLOEXEC)
            .and_then(|(read, write)| Ok((KeptFd::keep(read)?, write)))
            .map_err(|e| refused("pipe2", format_args!("open process {pid}"), e))?;
        Ok(Self {
            fd: RenewedFd::new(end),
            pid,
            seen: boot_time(),
            is_gone: true,
        })
    }

    /// Tells whether the descriptor that was opened at first is open still.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.is_ours(self.fd.first())
    }

    fn is_ours(&self, kept: &KeptFd) -> bool {
        // Before 6.9 all have one inode.
        kept.ours()
            .is_some_and(|fd| self.is_gone || has_inodes(fd) || pid_of(fd) == Some(self.pid))
    }

    /// Returns the descriptor alone.
    ///
    /// # Errors
    /// `Dead` when the program has closed it.
    pub fn into_fd(self) -> Result<OwnedFd> {
        let message = format!("the descriptor of process {} was closed", self.pid);
        let closed = || Error::new(ErrorKind::Dead, message);
        self.fd.into_first().into_fd().ok_or_else(closed)
    }

    /// Returns the number of the process; once the process was reaped, the number may
    /// mean another.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Tells whether the process has ended, reaped or not.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        match self.fd() {
            // Looking fails only for lack of memory: nothing is known then.
            Ok(fd) => poll::is_readable(fd).unwrap_or(false),
            Err(error) if error.kind() == ErrorKind::Dead => true,
            Err(_) => !is_alive(self.pid, self.seen),
        }
    }

    /// Blocks until the process has ended (true) or the deadline passes.
    ///
    /// # Errors
    /// `Interrupted` when a signal arrived first.
    pub fn wait(&self, deadline: Deadline) -> Result<bool> {
        match self.fd() {
            Ok(fd) => poll::wait_readable(fd, deadline),
            Err(error) if error.kind() == ErrorKind::Dead => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Sends a signal, 0 for none; tells whether the process was there to get it.
    ///
    /// # Errors
    /// When the signal does not exist or the process is another user's.
    pub fn send_signal(&self, signal: i32) -> Result<bool> {
        let fd = match self.fd() {
            Ok(fd) => fd,
            Err(error) if error.kind() == ErrorKind::Dead => return Ok(false),
            Err(error) => return Err(error),
        };
        // SAFETY: no pointer is passed but the null that stands for no
        // further information.
        let code = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                fd.as_raw_fd(),
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
        if is_denial(error.raw_os_error()) {
            return self.send_signal_by_number(signal, error);
        }
        Err(Error::os(self.sending(signal), error))
    }

    /// Sends a signal where that is not allowed by the descriptor, or the process
    /// is another user's.
    ///
    /// The number is the process's own until it is reaped, and a child of ours is
    /// reaped only after we have seen its end.
    fn send_signal_by_number(&self, signal: i32, denied: io::Error) -> Result<bool> {
        if !self.has_its_number() {
            return Ok(false);
        }
        let pid = libc::pid_t::try_from(self.pid).unwrap_or(libc::pid_t::MAX);
        // SAFETY: no memory is passed.
        if unsafe { libc::kill(pid, signal) } == 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::ESRCH) => Ok(false),
            // The same is said of another user's process.
            Some(libc::EPERM) => Err(Error::os(self.sending(signal), error)),
            _ => Err(refused("pidfd_send_signal", self.sending(signal), denied)),
        }
    }

    fn sending(&self, signal: i32) -> String {
        format!("send signal {signal} to process {}", self.pid)
    }

    /// Tells whether the process has not been reaped, so that nobody else has its
    /// number. Without /proc a process that has ended is taken for reaped: no signal
    /// reaches it either way.
    fn has_its_number(&self) -> bool {
        match self.fd().ok().and_then(pid_of) {
            Some(pid) => pid == self.pid,
            None => !self.is_dead(),
        }
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
        let none = || self.is_no_child();
        let fd = self.fd().map_err(|error| match error.kind() {
            ErrorKind::Dead => none(),
            _ => error,
        })?;
        let status = match waitid(WaitId::PidFd(fd), options) {
            Ok(Some(status)) => status,
            Ok(None) => return Ok(None),
            Err(Errno::CHILD) => return Err(none()),
            Err(denied) if is_denied(denied) => return self.wait_by_number(options, denied),
            Err(e) => return Err(Error::os(format_args!("reap process {}", self.pid), e)),
        };
        let code = match status.terminating_signal() {
            Some(signal) => -signal,
            None => status.exit_status().unwrap_or(0),
        };
        Ok(Some(ExitStatus::from_code(code)))
    }

    /// Waits for a child where waitid is not allowed.
    fn wait_by_number(&self, options: WaitIdOptions, denied: Errno) -> Result<Option<ExitStatus>> {
        if !self.is_dead() {
            return Ok(None);
        }
        let failed = || refused("waitid", format_args!("reap process {}", self.pid), denied);
        if options.contains(WaitIdOptions::NOWAIT) {
            return self.exit_info().map(Some).ok_or_else(failed);
        }
        // Only its parent asks, and as long as the parent does not reap it, no other
        // process has the number.
        match waitpid(self.pid, libc::WNOHANG) {
            Ok(status) => Ok(status),
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Err(self.is_no_child()),
            Err(_) => Err(failed()),
        }
    }

    fn is_no_child(&self) -> Error {
        let message = format!(
            "process {} is not a child of this process, or was reaped before",
            self.pid
        );
        Error::new(ErrorKind::Invalid, message)
    }

    /// Returns how a process ended that another process reaps, or has reaped; `None`
    /// before its end, and where the kernel does not tell (once reaped, before 6.15;
    /// until then, where /proc is missing).
    #[must_use]
    pub fn exit_info(&self) -> Option<ExitStatus> {
        if self.is_gone {
            return None;
        }
        // It may be reaped between the first two looks.
        let info = self.info();
        info.and_then(PidfdInfo::exit_status)
            .or_else(|| self.told_until_reaped(info))
            .or_else(|| self.info().and_then(PidfdInfo::exit_status))
    }

    fn told_until_reaped(&self, info: Option<PidfdInfo>) -> Option<ExitStatus> {
        let status = ProcStatus::of(self.pid)?;
        // 0 also stands for a status that we may not know.
        let is_told = || match info.and_then(PidfdInfo::has_our_ids) {
            Some(has_our_ids) => has_our_ids,
            None => has_our_ids(self.pid),
        };
        if status.exit_code == 0 && !is_told() {
            return None;
        }
        // A zombie takes signals; once it is reaped, no process does, and the number
        // may mean another.
        let is_its_own = status.is_zombie() && self.send_signal(0).unwrap_or(false);
        is_its_own.then(|| ExitStatus::from_wait_status(status.exit_code))
    }

    /// Asks the kernel for what it tells of the process: its ids until it is reaped, from
    /// Linux 6.13 on, and its exit code after that, from 6.15 on.
    fn info(&self) -> Option<PidfdInfo> {
        let mut info = PidfdInfo {
            mask: PIDFD_INFO_EXIT,
            ..PidfdInfo::default()
        };
        let number = self.fd().ok()?.as_raw_fd();
        // SAFETY: the request's number carries the size of the struct, which
        // lives through the call.
        let code = unsafe { libc::ioctl(number, libc::PIDFD_GET_INFO, &raw mut info) };
        (code == 0).then_some(info)
    }
}

/// Kills and reaps a child that this process has just started and cannot watch; returns
/// how it ended, if the system tells.
#[must_use]
pub fn abandon(pid: u32) -> Option<ExitStatus> {
    // Either the child has not been reaped, or no child of ours has the number.
    if let Some(status) = waitpid(pid, libc::WNOHANG).ok()? {
        return Some(status);
    }
    // SAFETY: no other thread reaps it, so the number still means our child.
    unsafe { libc::kill(libc::pid_t::try_from(pid).ok()?, libc::SIGKILL) };
    waitpid(pid, 0).ok()?
}

/// Reaps a child by its number; `None` if it has not ended and shall not be
/// waited for.
fn waitpid(pid: u32, options: libc::c_int) -> io::Result<Option<ExitStatus>> {
    let pid = libc::pid_t::try_from(pid).map_err(|_| io::Error::from_raw_os_error(libc::ECHILD))?;
    loop {
        let mut word = 0;
        // SAFETY: the status is written to a local variable.
        let reaped = unsafe { libc::waitpid(pid, &raw mut word, options) };
        if reaped == pid {
            return Ok(Some(ExitStatus::from_wait_status(word)));
        }
        if reaped == 0 {
            return Ok(None);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINTR) {
            return Err(error);
        }
    }
}

/// Tells whether the kernel's pidfds have inodes of their own, as this one must be.
fn has_inodes(pidfd: BorrowedFd<'_>) -> bool {
    const UNKNOWN: u8 = 0;
    const YES: u8 = 1;
    const NO: u8 = 2;
    static KNOWN: AtomicU8 = AtomicU8::new(UNKNOWN);
    // Relaxed: it is the same for every process of this kernel.
    match KNOWN.load(Ordering::Relaxed) {
        UNKNOWN => {
            let is_own = fstatfs(pidfd).is_ok_and(|stat| stat.f_type == PID_FS_MAGIC);
            KNOWN.store(if is_own { YES } else { NO }, Ordering::Relaxed);
            is_own
        }
        known => known == YES,
    }
}

/// Of the file system of pidfds (include/uapi/linux/magic.h, 6.9).
const PID_FS_MAGIC: rustix::fs::FsWord = 0x5049_4446;

/// Returns the process that a descriptor is of, if it is a pidfd (proc_pid_fdinfo(5)).
fn pid_of(fd: BorrowedFd<'_>) -> Option<u32> {
    let path = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pid:"))?;
    line.trim().parse().ok()
}

/// `struct pidfd_info`, first version (include/uapi/linux/pidfd.h, 6.13; the last field from
/// 6.15 on).
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    pids: [u32; 3],
    /// Of user and group: real, effective, saved, and that of the file system.
    ids: [[u32; 2]; 4],
    exit_code: i32,
}

const _: () = assert!(size_of::<PidfdInfo>() == 64);

/// Announces the ids.
const PIDFD_INFO_CREDS: u64 = libc::PIDFD_INFO_CREDS as u64;

/// Asks for, or announces, the exit code.
const PIDFD_INFO_EXIT: u64 = libc::PIDFD_INFO_EXIT as u64;

impl PidfdInfo {
    fn exit_status(self) -> Option<ExitStatus> {
        let is_told = self.mask & PIDFD_INFO_EXIT != 0;
        is_told.then(|| ExitStatus::from_wait_status(self.exit_code))
    }

    /// Does the same as [`has_our_ids`](has_our_ids()); `None` if the ids are not told.
    fn has_our_ids(self) -> Option<bool> {
        let ours = [geteuid().as_raw(), getegid().as_raw()];
        let is_told = self.mask & PIDFD_INFO_CREDS != 0;
        is_told.then(|| self.ids.iter().all(|ids| *ids == ours))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::{WATCHDOG, child};

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
    fn a_process_is_watched_reaped_and_told_signals_without_its_descriptor() {
        let (parent, _release) = child(|_| {
            let (process, _kept) = child(|go| go.wait());
            let (other, _kept) = child(|go| go.wait());
            let number = process.unverified().as_raw_fd();
            let theirs = other.fd().unwrap().as_raw_fd();
            // SAFETY: numbers of this test's own.
            assert_eq!(unsafe { libc::dup2(theirs, number) }, number);
            assert!(!process.is_dead());
            assert!(process.send_signal(libc::SIGKILL).unwrap());
            assert!(process.wait(WATCHDOG()).unwrap());
            assert_eq!(process.reap().unwrap().unwrap().code(), -libc::SIGKILL);
            assert!(process.is_dead());
            assert!(!other.is_dead());
            0
        });
        assert!(parent.wait(WATCHDOG()).unwrap());
        assert!(parent.reap().unwrap().unwrap().is_success());
    }

    #[test]
    fn a_number_nobody_has_is_dead() {
        assert_eq!(PidFd::open(0).unwrap_err().kind(), ErrorKind::Dead);
        assert_eq!(PidFd::open(u32::MAX).unwrap_err().kind(), ErrorKind::Dead);
    }
}
