//! A number of permits.

#[cfg(feature = "async")]
use std::sync::Arc;
use std::time::Duration;

use procession_engine::sync as engine;
use procession_engine::sys::wait::time::Deadline;

#[cfg(feature = "async")]
use crate::awaiting::Awaited;
use crate::error::Result;
use crate::sync::{crosses, in_time, uninterrupted};

/// Lets as many in as there are permits.
///
/// The permits that a process held when it died come back, up to the initial value.
///
/// # Examples
///
/// ```
/// use procession::Semaphore;
///
/// let semaphore = Semaphore::new(2)?;
/// let first = semaphore.permit()?;
/// let second = semaphore.permit()?;
/// assert!(semaphore.try_permit()?.is_none());
/// drop(first);
/// assert_eq!(semaphore.value(), 1);
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Semaphore(
    engine::Semaphore,
    /// The descriptor by which tasks wait.
    #[cfg(feature = "async")]
    Arc<Awaited>,
);

impl Semaphore {
    /// Makes a semaphore of `value` permits, to which more may be released.
    ///
    /// # Errors
    /// When memory is exhausted.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Semaphore;
    /// let semaphore = Semaphore::new(1)?;
    /// semaphore.release()?;
    /// assert_eq!(semaphore.value(), 2);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn new(value: u32) -> Result<Self> {
        Ok(Self::of(engine::Semaphore::create(value, None)?))
    }

    /// Makes a semaphore that never has more than `value` permits: one release
    /// too many is an error.
    ///
    /// # Errors
    /// When memory is exhausted.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Semaphore;
    /// let semaphore = Semaphore::bounded(1)?;
    /// assert!(semaphore.release().unwrap_err().is_invalid());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn bounded(value: u32) -> Result<Self> {
        Ok(Self::of(engine::Semaphore::create(value, Some(value))?))
    }

    /// Blocks until there is a permit, and holds it until it is dropped.
    ///
    /// # Errors
    /// When this process belongs to no family.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Semaphore;
    /// let semaphore = Semaphore::new(2)?;
    /// let permit = semaphore.permit()?;
    /// assert_eq!(semaphore.value(), 1);
    /// drop(permit);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn permit(&self) -> Result<Permit<'_>> {
        self.acquire()?;
        Ok(Permit(self))
    }

    /// As [`permit`](Self::permit), for at most `timeout`.
    ///
    /// # Errors
    /// As [`permit`](Self::permit).
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use procession::Semaphore;
    /// let semaphore = Semaphore::new(1)?;
    /// let permit = semaphore.permit_timeout(Duration::from_secs(60))?;
    /// assert!(permit.is_some());
    /// assert!(semaphore.permit_timeout(Duration::from_millis(1))?.is_none());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn permit_timeout(&self, timeout: Duration) -> Result<Option<Permit<'_>>> {
        let got = in_time(timeout, |deadline| self.0.acquire(deadline))?;
        Ok(got.then(|| Permit(self)))
    }

    /// Takes a permit if there is one now.
    ///
    /// # Errors
    /// As [`permit`](Self::permit).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Semaphore;
    /// let semaphore = Semaphore::new(1)?;
    /// let permit = semaphore.try_permit()?;
    /// assert!(permit.is_some() && semaphore.try_permit()?.is_none());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn try_permit(&self) -> Result<Option<Permit<'_>>> {
        Ok(self.0.try_acquire()?.then(|| Permit(self)))
    }

    /// Takes a permit for good, or until somebody [`release`](Self::release)s.
    ///
    /// # Errors
    /// As [`permit`](Self::permit).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Semaphore;
    /// let semaphore = Semaphore::new(1)?;
    /// semaphore.acquire()?;
    /// assert!(semaphore.try_permit()?.is_none());
    /// semaphore.release()?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn acquire(&self) -> Result<()> {
        uninterrupted(|| self.0.acquire(Deadline::NEVER))
    }

    /// Adds a permit.
    ///
    /// # Errors
    /// `is_invalid` when a bounded semaphore has all its permits.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Semaphore;
    /// let semaphore = Semaphore::new(0)?;
    /// semaphore.release()?;
    /// assert_eq!(semaphore.value(), 1);
    /// semaphore.acquire()?;
    /// assert_eq!(semaphore.value(), 0);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn release(&self) -> Result<()> {
        Ok(self.0.release()?)
    }

    /// Returns the number of free permits.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Semaphore;
    /// assert_eq!(Semaphore::new(3)?.value(), 3);
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn value(&self) -> u32 {
        self.0.value()
    }
}

/// For tasks of an executor: no thread waits. With the feature `async`.
#[cfg(feature = "async")]
impl Semaphore {
    /// As [`permit`](Self::permit), awaited. A future that is dropped has taken no permit.
    ///
    /// # Errors
    /// As [`permit`](Self::permit).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Semaphore;
    /// # futures_lite::future::block_on(async {
    /// let semaphore = Semaphore::new(1)?;
    /// let permit = semaphore.permit_async().await?;
    /// assert_eq!(semaphore.value(), 0);
    /// drop(permit);
    /// # Ok::<(), procession::Error>(())
    /// # })?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub async fn permit_async(&self) -> Result<Permit<'_>> {
        let (make, arm) = (|| self.0.await_fd(), |fd: &_| self.0.arm(fd));
        self.1.try_until(|| self.try_permit(), make, arm).await
    }
}

crosses!(Semaphore, Arc::default());

/// Holds one permit of a [`Semaphore`] until dropped.
///
/// # Examples
///
/// ```
/// use procession::{Permit, Result, Semaphore};
///
/// fn enter(room: &Semaphore) -> Result<Permit<'_>> {
///     let permit = room.permit()?;
///     println!("{} places are left", room.value());
///     Ok(permit)
/// }
///
/// let room = Semaphore::new(2)?;
/// let permit = enter(&room)?;
/// assert_eq!(room.value(), 1);
/// drop(permit);
/// assert_eq!(room.value(), 2);
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "the permit goes back as soon as it is dropped"]
pub struct Permit<'a>(&'a Semaphore);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        // Fails only if another process has released a permit that it had not taken.
        let _ = self.0.release();
    }
}
