//! The answer of a task on its way back.

use std::time::Duration;

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Answer {
    /// Its function has returned or panicked: the bytes say which.
    Done(Vec<u8>),
    /// Its worker died.
    Died {
        /// The worker's process id on its node.
        pid: u32,
        /// Its exit code, negative for a signal, if known.
        code: Option<i32>,
        /// How many workers have died in the task.
        deaths: u32,
        /// The worker's limit of memory in bytes, if it died of that.
        memory_limit: Option<u64>,
    },
    /// It took too long, and was killed.
    TimedOut {
        /// The worker's process id on its node.
        pid: u32,
        /// How long it might take.
        limit: Duration,
    },
    /// It was cancelled.
    Cancelled,
    /// It never ran, or nobody can tell: the text says why.
    Failed(String),
    /// Its node is gone. The task may have run.
    NodeLost {
        /// How many nodes were lost while they had the task.
        losses: u32,
    },
}
