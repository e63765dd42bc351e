//! Pools on other machines: what an engine needs that carries their tasks.
//!
//! A program makes a [`Pool`](crate::Pool) by [`Pool::on`](crate::Pool::on) with an [`Engine`], and
//! calls functions as on any pool. On the nodes the same build of the program runs, each as a
//! [`Node`]; a function crosses as the address of its wrapper in the program, so every function
//! and closure that a local pool takes can be called there, and none need be registered. A function
//! with `#[procession::task]` (feature `tasks`) has a name besides, by which nodes of another build of
//! the program find it.
//!
//! Arguments and results are copies. What lies in the memory of one machine (queues, locks,
//! `Shared` values) is refused where the call is made.

mod answer;
mod engine;
mod envelope;
mod node;
mod node_info;
mod outstanding;
#[cfg(feature = "tasks")]
mod registered;
mod remote_pool;

pub use answer::Answer;
pub use engine::{Answers, Engine};
pub use envelope::{RunningTasks, TaskEnvelope};
pub use node::Node;
pub use node_info::NodeInfo;
#[cfg(feature = "tasks")]
pub use registered::RegisteredTask;
#[cfg(feature = "tasks")]
pub(crate) use registered::{TaskName, name_of};
pub(crate) use remote_pool::{RemoteFeed, RemotePool, unsupported};

use crate::error::Error;

/// Makes the error of an engine that cannot carry: it answers
/// [`is_unavailable`](Error::is_unavailable). The text says who is not there, and what to do.
///
/// # Examples
///
/// ```
/// let error = procession::distributed::unavailable("no server at nats://hub:4222: start one");
/// assert!(error.is_unavailable());
/// ```
#[must_use]
pub fn unavailable(message: impl Into<String>) -> Error {
    Error::unavailable(message)
}

/// Makes the error of an engine that was given a wrong address or option: it answers
/// [`is_invalid`](Error::is_invalid).
///
/// # Examples
///
/// ```
/// let error = procession::distributed::invalid("the address has no host: write nats://HOST");
/// assert!(error.is_invalid());
/// ```
#[must_use]
pub fn invalid(message: impl Into<String>) -> Error {
    Error::invalid(message)
}

/// Makes the error of an engine that was closed: it answers [`is_closed`](Error::is_closed).
///
/// # Examples
///
/// ```
/// assert!(procession::distributed::closed("the engine was closed").is_closed());
/// ```
#[must_use]
pub fn closed(message: impl Into<String>) -> Error {
    Error::closed(message)
}
