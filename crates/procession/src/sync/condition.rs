//! Waiting for something that a lock guards to change.

#[cfg(feature = "async")]
use std::sync::Arc;
use std::time::Duration;

use procession_engine::sync as engine;
use procession_engine::sys::wait::time::Deadline;

#[cfg(feature = "async")]
use crate::awaiting::Awaited;
use crate::error::Result;
use crate::sync::{Lock, LockGuard, RLock, RLockGuard, crosses, uninterrupted};

/// A line of processes that wait until somebody says that something changed.
///
/// Use it with one [`Lock`](crate::Lock) or [`RLock`](crate::RLock), which
/// guards what may change. There are no wake-ups without a notification, and a
/// process that dies in the line uses none up.
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
/// let guard = lock.lock()?;
/// let child = Process::new(count_down).args(arguments).start()?;
/// let guard = changed.wait_while(guard, || left.get().is_ok_and(|left| left > 0))?;
/// drop(guard);
/// child.join()?;
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Condition(
    engine::Condition,
    /// The descriptor by which tasks wait.
    #[cfg(feature = "async")]
    Arc<Awaited>,
);

impl Condition {
    /// Makes a condition that nobody waits for.
    ///
    /// # Errors
    /// When memory is exhausted.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Condition, Lock};
    /// let (lock, changed) = (Lock::new()?, Condition::new()?);
    /// let _guard = lock.lock()?;
    /// assert_eq!(changed.notify(1)?, 0);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn new() -> Result<Self> {
        Ok(Self::of(engine::Condition::create()?))
    }

    /// Frees the lock, blocks until notified, and takes the lock again.
    ///
    /// A re-entrant lock is freed however often this thread has taken it, and
    /// taken again as often.
    ///
    /// # Errors
    /// `is_owner_died` when the lock's holder died meanwhile: the lock is then
    /// not held.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Condition, Lock, Process};
    /// # procession::init();
    /// let (lock, changed) = (Lock::new()?, Condition::new()?);
    /// // The child gets the lock when this process has begun to wait.
    /// let guard = lock.lock()?;
    /// let tell = |lock: Lock, changed: Condition| {
    ///     let _guard = lock.lock().unwrap();
    ///     changed.notify_one().unwrap();
    /// };
    /// let child = Process::new(tell).args((lock.clone(), changed.clone())).start()?;
    /// let guard = changed.wait(guard)?;
    /// assert!(lock.is_locked());
    /// drop(guard);
    /// child.join()?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn wait<G: Guard>(&self, guard: G) -> Result<G> {
        self.wait_until(guard, Deadline::NEVER)
            .map(|(guard, _)| guard)
    }

    /// Waits as long as `condition` is true, which it is asked while the lock
    /// is held: first of all, and after each notification.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Condition, Process, RLock, Shared};
    /// # procession::init();
    /// let (lock, changed, ready) = (RLock::new()?, Condition::new()?, Shared::new(0_u8)?);
    /// let tell = |lock: RLock, changed: Condition, ready: Shared<u8>| {
    ///     let _guard = lock.lock().unwrap();
    ///     ready.set(1).unwrap();
    ///     changed.notify_all().unwrap();
    /// };
    /// let arguments = (lock.clone(), changed.clone(), ready.clone());
    /// Process::new(tell).args(arguments).start()?;
    /// let guard = changed.wait_while(lock.lock()?, || ready.get().is_ok_and(|n| n == 0))?;
    /// assert_eq!(ready.get()?, 1);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn wait_while<G: Guard>(
        &self,
        mut guard: G,
        mut condition: impl FnMut() -> bool,
    ) -> Result<G> {
        while condition() {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// As [`wait`](Self::wait), for at most `timeout`; also tells whether it
    /// was notified.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use procession::{Condition, Lock};
    /// let (lock, changed) = (Lock::new()?, Condition::new()?);
    /// let (guard, notified) = changed.wait_timeout(lock.lock()?, Duration::from_millis(1))?;
    /// assert!(!notified && lock.is_locked());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn wait_timeout<G: Guard>(&self, guard: G, timeout: Duration) -> Result<(G, bool)> {
        self.wait_until(guard, Deadline::after(timeout))
    }

    fn wait_until<G: Guard>(&self, guard: G, deadline: Deadline) -> Result<(G, bool)> {
        let mut waiter = self.0.enlist()?;
        let freed = guard.free();
        let notified = uninterrupted(|| waiter.wait(deadline));
        drop(waiter);
        let guard = G::take_again(freed)?;
        Ok((guard, notified?))
    }

    /// Wakes the one that has waited longest. Hold the lock when you call it.
    ///
    /// # Errors
    /// When this process belongs to no family.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::thread;
    /// # use procession::{Condition, Lock};
    /// let (lock, changed) = (Lock::new()?, Condition::new()?);
    /// let guard = lock.lock()?;
    /// thread::scope(|scope| {
    ///     let teller = scope.spawn(|| {
    ///         let _guard = lock.lock()?;
    ///         changed.notify_one()
    ///     });
    ///     drop(changed.wait(guard)?);
    ///     teller.join().unwrap()
    /// })?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn notify_one(&self) -> Result<()> {
        self.notify(1).map(drop)
    }

    /// Wakes those `most` that have waited longest; returns how many there
    /// were. Hold the lock when you call it.
    ///
    /// # Errors
    /// When this process belongs to no family.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Condition;
    /// let changed = Condition::new()?;
    /// assert_eq!(changed.notify(5)?, 0);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn notify(&self, most: usize) -> Result<usize> {
        Ok(self.0.notify(most)?)
    }

    /// Wakes all that wait. Hold the lock when you call it.
    ///
    /// # Errors
    /// When this process belongs to no family.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Condition, Lock};
    /// let (lock, changed) = (Lock::new()?, Condition::new()?);
    /// let _guard = lock.lock()?;
    /// changed.notify_all()?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn notify_all(&self) -> Result<()> {
        self.0.notify_all()?;
        Ok(())
    }
}

