//! procession's engine: processes, shared memory, and the ways to talk and wait.
//!
//! It knows bytes, offsets, descriptors and processes; never a value, never
//! serde, never Python. The faces (the crate `procession` and the Python
//! package) put types on top of it.

pub mod error;
pub mod os;
pub mod primitive;

pub mod arena;

#[cfg(not(loom))]
pub mod channel;
#[cfg(not(loom))]
pub mod sync;

/// What loom has models of.
#[cfg(loom)]
pub mod channel {
    pub mod parking;
}
/// What loom has models of.
#[cfg(loom)]
pub mod sync {
    pub mod permit_table;
}

pub mod process;
pub mod start;

pub mod pool;

pub use error::{Error, ErrorKind, Result};

use arena::hooks::NOTHING;
use arena::{Hooks, ObjectKind};

/// Tells the arena what each kind of object does when a member dies.
///
/// The one place where the lowest layer learns of the ones above it.
#[cfg(not(loom))]
pub(crate) fn hooks_of(kind: ObjectKind) -> &'static Hooks {
    match kind {
        ObjectKind::Lock => &sync::LOCK_HOOKS,
        ObjectKind::RLock => &sync::RLOCK_HOOKS,
        ObjectKind::Semaphore => &sync::SEMAPHORE_HOOKS,
        ObjectKind::Event => &sync::EVENT_HOOKS,
        ObjectKind::Condition => &sync::CONDITION_HOOKS,
        ObjectKind::Barrier => &sync::BARRIER_HOOKS,
        ObjectKind::Queue => &channel::QUEUE_HOOKS,
        ObjectKind::Link => &channel::LINK_HOOKS,
        ObjectKind::Spares => &start::SPARES_HOOKS,
        ObjectKind::Pool => &pool::HOOKS,
        ObjectKind::Pipe => &channel::PIPE_HOOKS,
        ObjectKind::Array | ObjectKind::Line => &NOTHING,
    }
}

/// Loom tries the interleavings of words; no object is ever made under it.
#[cfg(loom)]
pub(crate) fn hooks_of(kind: ObjectKind) -> &'static Hooks {
    match kind {
        ObjectKind::Spares => &start::SPARES_HOOKS,
        _ => &NOTHING,
    }
}
