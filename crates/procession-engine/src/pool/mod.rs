//! Pools of worker processes, each with a channel of its own.
//!
//! `README.md` beside this file describes the protocol. In reading order: the
//! shared memory, the worker's side, the owner's side.

pub mod shm;

mod worker;

mod api;

mod owner;

pub use api::limits::{SetupLimit, WorkerLimits};
pub use api::outcome::{Death, Ending, Outcome, Overrun, ResultBytes, Sink};
pub use api::pool_end::{PoolEnd, SetupOverrun};
pub use api::result_stream::{Fetched, ResultOrder, ResultStream, StreamLimits};
pub use api::source::{Source, SourceStatus};
pub use api::starter::{WorkerProcess, WorkerSpec, WorkerStarter};
pub use api::stats::{CallTimes, FunctionStats, PoolStats, WorkStats, WorkerStats};
pub use api::task::{Job, Task, TaskBytes, TaskPolicy, TimeLimit, Turn};
pub use owner::cancel::RunningTasks;
pub use owner::feed::{AfterPut, CutOff, EmptyFeed, FedCall, Feed};
pub use owner::pool::{Config, Pool, WorkerView};
pub use owner::restart_budget::Restarts;
#[cfg(not(loom))]
pub(crate) use shm::summary::SummaryLayout;
pub(crate) use shm::worker_channel::ChannelHeader;
pub use worker::{TakenTask, Worker};
