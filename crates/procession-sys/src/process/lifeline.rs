//! Ends a process when its parent ends, whatever either is doing.
//!
//! A parent holds the only write end of a pipe. A child that shall not outlive
//! it reopens the read end, which gives it an open file of its own, and asks
//! the kernel for a signal when something happens to it. Nothing is ever written, so
//! the signal means that the parent has ended, or that it closes descriptors that it
//! has not opened; a handler finds out which ([`parentage`]), and ends the child at
//! once if the parent has ended. The thread that started the child may end earlier
//! (unlike with PR_SET_PDEATHSIG); the child needs no thread, and may be stuck
//! anywhere.
//!
//! The write end must not live on in a forked child, so a fork closes it there:
//! the family's fork handlers call [`hold_for_fork`], [`free_after_fork`] and
//! [`close_inherited`]. Exec closes it by itself.
//!
//! A child that execs another program loses its lifeline, and so does a child that
//! closes all descriptors.
//!
//! [`parentage`]: crate::process::parent_exit
//!
//! # Safety
//! Two commands of fcntl(2) take plain integers.

#![expect(unsafe_code, reason = "F_SETOWN and F_SETSIG, which rustix lacks")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, fcntl_setfl, open};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, Uid, geteuid, getpid, kill_process};

use crate::denial::refused;
use crate::error::{Error, ErrorKind, Result};
use crate::fd::kept_fd::{KeptFd, LAST_STREAM};
use crate::fd::own_table::ProgramsTable;
use crate::fork_safe::mutex::ForkMutex;
use crate::process::fork::refusal;
use crate::process::parent_exit::{self, ParentExit};
use crate::signals;
use crate::wait::poll;
use crate::wait::time::Deadline;

/// Returns a copy of the read end of this process's lifeline, to be kept by a
/// child, which calls [`Lifeline::hold`]. Call it before the fork, too, of a
/// child that will call [`Lifeline::hold_inherited`].
///
/// # Errors
/// `Limit` when no descriptor is left.
pub fn read_end() -> Result<KeptFd> {
    let failed = |e| refused("pipe2", "open a lifeline", e);
    let mut ends = ENDS.lock();
    if !ends.own.last().is_some_and(Pipe::is_of_use) {
        // There is no lifeline yet; or the program has closed it, or has become another
        // user, who may not reopen it.
        ends.own.push(Pipe::open().map_err(failed)?);
    }
    let read = ends.own.last().and_then(|pipe| pipe.read.ours());
    let read = read.ok_or_else(|| {
        Error::new(
            ErrorKind::Invalid,
            "the program has closed the lifeline of this process as soon as it was open",
        )
    })?;
    // Kept, though not for long: the program may close it meanwhile, and use its number.
    fcntl_dupfd_cloexec(read, LAST_STREAM + 1)
        .and_then(KeptFd::keep)
        .map_err(failed)
}

/// Opens the lifeline, unless it is open, so that [`read_end_by`] finds it.
///
/// # Errors
/// `Limit` when no descriptor is left.
pub fn prepare() -> Result<()> {
    read_end().map(drop)
}

/// Opens the read end of this process's lifeline anew, in a thread that has a table of
/// descriptors of its own: a write end that it made would end with it.
///
/// # Errors
/// `Invalid` when there is no lifeline, or the program has closed it.
pub fn read_end_by(table: &ProgramsTable) -> Result<OwnedFd> {
    let missing = || {
        Error::new(
            ErrorKind::Invalid,
            "this process has no lifeline of its present user",
        )
    };
    let ends = ENDS.lock();
    let pipe = ends.own.last().filter(|pipe| pipe.user == geteuid());
    let pipe = pipe.ok_or_else(missing)?;
    let end = table.open(&pipe.read, OFlags::RDONLY | OFlags::NONBLOCK)?;
    // Without its other end no child would learn of our end.
    match table.has(&pipe.write) {
        true => Ok(end),
        false => Err(missing()),
    }
}

/// Waits until no other thread is opening the lifeline; to be called right
/// before every fork.
pub fn hold_for_fork() {
    ENDS.hold();
}

