//! Starting processes: by a fork, a fresh image, or a server that forks.
//!
//! What every way hands over is one [`Orders`]; what the new process finds is
//! one [`Received`]. The faces decide what the payload means, and which
//! program is a fresh image of themselves. README.md in this folder tells how
//! processes that were started ahead are handed their orders.

use crate::arena::Hooks;
use crate::arena::hooks::NOTHING;

pub mod orders;

pub mod introduction;
pub mod join;

pub mod fork;
pub mod spawn;

mod slot;

mod cell;
mod supply;

mod cells;
mod orphan;
pub mod spares;
pub mod spawn_spares;

pub mod forkserver;
pub mod server;
mod unseen;

pub use fork::{Forked, PreparedFork, fork_with};
pub use forkserver::ForkServer;
pub use join::{Joined, booted, join};
pub use orders::{Orders, Received};
pub use server::Server;
pub use spares::{Claim, Spare};
pub use spawn::{Program, spawn};
pub use spawn_spares::spawn_ahead;

/// Tells the arena what becomes of spares when a member dies.
pub(crate) const SPARES_HOOKS: Hooks = Hooks {
    on_death: cells::on_death,
    ..NOTHING
};
