//! Locks, semaphores, conditions, events and barriers across real forks and kills.

#[path = "family/mod.rs"]
mod family;

#[path = "sync/event.rs"]
mod event;
#[path = "sync/lock.rs"]
mod lock;
#[path = "sync/rlock.rs"]
mod rlock;
#[path = "sync/semaphore.rs"]
mod semaphore;
