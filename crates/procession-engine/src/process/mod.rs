//! Processes of the family as others see them, and as they see themselves.
//!
//! A [`Child`] is what the process that asked for another holds of it; how it
//! was started is the business of [`launch`](crate::launch). [`current`] is the other
//! side: what a process knows of itself and of its parent.

pub mod child;
pub mod state;

pub mod current;

pub mod payload;

pub(crate) mod detached;
pub(crate) mod reap;
mod tree;

pub use child::Child;
pub use current::CurrentProcess;
pub use payload::Payload;
pub use state::State;

pub(crate) use detached::sweep;
pub use procession_sys::process::exit_status::ExitStatus;
