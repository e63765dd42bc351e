//! This process as it knows itself: its name, its parent, and whether it was asked to
//! stop.

use std::os::unix::process::parent_id;

use crate::family;
use crate::process::payload::Payload;
use procession_shm::member::table::{DAEMON, Member};
use procession_shm::{Block, Family, Stamp};
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::primitive::{Ordering, futex_wait, futex_wake};
use procession_sys::process::liveness;
use procession_sys::process::pidfd::PidFd;
use procession_sys::wait::futex::Woken;
use procession_sys::wait::time::Deadline;

/// Describes this process as a member of its family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentProcess {
    /// Its stamp.
    pub stamp: Stamp,
    /// Its name, cut to what the member table keeps.
    pub name: String,
    /// Whether it ends with its parent.
    pub is_daemon: bool,
    /// The process that asked for it; `None` in the family's first process.
    pub parent: Option<Parent>,
}

/// Describes the process that asked for this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its stamp.
    pub stamp: Stamp,
    /// Its process id; `None` once it has ended and another member has taken its slot.
    pub pid: Option<u32>,
    /// Its name, cut to what the member table keeps; empty as above.
    pub name: String,
}

/// Describes this process.
///
/// # Errors
/// When there can be no family.
pub fn current() -> Result<CurrentProcess> {
    let family = family()?;
    let stamp = family.me();
    let member = family.member(stamp);
    let flags = member.flags.load(Ordering::Relaxed);
    Ok(CurrentProcess {
        stamp,
        name: member.name(),
        is_daemon: flags & DAEMON != 0,
        parent: parent_of(family, member),
    })
}

/// Describes the process that asked for this one; `None` in the family's first.
#[must_use]
pub fn parent() -> Option<Parent> {
    let family = Family::existing()?;
    parent_of(family, family.member(family.me()))
}

/// Names this process in the family's table, for others to see.
///
/// # Errors
/// When there can be no family.
pub fn set_name(name: &str) -> Result<()> {
    let family = family()?;
    family.member(family.me()).set_name(name);
    Ok(())
}

fn parent_of(family: &Family, member: &Member) -> Option<Parent> {
    let stamp = Stamp::from_raw(member.parent.load(Ordering::Relaxed));
    if stamp.is_nobody() {
        return None;
    }
    let parent = family.member(stamp);
    let pid = parent.pid();
    let name = parent.name();
    // Looked at last, so that all that was read above is the parent's.
    let is_same = parent.generation() == stamp.generation();
    Some(Parent {
        stamp,
        pid: (is_same && pid != 0).then_some(pid),
        name: if is_same { name } else { String::new() },
    })
}

/// Opens the process that asked for this one, to wait for its end.
///
/// # Errors
/// `Dead` when it has ended, `Invalid` in the family's first process.
pub fn open_parent() -> Result<PidFd> {
    let family = family()?;
    let parent = parent_of(family, family.member(family.me())).ok_or_else(|| {
        Error::new(
            ErrorKind::Invalid,
            "the first process of a family has no parent in it",
        )
    })?;
    let gone = || Error::new(ErrorKind::Dead, "the parent process has ended");
    let pid = parent.pid.ok_or_else(gone)?;
    let seen = family.member(parent.stamp).seen();
    let pidfd = PidFd::open(pid).map_err(|error| match error.kind() {
        ErrorKind::Dead => gone(),
        _ => error,
    })?;
    // If the kernel says that this is our parent, the id is the parent's still.
    if parent_id() == pid {
        return Ok(pidfd);
    }
    // A server has forked us. The id may have become another process's before it was
    // opened.
    if liveness::is_alive(pid, seen) {
        return Ok(pidfd);
    }
    Err(gone())
}

/// Asks this process itself to stop.
///
/// # Errors
/// When there can be no family.
pub fn request_stop() -> Result<()> {
    let family = family()?;
    let stop = &family.member(family.me()).stop;
    // Release pairs with the Acquire in `wait_stop`.
    stop.store(1, Ordering::Release);
    futex_wake(stop, u32::MAX);
    Ok(())
}

/// Tells whether this process was asked to stop.
#[must_use]
pub fn stop_requested() -> bool {
    Family::existing().is_some_and(|family| {
        // Relaxed: the flag stands for itself; nothing is read because of it.
        family.member(family.me()).stop.load(Ordering::Relaxed) != 0
    })
}

/// Blocks until this process is asked to stop (true) or the deadline passes.
///
/// # Errors
/// `Interrupted` when a signal arrived first.
pub fn wait_stop(deadline: Deadline) -> Result<bool> {
    let family = family()?;
    let stop = &family.member(family.me()).stop;
    loop {
        // Acquire pairs with the Release in `Child::request_stop`.
        if stop.load(Ordering::Acquire) != 0 {
            return Ok(true);
        }
        match futex_wait(stop, 0, deadline) {
            Woken::Changed => {}
            Woken::TimedOut => return Ok(false),
            Woken::Interrupted => {
                let message = "a signal arrived during the wait for a request to stop";
                return Err(Error::new(ErrorKind::Interrupted, message));
            }
        }
    }
}

/// Leaves bytes for the parent, which gets them once this process has ended, however it
/// ends. A later outcome replaces them.
///
/// # Errors
/// When there can be no family.
pub fn publish_outcome(outcome: Payload) -> Result<()> {
    let family = family()?;
    let member = family.member(family.me());
    let before = member.outcome.swap(0, Ordering::Relaxed);
    if before != 0 {
        drop(Block::claim(before, family.me()));
    }
    let (block, len) = outcome.into_parts();
    member.outcome_len.store(len as u64, Ordering::Relaxed);
    // Release pairs with the Acquire in `Child::take_outcome`: a process that sees the
    // offset sees the bytes.
    member.outcome.store(block.leak(), Ordering::Release);
    Ok(())
}
