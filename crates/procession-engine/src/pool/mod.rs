//! Pools of worker processes, each with a lane of its own.
//!
//! `README.md` beside this file tells the protocol. In reading order: the
//! shared memory, the worker's side, the owner's side.

pub mod reply_words;
pub mod ring;
pub mod window;

mod lane;
mod record;
mod since;

mod pace;

mod bounds;
mod worker;

mod outcome;
mod starter;
mod task;

mod seat;

mod cancel;
mod dispatch;
mod supervise;

mod budget;

mod collector;
mod drive;
mod lead;
#[expect(clippy::module_inception, reason = "the module's one public noun")]
mod pool;

pub use bounds::Bounds;
pub use budget::Restarts;
pub use cancel::Running;
#[cfg(not(loom))]
pub(crate) use lane::HOOKS;
pub use outcome::{Body, Death, Ending, Outcome, Overrun, PoolEnd, Sink};
pub use pool::{Config, Pool, WorkerView};
pub use starter::{Opening, WorkerProcess, WorkerStarter};
pub use task::{Job, Payload, Source, Supply, Task, Terms};
pub use worker::{Taken, Worker};
