//! Waiting and waking: deadlines, futexes, descriptors that become ready, and how long to spin first.

pub mod time;
pub mod wait_slices;

pub mod adaptive_spin;
pub mod futex;
pub mod signal;

pub mod poll;

pub mod doorbell;
pub mod epoll;
pub mod flag;
