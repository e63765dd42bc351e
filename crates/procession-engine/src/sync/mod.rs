//! Waiting for one another: locks, semaphores, conditions, events, barriers.
//!
//! Each is a small value around an object of the arena; a clone, or what
//! [`Lock::attach`] makes of a handle in another process, is the same lock.
//! `README.md` beside this file tells how each survives a kill at any
//! instruction. Waits end at a deadline (`TimedOut`) and when a signal arrives
//! (`Interrupted`: handle it, then wait again).

mod glance;
mod waiting;

pub(crate) mod bells;

mod lock;
mod rlock;

mod event;

mod permit_table;
mod permits;
mod semaphore;

mod condition;
mod waiters;

mod barrier;
mod gate;

pub use bells::ReadableFd;

pub use barrier::{Barrier, Follower, Leader, Role};
pub use condition::{Condition, Waiter};
pub use event::Event;
pub use lock::Lock;
pub use rlock::RLock;
pub use semaphore::Semaphore;

pub(crate) use waiting::Waiting;

pub(crate) use condition::HOOKS as CONDITION_HOOKS;
pub(crate) use event::HOOKS as EVENT_HOOKS;
pub(crate) use gate::HOOKS as BARRIER_HOOKS;
pub(crate) use lock::HOOKS as LOCK_HOOKS;
pub(crate) use permits::HOOKS as SEMAPHORE_HOOKS;
pub(crate) use rlock::HOOKS as RLOCK_HOOKS;

use crate::arena::{Family, Object, Stamp};
use crate::error::{Error, ErrorKind, Result};

/// Returns this process's stamp.
///
/// # Errors
/// `Limit` in a forked process that found no place in the family.
#[inline]
pub(crate) fn me(object: &Object) -> Result<Stamp> {
    let me = object.family().me();
    if me.is_nobody() {
        // Fails with the reason.
        Family::get()?;
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
    // Its place may be another's by now.
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
