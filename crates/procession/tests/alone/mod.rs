//! Lets tests of a program that count what the whole process or family has run one at a
//! time.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Waits until no other test holds what this returns.
#[must_use = "others run as soon as it is dropped"]
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
