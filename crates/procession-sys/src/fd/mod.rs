//! Descriptors, of which none is this library's alone: the program may close any and use its number again.

pub mod inherited;
pub mod kept_fd;
pub mod own_table;
pub mod stderr;
pub mod streams;
