//! The owner's side of a pool: assigns tasks to workers, reads replies, replaces dead workers.

pub(crate) mod function_names;
pub(crate) mod prefetch;
pub(crate) mod priority_queue;
pub(crate) mod tally;
pub(crate) mod turn_lines;
pub(crate) mod worker_slot;

pub(crate) mod cancel;
pub(crate) mod core;
pub(crate) mod scheduler;
pub(crate) mod supervisor;
pub(crate) mod turns;

pub(crate) mod overview;

pub(crate) mod restart_budget;

pub(crate) mod background;
pub(crate) mod event_loop;
pub(crate) mod feed;
pub(crate) mod leadership;
pub(crate) mod pool;
pub(crate) mod watch;
