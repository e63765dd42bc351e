//! Locks, semaphores, conditions, events and barriers across real forks and kills.

#[path = "../family/mod.rs"]
mod family;

mod awaited;
mod barrier;
mod condition;
mod event;
mod lock;
mod rlock;
mod semaphore;
