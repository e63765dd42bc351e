//! A lock between processes.

#[cfg(feature = "async")]
use std::sync::Arc;
use std::time::Duration;

use procession_engine::sync as engine;
use procession_engine::sys::wait::time::Deadline;

#[cfg(feature = "async")]
use crate::awaiting::Awaited;
use crate::error::Result;
use crate::sync::{crosses, in_time, uninterrupted};

/// Lets one process at a time in.
///
/// # Examples
///
/// ```
/// use procession::{Lock, Process};
///
/// # procession::init();
/// let lock = Lock::new()?;
/// let guard = lock.lock()?;
/// let child = Process::new(|lock: Lock| lock.try_lock().map(|got| got.is_some()).ok())
///     .args(lock.clone())
///     .start()?;
/// assert_eq!(child.join()?, Some(false));
/// drop(guard);
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Lock(
    pub(crate) engine::Lock,
    /// The descriptor by which tasks wait.
    #[cfg(feature = "async")]
    Arc<Awaited>,
);

impl Lock {
    /// Makes a free lock.
    ///
    /// # Errors
    /// When memory is exhausted.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Lock;
    /// assert!(!Lock::new()?.is_locked());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn new() -> Result<Self> {
        Ok(Self::of(engine::Lock::create()?))
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
    /// # use procession::Lock;
    /// let lock = Lock::new()?;
    /// let guard = lock.lock()?;
    /// assert!(lock.try_lock()?.is_none());
    /// drop(guard);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn lock(&self) -> Result<LockGuard<'_>> {
        self.acquire()?;
        Ok(LockGuard(self))
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
    /// # use procession::Lock;
    /// let lock = Lock::new()?;
    /// let guard = lock.lock_timeout(Duration::from_secs(60))?;
    /// assert!(guard.is_some() && lock.is_locked());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<LockGuard<'_>>> {
        let got = in_time(timeout, |deadline| self.0.acquire(deadline))?;
        Ok(got.then(|| LockGuard(self)))
    }

    /// Takes the lock if it is free now.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Lock;
    /// let lock = Lock::new()?;
    /// let guard = lock.try_lock()?.expect("it is free");
    /// assert!(lock.try_lock()?.is_none());
    /// drop(guard);
    /// assert!(lock.try_lock()?.is_some());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn try_lock(&self) -> Result<Option<LockGuard<'_>>> {
        Ok(self.0.try_acquire()?.then(|| LockGuard(self)))
    }

    /// Takes the lock without a guard: somebody, here or elsewhere, is to
    /// [`release`](Self::release) it.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Lock, Process};
    /// # procession::init();
    /// let lock = Lock::new()?;
    /// lock.acquire()?;
    /// // Another process may free it.
    /// Process::new(|lock: Lock| lock.release().is_ok()).args(lock.clone()).start()?.join()?;
    /// assert!(!lock.is_locked());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn acquire(&self) -> Result<()> {
        uninterrupted(|| self.0.acquire(Deadline::NEVER))
    }

    /// Frees the lock, whichever process took it.
    ///
    /// # Errors
    /// `is_invalid` when it is free.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Lock;
    /// let lock = Lock::new()?;
    /// lock.acquire()?;
    /// lock.release()?;
    /// assert!(lock.release().unwrap_err().is_invalid());
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
    /// # use procession::Lock;
    /// let lock = Lock::new()?;
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

/// For tasks of an executor: no thread waits. With the feature `async`.
#[cfg(feature = "async")]
impl Lock {
    /// As [`lock`](Self::lock), awaited. A future that is dropped has not taken the lock.
    ///
    /// The guard may be held across an `await`. Tasks exclude one another as processes do.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Lock;
    /// # futures_lite::future::block_on(async {
    /// let lock = Lock::new()?;
    /// let guard = lock.lock_async().await?;
    /// assert!(lock.is_locked());
    /// drop(guard);
    /// assert!(!lock.is_locked());
    /// # Ok::<(), procession::Error>(())
    /// # })?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub async fn lock_async(&self) -> Result<LockGuard<'_>> {
        let (make, arm) = (|| self.0.await_fd(), |fd: &_| self.0.arm(fd));
        self.1.try_until(|| self.try_lock(), make, arm).await
    }
}

crosses!(Lock, Arc::default());

/// Holds a [`Lock`] until dropped.
///
/// # Examples
///
/// ```
/// use procession::{Lock, LockGuard, Result};
///
/// fn enter(lock: &Lock) -> Result<LockGuard<'_>> {
///     let guard = lock.lock()?;
///     println!("nobody else is here");
///     Ok(guard)
/// }
///
/// let lock = Lock::new()?;
/// let guard = enter(&lock)?;
/// assert!(lock.is_locked());
/// drop(guard);
/// assert!(!lock.is_locked());
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "the lock is free again as soon as the guard is dropped"]
pub struct LockGuard<'a>(pub(crate) &'a Lock);

impl Drop for LockGuard<'_> {
    fn drop(&mut self) {
        // Fails only if another process has released the lock meanwhile, which is allowed.
        let _ = self.0.release();
    }
}
