//! A process that ends when its parent does, whatever either is doing.
//!
//! A parent holds the only write end of a pipe. A child that shall not outlive
//! it reopens the read end, which gives it an open file of its own, and asks
//! the kernel for a SIGKILL, not SIGIO, when something happens to it. Nothing
//! is ever written, so what happens is that the parent has ended: its thread
//! that started the child may end before (unlike with PR_SET_PDEATHSIG), the
//! child needs no thread and no signal handler, and may be stuck anywhere.
//!
//! The write end must not live on in a forked child, so a fork closes it there:
//! the family's fork handlers call [`hold_for_fork`], [`free_after_fork`] and
//! [`close_inherited`]. Exec closes it by itself.
//!
//! A child that execs another program leaves its lifeline.
//!
//! # Safety
//! Two commands of fcntl(2) take plain integers.

#![expect(unsafe_code, reason = "F_SETOWN and F_SETSIG, which rustix lacks")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, fcntl_setfl, open};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, getpid, kill_process};

use crate::error::{Error, ErrorKind, Result};
use crate::os::fork_mutex::ForkMutex;
use crate::os::poll;
use crate::os::time::Deadline;

/// Returns a copy of the read end of this process's lifeline, to be kept by a
/// child, which calls [`Lifeline::hold`]. Call it before the fork, too, of a
/// child that will call [`Lifeline::hold_inherited`].
///
/// # Errors
/// `Limit` when no descriptor is left.
pub fn read_end() -> Result<OwnedFd> {
    let failed = |e| Error::os("open a lifeline", e);
    let mut ends = ENDS.lock();
    if ends.own.is_none() {
        ends.own = Some(pipe_with(PipeFlags::CLOEXEC).map_err(failed)?);
    }
    let (read, _) = ends
        .own
        .as_ref()
        .ok_or_else(|| Error::new(ErrorKind::Invalid, "the lifeline is missing"))?;
    fcntl_dupfd_cloexec(read, 0).map_err(failed)
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
    ends.inherited = ends.own.take().map(|(read, _write)| read);
}

/// Ends this process when its parent ends, until dropped.
#[derive(Debug)]
#[must_use = "dropping it lets the process outlive its parent"]
pub struct Lifeline {
    /// Closing it ends the arrangement.
    #[expect(dead_code, reason = "held for its effect")]
    armed: Armed,
}

impl Lifeline {
    /// Ends this process from now on when the process that made `read_end`
    /// has ended; right now, if it has already.
    ///
    /// # Errors
    /// When no descriptor is left, or, without /proc, no thread.
    pub fn hold(read_end: impl AsFd) -> Result<Self> {
        Self::hold_by(read_end.as_fd(), reopen(read_end.as_fd()))
    }

    /// As [`hold`](Self::hold), with the read end that this forked child
    /// inherited; used up by it.
    ///
    /// # Errors
    /// `Invalid` when the parent had not called [`read_end`] before the fork.
    pub fn hold_inherited() -> Result<Self> {
        let inherited = ENDS.lock().inherited.take();
        let read_end =
            inherited.ok_or_else(|| Error::new(ErrorKind::Invalid, "no lifeline was inherited"))?;
        Self::hold(read_end)
    }

    fn hold_by(read_end: BorrowedFd<'_>, own: rustix::io::Result<OwnedFd>) -> Result<Self> {
        let armed = match own {
            Ok(file) => {
                arm(&file)?;
                Armed::ByKernel(file)
            }
            // Without /proc there is no open file of our own to be had.
            Err(_) => Armed::ByThread(watch(read_end)?),
        };
        // What happened before it was armed raised no signal.
        if poll::is_hung_up(read_end)? {
            end();
        }
        Ok(Self { armed })
    }
}

#[derive(Debug)]
enum Armed {
    ByKernel(#[expect(dead_code, reason = "held for its effect")] OwnedFd),
    ByThread(#[expect(dead_code, reason = "held for its effect")] OwnedFd),
}

/// The ends of lifelines that this process has in hand.
static ENDS: ForkMutex<Ends> = ForkMutex::new(Ends {
    own: None,
    inherited: None,
});

struct Ends {
    /// Read and write end of the pipe whose only writer is this process.
    own: Option<(OwnedFd, OwnedFd)>,
    /// The read end of the process that forked this one.
    inherited: Option<OwnedFd>,
}

/// Opens the pipe anew: signals are arranged per open file, and the parent's
/// other children share the one that was inherited.
fn reopen(read_end: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", read_end.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    open(path, flags, Mode::empty())
}

/// Has the kernel kill this process when the last writer is gone.
fn arm(file: &OwnedFd) -> Result<()> {
    let failed = |e| Error::os("arm the lifeline", e);
    let me = getpid().as_raw_pid();
    control(file, libc::F_SETOWN, me).map_err(failed)?;
    control(file, F_SETSIG, libc::SIGKILL).map_err(failed)?;
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
fn watch(read_end: BorrowedFd<'_>) -> Result<OwnedFd> {
    let failed = |e| Error::os("watch the lifeline", e);
    let read_end = fcntl_dupfd_cloexec(read_end, 0).map_err(failed)?;
    let (stopped, stop) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
    let body = move || {
        use poll::{PollFd, PollFlags, poll};
        loop {
            let mut fds = [
                PollFd::new(&read_end, PollFlags::IN),
                PollFd::new(&stopped, PollFlags::IN),
            ];
            match poll(&mut fds, Deadline::NEVER) {
                Ok(_) if !fds[1].revents().is_empty() => return,
                Ok(_) => end(),
                // Signals are other threads' business.
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // Blind: it is safer to end than to become an orphan.
                Err(_) => end(),
            }
        }
    };
    std::thread::Builder::new()
        .name("lifeline".into())
        .stack_size(WATCHER_STACK)
        .spawn(body)
        .map_err(|e| Error::os("start the thread that watches the lifeline", e))?;
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
    use crate::os::fork::{Forked, fork};
    use crate::os::pidfd::PidFd;
    use crate::os::testing::{Go, WATCHDOG, child};

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
            let read_end = ENDS.lock().inherited.take().unwrap();
            let _line = Lifeline::hold_by(read_end.as_fd(), Err(Errno::NOENT)).unwrap();
            ready();
            loop {
                std::hint::spin_loop();
            }
        });
    }

    #[test]
    fn a_child_that_comes_too_late_ends_at_once() {
        let (process, _release) = child(|_| {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
            drop(write);
            let _line = Lifeline::hold(read);
            0
        });
        assert!(process.wait(WATCHDOG()).unwrap());
        let status = process.reap().unwrap().unwrap();
        assert_eq!(status.signal(), Some(libc::SIGKILL));
    }

    #[test]
    fn a_dropped_lifeline_lets_the_process_live() {
        let (process, _release) = child(|_| {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
            drop(Lifeline::hold(&read).unwrap());
            drop(Lifeline::hold_by(read.as_fd(), Err(Errno::NOENT)).unwrap());
            drop(write);
            3
        });
        assert!(process.wait(WATCHDOG()).unwrap());
        assert_eq!(process.reap().unwrap().unwrap().code(), 3);
    }
}
