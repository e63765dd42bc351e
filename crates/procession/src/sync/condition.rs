//! Waiting for something that a lock guards to change.

use std::time::Duration;

use procession_engine::arena::Handle;
use procession_engine::os::time::Deadline;
use procession_engine::sync as engine;

use crate::error::Result;
use crate::handle::travels;
use crate::sync::{LockGuard, uninterrupted};

/// A line of processes that wait until somebody says that something changed.
///
/// Use it with one [`Lock`](crate::Lock), which guards what may change. There
/// are no wake-ups without a notification, and a process that dies in the line
/// uses none up.
///
/// # Examples
///
/// ```
/// use procession::{Condition, Lock, Process, Shared};
///
/// fn count_down(lock: Lock, changed: Condition, left: Shared<u32>) {
///     let _guard = lock.lock().unwrap();
///     left.update(|left| *left -= 1).unwrap();
///     changed.notify_all().unwrap();
/// }
///
/// # procession::init();
/// let (lock, changed, left) = (Lock::new()?, Condition::new()?, Shared::new(1)?);
/// let arguments = (lock.clone(), changed.clone(), left.clone());
/// let mut guard = lock.lock()?;
/// let child = Process::new(count_down).args(arguments).start()?;
/// while left.get()? != 0 {
///     guard = changed.wait(guard)?;
/// }
/// drop(guard);
/// child.join()?;
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Condition(engine::Condition);

impl Condition {
    /// Makes a condition that nobody waits for.
    ///
    /// # Errors
    /// When memory is exhausted.
    pub fn new() -> Result<Self> {
        Ok(Self(engine::Condition::create()?))
    }

    /// Frees the lock, blocks until notified, and takes the lock again.
    ///
    /// # Errors
    /// `is_owner_died` when the lock's holder died meanwhile: the lock is then
    /// not held.
    pub fn wait<'a>(&self, guard: LockGuard<'a>) -> Result<LockGuard<'a>> {
        self.wait_until(guard, Deadline::NEVER)
            .map(|(guard, _)| guard)
    }

    /// As [`wait`](Self::wait), for at most `timeout`; also tells whether it
    /// was notified.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_timeout<'a>(
        &self,
        guard: LockGuard<'a>,
        timeout: Duration,
    ) -> Result<(LockGuard<'a>, bool)> {
        self.wait_until(guard, Deadline::after(timeout))
    }

    fn wait_until<'a>(
        &self,
        guard: LockGuard<'a>,
        deadline: Deadline,
    ) -> Result<(LockGuard<'a>, bool)> {
        let mut waiter = self.0.enlist()?;
        let lock = guard.0;
        drop(guard);
        let notified = uninterrupted(|| waiter.wait(deadline));
        drop(waiter);
        let guard = lock.lock()?;
        Ok((guard, notified?))
    }

    /// Wakes the one that has waited longest. Hold the lock when you call it.
    ///
    /// # Errors
    /// When this process belongs to no family.
    pub fn notify_one(&self) -> Result<()> {
        self.notify(1).map(drop)
    }

    /// Wakes those `most` that have waited longest; returns how many there
    /// were. Hold the lock when you call it.
    ///
    /// # Errors
    /// When this process belongs to no family.
    pub fn notify(&self, most: usize) -> Result<usize> {
        Ok(self.0.notify(most)?)
    }

    /// Wakes all that wait. Hold the lock when you call it.
    ///
    /// # Errors
    /// When this process belongs to no family.
    pub fn notify_all(&self) -> Result<()> {
        self.0.notify_all()?;
        Ok(())
    }

    fn lend(&self) -> Handle {
        self.0.lend()
    }

    fn attach(handle: Handle) -> procession_engine::Result<Self> {
        engine::Condition::attach(handle).map(Self)
    }
}

travels!([] Condition);
