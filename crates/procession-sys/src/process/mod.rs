//! Processes: starting them, watching them, and ending with a parent.

pub mod at_exit;
pub mod crash_stack;
pub mod exit_status;
pub mod liveness;
pub mod pidfd;

pub mod fork;
pub mod guardian;
pub mod image;
pub mod spawn;

pub mod lifeline;
pub mod parent_exit;