/// Undoes [`hold_for_fork`] in the parent.
pub fn free_after_fork() {
    ENDS.free_after_fork();
}

/// Undoes [`hold_for_fork`] in the child, and gives up what belongs to the
/// parent: its write end is closed, its read end kept to be held.
pub fn close_inherited() {
    ENDS.free_after_fork();
    let mut ends = ENDS.lock();
    let own = std::mem::take(&mut ends.own);
    ends.inherited = own.into_iter().last().map(|pipe| (pipe.read, pipe.maker));
}

/// Ends this process when its parent ends, until dropped.
#[derive(Debug)]
#[must_use = "dropping it lets the process outlive its parent"]
pub struct Lifeline {
    /// Closing it ends the watch.
    #[expect(dead_code, reason = "held for its effect")]
    armed: Armed,
    /// After the other, which no signal may outlive.
    #[expect(dead_code, reason = "held for its effect")]
    minded: Option<ParentExit>,
}

impl Lifeline {
    /// Ends this process from now on when `parent`, the process that made
    /// `read_end`, has ended; right now, if it has already.
    ///
    /// # Errors
    /// When no descriptor is left, or, without /proc, no thread.
    pub fn hold(read_end: impl AsFd, parent: u32) -> Result<Self> {
        Self::hold_by(read_end.as_fd(), reopen(read_end.as_fd()), parent)
    }

    /// As [`hold`](Self::hold), with the read end that this forked child
    /// inherited; used up by it.
    ///
    /// # Errors
    /// `Invalid` when the parent had not called [`read_end`] before the fork.
    pub fn hold_inherited() -> Result<Self> {
        let (read_end, parent) = inherited()?;
        Self::hold(read_end, parent)
    }

    /// As [`hold_inherited`](Self::hold_inherited), but the end of the parent, which
    /// keeps its end open, comes as a signal that this process has a handler for.
    ///
    /// # Errors
    /// As [`hold_inherited`](Self::hold_inherited), and where there is no /proc.
    pub fn hold_inherited_by(signal: i32) -> Result<Self> {
        let (read_end, _) = inherited()?;
        let file = reopen(read_end.as_fd()).map_err(|e| Error::os("reopen a lifeline", e))?;
        arm(&file, signal)?;
        // A hang-up before the signal was armed raised none.
        if poll::is_hung_up(&read_end)?
            && let Some(signal) = Signal::from_named_raw(signal)
        {
            let _ = kill_process(getpid(), signal);
        }
        Ok(Self {
            armed: Armed::ByKernel(keep(file)?),
            minded: None,
        })
    }

    fn hold_by(
        read_end: BorrowedFd<'_>,
        own: rustix::io::Result<OwnedFd>,
        parent: u32,
    ) -> Result<Self> {
        // Where no handler can be set, every hang-up counts as the parent's end, and kills.
        let minded = ParentExit::by(parent).ok();
        let signal = minded
            .as_ref()
            .map_or(libc::SIGKILL, |_| signals::hung_up());
        let armed = match own {
            Ok(file) if arm(&file, signal).is_ok() => Armed::ByKernel(keep(file)?),
            // Without /proc there is no open file of our own to be had; or a
            // sandbox denies us the signal.
            _ => Armed::ByThread(watch(read_end)?),
        };
        // A hang-up before the signal was armed raised none.
        if poll::is_hung_up(read_end)? {
            parent_exit::look();
        }
        Ok(Self { armed, minded })
    }
}

