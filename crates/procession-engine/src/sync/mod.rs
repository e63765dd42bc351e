//! Waiting for one another: locks, semaphores, conditions, events, barriers.
//!
//! Each is a small value around an object of the arena; a clone, or what
//! [`Lock::attach`] makes of a handle in another process, is the same lock.
//! `README.md` beside this file tells how each survives a kill at any
//! instruction. Waits end at a deadline (`TimedOut`) and when a signal arrives
//! (`Interrupted`: handle it, then wait again).

mod attachable;
mod blocked_on;
mod liveness_cache;

pub(crate) mod notify;

mod await_fd;
mod awaitable_lock;

mod lock;
mod rlock;

mod event;

mod semaphore;

mod condition;

mod barrier;

pub use await_fd::{Armed, AwaitFd};
pub use notify::ReadableFd;

pub use barrier::{Barrier, Follower, Leader, Role};
pub use condition::{Condition, Waiter};
pub use event::Event;
pub use lock::Lock;
pub use rlock::RLock;
pub use semaphore::Semaphore;

pub(crate) use attachable::attachable;
pub(crate) use blocked_on::BlockedOn;

pub(crate) use barrier::state::BarrierLayout;
pub(crate) use condition::wait_list::WaitListLayout;
pub(crate) use event::EventLayout;
pub(crate) use lock::LockLayout;
pub(crate) use rlock::RLockLayout;
pub(crate) use semaphore::permits::SemaphoreLayout;

use crate::family;
use procession_shm::{Object, Stamp};
use procession_sys::error::{Error, ErrorKind, Result};

/// Returns this process's stamp.
///
/// # Errors
/// `Limit` in a forked process that found no place in the family.
#[inline]
pub(crate) fn me(object: &Object) -> Result<Stamp> {
    let me = object.family().me();
    if me.is_nobody() {
        // Returns the error that says why this process is no member.
        family()?;
    }
    Ok(me)
}

/// Names an object in a message.
fn named(object: &Object) -> String {
    let name = object.view().kind().map_or("object", |kind| kind.name());
    format!("{name} #{}", object.handle().serial)
}

fn timed_out(object: &Object) -> Error {
    Error::new(
        ErrorKind::TimedOut,
        format!("{} did not come free before the deadline", named(object)),
    )
}

fn interrupted(object: &Object) -> Error {
    Error::new(
        ErrorKind::Interrupted,
        format!("a signal arrived during the wait for {}", named(object)),
    )
}

fn owner_died(object: &Object, owner: Stamp) -> Error {
    let member = object.family().member(owner);
    let pid = member.pid();
    // Its slot may be another member's by now.
    let known = if member.generation() == owner.generation() {
        format!(" (pid {pid})")
    } else {
        String::new()
    };
    Error::new(
        ErrorKind::OwnerDied,
        format!(
            "the process that held {}{known} has died; it is free now, but what it guards may \
             be half changed",
            named(object)
        ),
    )
}
