//! The bytes of a message on a descriptor, as CPython's `Connection` frames them.
//!
//! A message is its length as a big-endian `i32`, or -1 and then a `u64`, and
//! its bytes. Over a pipe that both ends have a [`PipeShared`](super::shared::PipeShared) of, a large
//! message, or one that carries handles, lies in the arena instead: -2, then offset and length of
//! its block as `u64`.

/// Bytes that a socket takes at once or not at all, however small its buffer:
/// half of the least that the kernel allows (4.5 KiB).
pub const AT_ONCE: usize = 2048;

/// Stands in the place of a length that follows as a `u64`.
pub const LONG: i32 = -1;
/// Stands in the place of a length if the message lies in a block.
pub const APART: i32 = -2;

/// Bytes before a message.
pub const SHORT_HEAD: usize = 4;
/// Bytes before a message that begins with [`LONG`].
pub const LONG_HEAD: usize = 12;
/// Bytes of what stands for a message in a block.
pub const APART_HEAD: usize = 20;
