//! State of this process that stays sound when any of its threads forks.

pub mod atfork;
pub mod mutex;
pub mod once;
