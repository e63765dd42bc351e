//! What the client's thread is told.

use std::sync::mpsc::SyncSender;

use procession::Result;
use procession::distributed::{Answers, NodeInfo, RunningTasks, TaskEnvelope};

/// From the engine to its thread; who asks waits for the reply.
pub enum Command {
    Open(Answers, SyncSender<Result<()>>),
    Ship(TaskEnvelope),
    Cancel(Vec<u64>, RunningTasks),
    Nodes(SyncSender<Result<Vec<NodeInfo>>>),
    Close,
}