#[derive(Debug)]
enum Armed {
    ByKernel(#[expect(dead_code, reason = "held for its effect")] KeptFd),
    ByThread(#[expect(dead_code, reason = "held for its effect")] KeptFd),
}

/// The ends of lifelines that this process has in hand.
static ENDS: ForkMutex<Ends> = ForkMutex::new(Ends {
    own: Vec::new(),
    inherited: None,
});

struct Ends {
    /// Pipes whose only writer is this process; the last is the one in use. There
    /// are several where the program has closed an end of one: children may
    /// still hold on to its other.
    own: Vec<Pipe>,
    /// The read end of the process that forked this one, and the pid of that. This
    /// process may be another's child already, that lives.
    inherited: Option<(KeptFd, u32)>,
}

/// Takes what this forked child has inherited: the read end, and its maker's pid.
fn inherited() -> Result<(OwnedFd, u32)> {
    let inherited = ENDS.lock().inherited.take();
    inherited
        .and_then(|(read_end, maker)| Some((read_end.into_fd()?, maker)))
        .ok_or_else(|| {
            Error::new(
                ErrorKind::Invalid,
                "this process was forked without a lifeline of its parent",
            )
        })
}

struct Pipe {
    read: KeptFd,
    write: KeptFd,
    /// The process that has the write end.
    maker: u32,
    /// The user that the process runs as.
    user: Uid,
}

impl Pipe {
    fn open() -> rustix::io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        let (read, write) = (KeptFd::keep(read)?, KeptFd::keep(write)?);
        Ok(Self {
            read,
            write,
            maker: std::process::id(),
            user: geteuid(),
        })
    }

    fn is_of_use(&self) -> bool {
        let is_whole = self.read.ours().is_some() && self.write.ours().is_some();
        is_whole && self.user == geteuid()
    }
}

fn keep(fd: OwnedFd) -> Result<KeptFd> {
    KeptFd::keep(fd).map_err(|e| Error::os("keep a lifeline", e))
}

/// Opens the pipe anew: signals are arranged per open file, and the parent's
/// other children share the one that was inherited.
fn reopen(read_end: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", read_end.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    open(path, flags, Mode::empty())
}

/// Has the kernel send this process a signal when the last writer is gone.
fn arm(file: &OwnedFd, signal: i32) -> Result<()> {
    let failed = |e| Error::os("arm the lifeline", e);
    let me = getpid().as_raw_pid();
    control(file, libc::F_SETOWN, me).map_err(failed)?;
    control(file, F_SETSIG, signal).map_err(failed)?;
    fcntl_setfl(file, OFlags::NONBLOCK | OFlags::ASYNC)
        .map_err(io::Error::from)
        .map_err(failed)
}

/// Chooses the signal that replaces SIGIO (fcntl(2); libc does not name it).
const F_SETSIG: libc::c_int = 10;

fn control(file: &OwnedFd, command: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: both commands take one int and touch no memory of ours.
    let code = unsafe { libc::fcntl(file.as_raw_fd(), command, value) };
    if code < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Starts a thread that ends the process with its parent; returns what to
/// close to stop it.
fn watch(read_end: BorrowedFd<'_>) -> Result<KeptFd> {
    let failed = |e| Error::os("watch the lifeline", e);
    let copy = fcntl_dupfd_cloexec(read_end, LAST_STREAM + 1).map_err(failed)?;
    let read_end = keep(copy)?;
    let (stopped, stop) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
    let (stopped, stop) = (keep(stopped)?, keep(stop)?);
    let body = move || {
        use poll::{PollFd, PollFlags, poll};
        loop {
            // A descriptor that the program has closed says nothing of the parent.
            let (Some(alive), Some(stopped)) = (read_end.ours(), stopped.ours()) else {
                return;
            };
            let mut fds = [
                PollFd::from_borrowed_fd(alive, PollFlags::IN),
                PollFd::from_borrowed_fd(stopped, PollFlags::IN),
            ];
            match poll(&mut fds, Deadline::NEVER) {
                Ok(_) if !fds[1].revents().is_empty() => return,
                Ok(_) => end(),
                // Signals are other threads' business.
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // The thread cannot watch any more: it is safer to end than to become
                // an orphan.
                Err(_) => end(),
            }
        }
    };
    std::thread::Builder::new()
        .name("lifeline".into())
        .stack_size(WATCHER_STACK)
        .spawn(body)
        .map_err(|e| refusal("start the thread that watches the lifeline", e))?;
    Ok(stop)
}

/// Bytes; the watcher only polls.
const WATCHER_STACK: usize = 64 * 1024;

/// Ends this process the way the kernel would have.
fn end() -> ! {
    let _ = kill_process(getpid(), Signal::KILL);
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use rustix::io::{Errno, read, write};

    use super::*;
    use crate::process::fork::{Forked, fork};
    use crate::process::pidfd::PidFd;
    use crate::testing::{Go, WATCHDOG, child};

    /// Has a parent fork `body`, kills the parent when `body` has called its
    /// argument, and waits for what `body` runs in to end.
    fn ends_with_its_parent(body: fn(&dyn Fn())) {
        let (ready, tell) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (parent, _release) = child(|go: &Go| {
            drop(read_end().unwrap());
            hold_for_fork();
            // SAFETY: a test's child; it allocates, and ends without return.
            match unsafe { fork() }.unwrap() {
                Forked::Child => {
                    close_inherited();
                    let me = std::process::id().to_ne_bytes();
                    body(&|| assert_eq!(write(&tell, &me), Ok(4)));
                    1
                }
                Forked::Parent(_) => {
                    free_after_fork();
                    go.wait()
                }
            }
        });
        let mut pid = [0; 4];
        assert!(poll::wait_readable(&ready, WATCHDOG()).unwrap());
        assert_eq!(read(&ready, &mut pid), Ok(4));
        let child = PidFd::open(u32::from_ne_bytes(pid)).unwrap();
        assert!(!child.is_dead());
        assert!(parent.send_signal(libc::SIGKILL).unwrap());
        assert!(child.wait(WATCHDOG()).unwrap());
        assert!(parent.wait(WATCHDOG()).unwrap());
        parent.reap().unwrap();
    }

    #[test]
    fn a_busy_child_ends_with_its_killed_parent() {
        ends_with_its_parent(|ready| {
            let _line = Lifeline::hold_inherited().unwrap();
            ready();
            loop {
                std::hint::spin_loop();
            }
        });
    }

    #[test]
    fn a_child_with_a_living_fork_of_its_own_ends_with_its_parent() {
        ends_with_its_parent(|ready| {
            let _line = Lifeline::hold_inherited().unwrap();
            let (grandchild, _release) = child(|go| go.wait());
            ready();
            grandchild.wait(WATCHDOG()).unwrap();
        });
    }

    #[test]
    fn without_proc_a_thread_watches() {
        ends_with_its_parent(|ready| {
            let (read_end, parent) = inherited().unwrap();
            let _line = Lifeline::hold_by(read_end.as_fd(), Err(Errno::NOENT), parent).unwrap();
            ready();
            loop {
                std::hint::spin_loop();
            }
        });
    }

    #[test]
    fn who_has_become_another_user_is_tied_without_a_thread() {
        let (process, _release) = child(|_| {
            drop(read_end().unwrap());
            if !geteuid().is_root() {
                eprintln!("not tried: the tests do not run as root");
                return 0;
            }
            // SAFETY: a plain call, in a child with one thread.
            assert_eq!(unsafe { libc::seteuid(65_534) }, 0);
            let _line = Lifeline::hold(
                read_end().unwrap().unverified(),
                std::os::unix::process::parent_id(),
            )
            .unwrap();
            crate::process::fork::thread_count()
                .map_or(0, |threads| i32::try_from(threads).unwrap() - 1)
        });
        assert!(process.wait(WATCHDOG()).unwrap());
        assert!(process.reap().unwrap().unwrap().is_success());
    }

    #[test]
    fn a_child_that_comes_too_late_ends_at_once() {
        let (parent, _release) = child(|_| 0);
        assert!(parent.wait(WATCHDOG()).unwrap());
        parent.reap().unwrap();
        let (process, _release) = child(|_| {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
            drop(write);
            let _line = Lifeline::hold(read, parent.pid());
            0
        });
        assert!(process.wait(WATCHDOG()).unwrap());
        let status = process.reap().unwrap().unwrap();
        assert_eq!(status.signal(), Some(libc::SIGKILL));
    }

    #[test]
    fn a_dropped_lifeline_lets_the_process_live() {
        let parent = std::process::id();
        let (process, _release) = child(|_| {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
            drop(Lifeline::hold(&read, parent).unwrap());
            let by_thread = Lifeline::hold_by(read.as_fd(), Err(Errno::NOENT), parent);
            drop(by_thread.unwrap());
            drop(write);
            3
        });
        assert!(process.wait(WATCHDOG()).unwrap());
        assert_eq!(process.reap().unwrap().unwrap().code(), 3);
    }
}
