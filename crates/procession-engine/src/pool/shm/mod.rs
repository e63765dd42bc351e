//! The memory that a pool shares with one worker: two rings, and the words that synchronize them.

pub mod reply_queue;
pub mod ring;
pub mod task_queue;

pub(crate) mod label_log;
pub(crate) mod record;
pub(crate) mod summary;
pub(crate) mod task_clock;
pub(crate) mod worker_channel;
