//! What a process may use: processors, memory, and what the kernel lets it have at most.

mod cgroup;
pub mod cpu;
pub mod memory;
pub mod rlimits;
