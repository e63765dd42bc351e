//! Starting one process, by a fork or a fresh image.
//!
//! All start methods hand over a [`LaunchSpec`], and the new process gets an
//! [`Inherited`]. The faces decide what the payload means, and which
//! program is a fresh image of themselves. [`standby`](crate::standby) has
//! processes that were started ahead.

pub mod spec;

pub(crate) mod boot;
pub mod bootstrap;

pub mod fork;
pub mod spawn;

pub(crate) mod reservation;
pub(crate) mod surplus;

pub use boot::booted;
pub use fork::{Forked, PreparedFork, fork_with};
pub use spawn::{Program, Starter, spawn, spawn_by};
pub use spec::{Inherited, LaunchSpec};
pub use surplus::in_room;
