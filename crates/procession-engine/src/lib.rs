//! procession's engine: processes, and the ways in which they talk and wait.
//!
//! It knows bytes, offsets, descriptors and processes; never a value, never
//! serde, never Python. The faces (the crate `procession` and the Python
//! package) put types on top of it. It stands on [`shm`], the shared memory,
//! and [`sys`], the system calls.

#[cfg_attr(
    loom,
    allow(
        dead_code,
        unused_imports,
        reason = "what tells is not there under loom"
    )
)]
pub mod trace;

#[cfg(not(loom))]
pub mod channel;
#[cfg(not(loom))]
pub mod sync;

/// What loom has models of.
#[cfg(loom)]
pub mod channel {
    pub mod parking;
    /// What loom has models of.
    pub mod pipe {
        pub mod handover;
    }
    /// What loom has models of.
    pub mod queue {
        pub mod unfinished;
    }
}
/// What loom has models of.
#[cfg(loom)]
pub mod sync {
    /// What loom has models of.
    pub mod semaphore {
        pub mod holders;
    }
}

pub mod process;

pub mod launch;
pub mod standby;

pub mod pool;

#[cfg(not(loom))]
pub mod observe;

pub use procession_shm as shm;
pub use procession_sys as sys;

pub use procession_sys::error::{Error, ErrorKind, Result};

use procession_shm::{Family, Hooks, Schema};

/// Tells `procession-shm` what the objects of this engine do when a member dies. It is the only
/// place by which the crate of the shared memory learns of the crate above it.
static SCHEMA: Schema = Schema {
    build: match u64::from_str_radix(env!("PROCESSION_BUILD"), 10) {
        Ok(number) => number,
        Err(_) => panic!("the build script writes a number"),
    },
    #[cfg(not(loom))]
    hooks: &[
        Hooks::of::<sync::LockLayout>(),
        Hooks::of::<sync::RLockLayout>(),
        Hooks::of::<sync::SemaphoreLayout>(),
        Hooks::of::<sync::WaitListLayout>(),
        Hooks::of::<sync::EventLayout>(),
        Hooks::of::<sync::BarrierLayout>(),
        Hooks::of::<channel::QueueLayout>(),
        Hooks::of::<channel::DuplexLayout>(),
        Hooks::of::<channel::PipeLayout>(),
        Hooks::of::<standby::StandbyTable>(),
        Hooks::of::<pool::ChannelHeader>(),
        Hooks::of::<trace::TraceLayout>(),
    ],
    #[cfg(not(loom))]
    forks: &[standby::prebooted::FORKS, process::detached::FORKS],
    // Loom tries the interleavings of words; no object is ever made under it.
    #[cfg(loom)]
    hooks: &[
        Hooks::of::<standby::StandbyTable>(),
        Hooks::of::<pool::ChannelHeader>(),
    ],
    #[cfg(loom)]
    forks: &[],
};

/// Returns the family that this process is a member of, founding it if need be.
///
/// # Errors
/// When no memory file or address space is to be had.
#[inline]
pub fn family() -> Result<&'static Family> {
    Family::get(&SCHEMA)
}
