//! A lock that any process may take and any process may release.
//!
//! Leaves out recursion (`rlock.rs`) and guards that release on drop: the faces
//! have them.
//!
//! # Safety
//! The shared part is made of atomics, and any bytes are a value of it.

#![expect(unsafe_code, reason = "the form of what is shared")]

use crate::family;
use crate::sync::awaitable_lock::AwaitableLock;
use crate::sync::{Armed, AwaitFd, attachable, me, named};
use procession_shm::{BodyView, ObjectKind, SharedBody, SharedObject, Stamp};
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::wait::time::Deadline;

/// Lets one holder in at a time, whatever process it is in.
///
/// A lock is taken by a process, not by a thread, and anybody may release it,
/// as in `multiprocessing`. When its holder dies, exactly one process that
/// takes or waits for it is told (`OwnerDied`), and the lock is free again.
///
/// ```
/// use procession_engine::sys::wait::time::Deadline;
/// use procession_engine::sync::Lock;
///
/// let lock = Lock::create()?;
/// lock.acquire(Deadline::NEVER)?;
/// assert!(!lock.try_acquire()?);
/// lock.release()?;
/// assert!(!lock.is_locked());
/// # Ok::<(), procession_engine::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Lock {
    object: SharedObject<LockLayout>,
}

#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct LockLayout(AwaitableLock);

impl LockLayout {
    /// Returns the member that holds the lock.
    pub(crate) fn holder(&self) -> Option<Stamp> {
        self.0.holder()
    }
}

// SAFETY: a lock word and atomics, in the order of C.
unsafe impl SharedBody for LockLayout {
    const KIND: ObjectKind = ObjectKind::Lock;

    fn recover(view: BodyView<'_, Self>, dead: Stamp) {
        view.body().0.recover(view.family(), dead);
    }

    fn destroy(view: BodyView<'_, Self>) {
        view.body().0.destroy(view.family());
    }
}

attachable!(Lock, object);

impl Lock {
    /// Makes a free lock.
    ///
    /// # Errors
    /// `OutOfMemory` when the arena is full.
    pub fn create() -> Result<Self> {
        SharedObject::create(family()?, 0).map(Self::of)
    }

    fn of(object: SharedObject<LockLayout>) -> Self {
        Self { object }
    }

    #[inline]
    fn word(&self) -> &'static AwaitableLock {
        &self.object.body().0
    }

    /// Takes the lock, waiting for it until the deadline.
    ///
    /// A process that already holds it waits for itself.
    ///
    /// # Errors
    /// `OwnerDied` when the holder has died; the lock is then free, and not
    /// held by the caller. `TimedOut`, `Interrupted`.
    #[inline]
    pub fn acquire(&self, deadline: Deadline) -> Result<()> {
        let me = me(&self.object)?;
        if self.word().try_lock(me) {
            return Ok(());
        }
        self.word().lock_slowly(&self.object, me, deadline, || ())
    }

    /// Takes the lock if its word says that it is free, and asks nobody; tells
    /// whether it did. The quick half of [`Lock::try_acquire`].
    #[inline]
    #[must_use]
    pub fn try_acquire_free(&self) -> bool {
        let me = self.object.family().me();
        !me.is_nobody() && self.word().try_lock(me)
    }

    /// Takes the lock if it is free; tells whether it did.
    ///
    /// A death that nobody has noticed yet may take some milliseconds of
    /// trying to be seen.
    ///
    /// # Errors
    /// `OwnerDied` when the holder has died; the lock is then free, and not
    /// held by the caller.
    pub fn try_acquire(&self) -> Result<bool> {
        let me = me(&self.object)?;
        if self.word().try_lock(me) {
            return Ok(true);
        }
        self.word().try_slowly(&self.object, me, || ())
    }

    /// Frees the lock, whichever process holds it.
    ///
    /// # Errors
    /// `Invalid` when it is free already.
    #[inline]
    pub fn release(&self) -> Result<()> {
        if self.word().unlock(self.object.family()).is_nobody() {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("{} was released too many times", named(&self.object)),
            ));
        }
        Ok(())
    }

    /// Returns the descriptor by which this process waits for the lock, without a thread.
    #[must_use]
    pub fn await_fd(&self) -> AwaitFd {
        self.word().await_fd(&self.object)
    }

    /// Returns what to poll before the next attempt to take the lock; `None` when it is free now.
    ///
    /// # Errors
    /// `Limit` when no descriptor is left, or too many processes wait in this way.
    pub fn arm(&self, fd: &AwaitFd) -> Result<Option<Armed>> {
        self.word().arm(fd)
    }

    /// Tells whether somebody holds the lock now.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.word().holder().is_some()
    }

    /// Returns the process that took the lock and has not released it.
    #[must_use]
    pub fn holder(&self) -> Option<Stamp> {
        self.word().holder()
    }
}
