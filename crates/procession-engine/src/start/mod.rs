//! Starting processes: by a fork, a fresh image, or a server that forks.
//!
//! What every way hands over is one [`Orders`]; what the new process finds is
//! one [`Received`]. The faces decide what the payload means, and which
//! program is a fresh image of themselves.

pub mod orders;

pub mod introduction;
pub mod join;

pub mod fork;
pub mod spawn;

mod slot;

pub use fork::{Forked, PreparedFork, fork_with};
pub use join::{Joined, join};
pub use orders::{Orders, Received};
pub use spawn::{Program, spawn};
