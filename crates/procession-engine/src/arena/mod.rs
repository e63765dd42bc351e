//! The arena: one shared memory file per family, and who owns what in it.
//!
//! `README.md` beside this file tells how it stays sound when a member is
//! killed at any instruction. In reading order: names and words, the memory,
//! its two allocators, the members and what they share.

pub mod low_half;
pub mod raw_lock;
pub mod stamp;

pub mod layout;
mod ledger;
pub mod space;
pub mod word;

mod faulted;
mod runs;
mod spans;

pub(crate) mod blocks;

pub mod block;
pub mod exit;
pub mod member;
pub mod usage;

mod burial;
mod carried;
pub mod family;
pub mod hooks;
pub mod loans;
pub mod object;

pub use block::Block;
pub use family::Family;
pub use hooks::{Hooks, ObjectKind};
pub use loans::Loans;
pub use object::{Handle, Object, View};
pub use raw_lock::{Acquired, Liveness, NotAcquired, RawLock};
pub use stamp::Stamp;
pub use usage::Usage;
