//! One shared memory file per family, its members, and the objects in it.
//!
//! `README.md` beside this file describes how the memory stays sound when a member is
//! killed at any instruction. In reading order: the robust lock, the
//! allocators, the members, the objects, and objects inside messages.

pub mod lock;

pub mod alloc;
pub mod member;

pub mod object;
pub mod transfer;

pub mod family;

pub use alloc::block::Block;
pub use alloc::usage::Usage;
pub use family::Family;
pub use lock::raw_lock::{Acquired, Liveness, NotAcquired, RawLock};
pub use member::stamp::Stamp;
pub use object::body::{BodyView, SharedBody, SharedObject};
pub use object::hooks::{ForkHooks, Hooks, ObjectKind, Schema};
pub use object::linked_pages::{LinkedPages, SharedPage};
pub use object::shared::{Handle, Object, View};
pub use transfer::context::TransferContext;
pub use transfer::loans::{HandleSource, Loans};
