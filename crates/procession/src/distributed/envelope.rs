//! A task on its way to a node, and what a cancel does with it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use procession_engine::pool;

/// A task on its way to a node.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct TaskEnvelope {
    /// Tells it from all other tasks of its pool.
    pub id: u64,
    /// The name of its function, for people.
    pub function: String,
    /// The build of the program that a node has to run
    /// ([`NodeInfo::build`](crate::distributed::NodeInfo::build)); `None` if the function has a name,
    /// by which nodes of any build find it.
    pub build: Option<u64>,
    /// The bytes that it has in common with other tasks of its call: which function is called, and
    /// the context of [`map_with`](crate::Pool::map_with).
    pub job: Arc<[u8]>,
    /// The bytes of its arguments.
    pub input: Vec<u8>,
    /// How long it may run.
    pub timeout: Option<Duration>,
    /// How often it may be run again after its worker, or its node, has died in it.
    pub retries: u32,
    /// Which tasks it goes before.
    pub priority: i32,
}

/// What a cancel does with tasks that run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum RunningTasks {
    /// They go on.
    Spared,
    /// They are killed, with their workers.
    Killed,
}

impl fmt::Debug for TaskEnvelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskEnvelope")
            .field("id", &self.id)
            .field("function", &self.function)
            .field("bytes", &self.input.len())
            .finish_non_exhaustive()
    }
}

impl From<pool::RunningTasks> for RunningTasks {
    fn from(running: pool::RunningTasks) -> Self {
        match running {
            pool::RunningTasks::Spared => Self::Spared,
            pool::RunningTasks::Killed => Self::Killed,
        }
    }
}

impl From<RunningTasks> for pool::RunningTasks {
    fn from(running: RunningTasks) -> Self {
        match running {
            RunningTasks::Spared => Self::Spared,
            RunningTasks::Killed => Self::Killed,
        }
    }
}
