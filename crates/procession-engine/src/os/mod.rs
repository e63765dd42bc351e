//! The only place with system calls and with names of operating systems.
//!
//! Everything here is an owned, safe wrapper; the rest of the engine sees
//! types, not numbers. Files are in reading order: time and memory, waiting
//! and waking, bytes, processes, and what a process may use.

pub mod time;

#[cfg(not(feature = "steps"))]
#[path = "no_steps.rs"]
pub mod steps;
#[cfg(feature = "steps")]
pub mod steps;

pub mod mapping;
pub mod memfd;

pub mod cadence;
pub mod futex;
pub mod patience;

pub mod image;
pub mod poll;

pub mod epoll;

pub mod doorbell;
pub mod eventfd;

pub mod socket;

pub mod fd_passing;
pub mod mailbox;

pub mod atfork;
pub mod fork_mutex;
pub mod liveness;
pub mod thread;

pub mod exit_status;
pub mod pidfd;

pub mod fork;
pub mod inherited;
pub mod lifeline;
pub mod spawn;

pub mod proc_status;

pub mod deaf_thread;
pub mod prctl;
pub mod signals;

pub mod affinity;
mod cgroup;
pub mod cpu;
pub mod environment;
pub mod footprint;
pub mod last_words;
pub mod limits;
pub mod memory;
pub mod random;
pub mod surroundings;

#[cfg(test)]
pub(crate) mod testing;

#[cfg(not(all(
    target_os = "linux",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
compile_error!("procession runs on Linux x86-64 and aarch64 (kernel 5.10 or newer)");
