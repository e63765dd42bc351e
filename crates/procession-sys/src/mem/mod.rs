//! Shared memory files, their mappings, and what a process tells when it is refused memory.

pub mod mapping;
pub mod memfd;
pub mod observed_file;
pub mod out_of_memory;
pub mod resident_size;
