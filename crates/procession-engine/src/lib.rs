//! procession's engine: processes, shared memory, and the ways to talk and wait.
//!
//! It knows bytes, offsets, descriptors and processes; never a value, never
//! serde, never Python. The faces (the crate `procession` and the Python
//! package) put types on top of it.

pub mod error;
pub mod os;
pub mod primitive;

pub mod arena;

pub use error::{Error, ErrorKind, Result};
