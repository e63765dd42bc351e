//! The only place with system calls and with names of operating systems.
//!
//! Everything here is an owned, safe wrapper; the crates above see types, not
//! numbers. In reading order: errors, descriptors, waiting and waking, memory,
//! sockets, processes, and what a process is and may use.

pub mod error;

#[cfg(not(feature = "steps"))]
#[path = "no_steps.rs"]
pub mod steps;
#[cfg(feature = "steps")]
pub mod steps;

mod denial;

pub mod fd;
pub mod wait;

pub mod mem;

pub mod socket;

pub mod fork_safe;
pub mod process;
pub mod procfs;
pub mod signals;

pub mod attributes;
pub mod limits;
pub mod random;

pub mod sandbox;
pub mod unwinding;

pub mod primitive;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use error::{Error, ErrorKind, Result};

#[cfg(not(all(
    target_os = "linux",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
compile_error!("procession runs on Linux x86-64 and aarch64 (kernel 5.10 or newer)");
