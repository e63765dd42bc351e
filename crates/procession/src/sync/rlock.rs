//! A lock that its holder may take again.

use std::marker::PhantomData;
use std::time::Duration;

use procession_engine::sync as engine;
use procession_engine::sys::wait::time::Deadline;

use crate::error::Result;
use crate::sync::{crosses, in_time, uninterrupted};

/// Lets one thread of one process at a time in, as often as it likes.
///
/// # Examples
///
/// ```
/// use procession::RLock;
///
/// let lock = RLock::new()?;
/// let outer = lock.lock()?;
/// let inner = lock.lock()?;
/// drop(inner);
/// assert!(lock.is_locked());
/// drop(outer);
/// assert!(!lock.is_locked());
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct RLock(pub(crate) engine::RLock);

impl RLock {
    /// Makes a free lock.
    ///
    /// # Errors
    /// When memory is exhausted.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::RLock;
    /// assert!(!RLock::new()?.is_locked());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn new() -> Result<Self> {
        Ok(Self::of(engine::RLock::create()?))
    }

    /// Blocks until the lock is free, and holds it until the guard is dropped.
    ///
    /// # Errors
    /// `is_owner_died` in one waiter when the holder died: what the lock
    /// guards may be half changed. The lock is free again after that error.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Process, RLock};
    /// # procession::init();
    /// let lock = RLock::new()?;
    /// let guard = lock.lock()?;
    /// let is_free = |lock: RLock| lock.try_lock().map(|guard| guard.is_some()).ok();
    /// let child = Process::new(is_free).args(lock.clone()).start()?;
    /// assert_eq!(child.join()?, Some(false));
    /// drop(guard);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn lock(&self) -> Result<RLockGuard<'_>> {
        self.acquire()?;
        Ok(RLockGuard(self, PhantomData))
    }

    /// As [`lock`](Self::lock), for at most `timeout`.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use procession::RLock;
    /// let lock = RLock::new()?;
    /// let guard = lock.lock_timeout(Duration::from_secs(60))?;
    /// assert!(guard.is_some() && lock.is_locked());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<RLockGuard<'_>>> {
        let got = in_time(timeout, |deadline| self.0.acquire(deadline))?;
        Ok(got.then(|| RLockGuard(self, PhantomData)))
    }

    /// Takes the lock if it is free now.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::RLock;
    /// let lock = RLock::new()?;
    /// let outer = lock.try_lock()?.expect("it is free");
    /// let inner = lock.try_lock()?.expect("it is this thread's");
    /// assert!(lock.is_locked());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn try_lock(&self) -> Result<Option<RLockGuard<'_>>> {
        Ok(self.0.try_acquire()?.then(|| RLockGuard(self, PhantomData)))
    }

    /// Takes the lock without a guard: this thread is to
    /// [`release`](Self::release) it as often.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::RLock;
    /// let lock = RLock::new()?;
    /// lock.acquire()?;
    /// lock.acquire()?;
    /// lock.release()?;
    /// assert!(lock.is_locked());
    /// lock.release()?;
    /// assert!(!lock.is_locked());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn acquire(&self) -> Result<()> {
        uninterrupted(|| self.0.acquire(Deadline::NEVER))
    }

    /// Undoes one [`acquire`](Self::acquire).
    ///
    /// # Errors
    /// `is_not_owner` when this thread does not hold it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::RLock;
    /// let lock = RLock::new()?;
    /// lock.acquire()?;
    /// lock.release()?;
    /// assert!(lock.release().unwrap_err().is_not_owner());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn release(&self) -> Result<()> {
        Ok(self.0.release()?)
    }

    /// Tells whether somebody holds the lock now.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::RLock;
    /// let lock = RLock::new()?;
    /// assert!(!lock.is_locked());
    /// let _guard = lock.lock()?;
    /// assert!(lock.is_locked());
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.0.is_locked()
    }
}

crosses!(RLock);

/// Holds a [`RLock`] until dropped.
///
/// # Examples
///
/// ```
/// use procession::{RLock, RLockGuard, Result};
///
/// fn enter(lock: &RLock) -> Result<RLockGuard<'_>> {
///     lock.lock()
/// }
///
/// let lock = RLock::new()?;
/// let (outer, inner) = (enter(&lock)?, enter(&lock)?);
/// drop(inner);
/// assert!(lock.is_locked());
/// drop(outer);
/// assert!(!lock.is_locked());
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "the lock is free again as soon as the guard is dropped"]
pub struct RLockGuard<'a>(&'a RLock, PhantomData<*const ()>);

impl<'a> RLockGuard<'a> {
    pub(crate) fn lock(&self) -> &'a RLock {
        self.0
    }
}

impl Drop for RLockGuard<'_> {
    fn drop(&mut self) {
        // Fails only in a thread that does not hold the lock, and such a thread has no guard.
        let _ = self.0.release();
    }
}
