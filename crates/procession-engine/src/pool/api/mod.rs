//! What a face tells a pool and is told by it: tasks, outcomes, limits, and how workers are started.

pub(crate) mod limits;
pub(crate) mod outcome;
pub(crate) mod pool_end;
pub(crate) mod result_stream;
pub(crate) mod source;
pub(crate) mod starter;
pub(crate) mod stats;
pub(crate) mod task;
