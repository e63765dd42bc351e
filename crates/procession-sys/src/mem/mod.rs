//! Shared memory files, their mappings, the pages that a process uses, and what it tells when it is
//! refused memory.

pub mod mapping;
pub mod memfd;
pub mod observed_file;
pub mod out_of_memory;
pub mod resident_size;
pub mod working_set;
