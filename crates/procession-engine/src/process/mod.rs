//! Processes of the family as others see them, and as they see themselves.
//!
//! A [`Child`] is what the process that asked for another holds of it; how it
//! was started is the business of [`start`](crate::start). [`me`] is the other
//! side: what a process knows of itself and of its parent.

pub mod child;
pub mod state;

pub mod me;

pub mod payload;

mod detached;
mod tree;

pub use child::Child;
pub use me::Me;
pub use payload::Payload;
pub use state::State;

pub use crate::os::exit_status::ExitStatus;
pub(crate) use detached::sweep;
