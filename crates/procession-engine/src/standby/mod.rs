//! Spares: processes that were started ahead and wait for a launch spec. The fork server
//! forks them, or the process that will use them boots fresh images.
//!
//! `README.md` in this folder describes the protocol.

use std::time::Duration;

mod availability;
mod slot;

pub mod claim;
mod interrupts;
mod parent_exit;
pub mod prebooted;
mod table;
mod working_set;

mod adopted;
pub mod client;
pub mod join;
pub mod server;

pub use adopted::{Adopted, WorkingSetLearner};
pub use claim::{Claim, Spare};
pub use client::ForkServer;
pub use join::{Joined, join};
pub use prebooted::spawn_ahead;
pub use server::Server;

pub(crate) use table::StandbyTable;

/// How long a killed process may take to end.
const KILL_TIME: Duration = Duration::from_secs(2);