/// For tasks of an executor: no thread waits. With the feature `async`.
#[cfg(feature = "async")]
impl Condition {
    /// As [`wait`](Self::wait), awaited, with the guard of a [`Lock`](crate::Lock). A future that is
    /// dropped leaves the line and the lock.
    ///
    /// (An [`RLock`](crate::RLock) belongs to a thread, which tasks change.)
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Condition, Lock, Process, Shared};
    /// # procession::init();
    /// # futures_lite::future::block_on(async {
    /// let (lock, changed, ready) = (Lock::new()?, Condition::new()?, Shared::new(0_u8)?);
    /// let tell = |lock: Lock, changed: Condition, ready: Shared<u8>| {
    ///     let _guard = lock.lock().unwrap();
    ///     ready.set(1).unwrap();
    ///     changed.notify_all().unwrap();
    /// };
    /// let arguments = (lock.clone(), changed.clone(), ready.clone());
    /// let child = Process::new(tell).args(arguments).start()?;
    /// let mut guard = lock.lock_async().await?;
    /// while ready.get()? == 0 {
    ///     guard = changed.wait_async(guard).await?;
    /// }
    /// drop(guard);
    /// child.await?;
    /// # Ok::<(), procession::Error>(())
    /// # })?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub async fn wait_async<'a>(&self, guard: LockGuard<'a>) -> Result<LockGuard<'a>> {
        let mut waiter = self.0.enlist()?;
        let lock = guard.free();
        while !waiter.try_wait() {
            let (make, arm) = (|| self.0.await_fd(), |fd: &_| waiter.arm(fd));
            self.1.change(make, arm).await?;
        }
        lock.lock_async().await
    }

    /// As [`wait_while`](Self::wait_while), awaited; see [`wait_async`](Self::wait_async).
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Condition, Lock, Process, Shared};
    /// # procession::init();
    /// # futures_lite::future::block_on(async {
    /// let (lock, changed, ready) = (Lock::new()?, Condition::new()?, Shared::new(0_u8)?);
    /// let tell = |lock: Lock, changed: Condition, ready: Shared<u8>| {
    ///     let _guard = lock.lock().unwrap();
    ///     ready.set(1).unwrap();
    ///     changed.notify_all().unwrap();
    /// };
    /// let arguments = (lock.clone(), changed.clone(), ready.clone());
    /// let child = Process::new(tell).args(arguments).start()?;
    /// let is_early = || ready.get().is_ok_and(|ready| ready == 0);
    /// let guard = changed.wait_while_async(lock.lock_async().await?, is_early).await?;
    /// assert_eq!(ready.get()?, 1);
    /// drop(guard);
    /// child.await?;
    /// # Ok::<(), procession::Error>(())
    /// # })?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub async fn wait_while_async<'a>(
        &self,
        mut guard: LockGuard<'a>,
        mut condition: impl FnMut() -> bool,
    ) -> Result<LockGuard<'a>> {
        while condition() {
            guard = self.wait_async(guard).await?;
        }
        Ok(guard)
    }
}

crosses!(Condition, Arc::default());

/// Holds a lock that a [`Condition`] can free for the time it waits: the guard
/// of a [`Lock`](crate::Lock) or of an [`RLock`](crate::RLock).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use procession::{Condition, Guard, Lock, RLock, Result};
///
/// /// Waits with whichever lock it is.
/// fn nap<G: Guard>(changed: &Condition, guard: G) -> Result<G> {
///     let (guard, _notified) = changed.wait_timeout(guard, Duration::from_millis(1))?;
///     Ok(guard)
/// }
///
/// let (lock, again, changed) = (Lock::new()?, RLock::new()?, Condition::new()?);
/// let (_guard, _other) = (nap(&changed, lock.lock()?)?, nap(&changed, again.lock()?)?);
/// assert!(lock.is_locked() && again.is_locked());
/// # Ok::<(), procession::Error>(())
/// ```
pub trait Guard: Sized {
    /// What is needed to take the lock again.
    #[doc(hidden)]
    type Freed;

    /// Frees the lock.
    #[doc(hidden)]
    fn free(self) -> Self::Freed;

    /// Takes the lock as it was held before.
    #[doc(hidden)]
    fn take_again(freed: Self::Freed) -> Result<Self>;
}

impl<'a> Guard for LockGuard<'a> {
    type Freed = &'a Lock;

    fn free(self) -> &'a Lock {
        self.0
    }

    fn take_again(lock: &'a Lock) -> Result<Self> {
        lock.lock()
    }
}

impl<'a> Guard for RLockGuard<'a> {
    type Freed = (&'a RLock, u32);

    fn free(self) -> (&'a RLock, u32) {
        let lock = self.lock();
        // Dropping this guard frees it once.
        let outer = lock.0.count().saturating_sub(1);
        for _ in 0..outer {
            // Fails only for a lock that is not held this often.
            let _ = lock.release();
        }
        (lock, outer)
    }

    fn take_again((lock, outer): (&'a RLock, u32)) -> Result<Self> {
        let guard = lock.lock()?;
        for _ in 0..outer {
            lock.acquire()?;
        }
        Ok(guard)
    }
}
