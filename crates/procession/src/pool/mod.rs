//! Pools of worker processes.
//!
//! In reading order, which is that of the methods on the page of `Pool`, too: how a pool is
//! described, the pool, its worker side, what collects results, the tasks of a call, the ways to
//! call, and the two ways to get results other than at once.

mod builder;
#[expect(clippy::module_inception, reason = "the module's one public noun")]
mod pool;

mod known_jobs;
#[cfg(feature = "seccomp")]
mod syscall_filter;
mod worker;

mod call;
mod carrier;
mod core;
mod tasks;
mod terms;

mod calls;

mod async_result;
mod imap;
#[cfg(feature = "async")]
mod imap_stream;
mod par_processes;
mod result_future;
mod stats;

pub use async_result::AsyncResult;
pub use builder::PoolBuilder;
pub(crate) use call::{Token, why_ended};
pub use calls::Calls;
pub use imap::Imap;
#[cfg(feature = "async")]
pub use imap_stream::ImapStream;
pub(crate) use known_jobs::Prologue;
pub use par_processes::{IntoParProcesses, ParProcesses};
pub use pool::{Pool, WorkerInfo};
pub use result_future::ResultFuture;
pub use stats::{FunctionStats, PoolStats, WorkStats, WorkerStats};
#[cfg(any(test, fuzzing))]
pub(crate) use worker::Setup;
pub(crate) use worker::work;
