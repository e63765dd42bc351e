//! A lock that any process may take and any process may release.
//!
//! Leaves out recursion (`rlock.rs`) and guards that release on drop: the faces
//! have them.
//!
//! # Safety
//! The shared part is made of atomics, and any bytes are a value of it.

#![expect(unsafe_code, reason = "the form of what is shared")]

use crate::family;
use crate::sync::liveness_cache::seen_alive;
use crate::sync::notify::NotifyList;
use crate::sync::{
    Armed, AwaitFd, BlockedOn, attachable, interrupted, me, named, owner_died, timed_out,
};
use procession_shm::{
    Acquired, BodyView, NotAcquired, ObjectKind, RawLock, SharedBody, SharedObject, Stamp,
};
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
#[repr(C)]
pub(crate) struct LockLayout {
    raw: RawLock,
    /// Those that wait for it by descriptor.
    awaiting: NotifyList,
}

// SAFETY: a lock word and atomics, in the order of C.
unsafe impl SharedBody for LockLayout {
    const KIND: ObjectKind = ObjectKind::Lock;

    fn recover(view: BodyView<'_, Self>, dead: Stamp) {
        // The dead stamp stays in the word, so that exactly one waiter is told.
        let (body, family) = (view.body(), view.family());
        body.raw.wake_if_held_by(dead);
        body.awaiting.forget(family, dead);
        // The dead may have freed it, and told nobody.
        body.awaiting.ring_for_dead(family);
    }

    fn destroy(view: BodyView<'_, Self>) {
        view.body().awaiting.destroy(view.family());
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
    fn raw(&self) -> &RawLock {
        &self.object.body().raw
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
        if self.raw().try_lock(me) {
            return Ok(());
        }
        self.acquire_slowly(me, deadline)
    }

    /// Takes the lock if its word says that it is free, and asks nobody; tells
    /// whether it did. The quick half of [`Lock::try_acquire`].
    #[inline]
    #[must_use]
    pub fn try_acquire_free(&self) -> bool {
        let me = self.object.family().me();
        !me.is_nobody() && self.raw().try_lock(me)
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
        if self.raw().try_lock(me) {
            return Ok(true);
        }
        if let Some(holder) = self.raw().holder()
            && seen_alive(&self.object, holder)
        {
            return Ok(false);
        }
        match self.acquire_slowly(me, Deadline::now()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::TimedOut => Ok(false),
            Err(error) => Err(error),
        }
    }

    #[cold]
    fn acquire_slowly(&self, me: Stamp, deadline: Deadline) -> Result<()> {
        let _waiting = BlockedOn::on(&self.object, me);
        let family = self.object.family();
        match self.raw().lock_until(me, family, deadline) {
            Ok(Acquired::Free) => Ok(()),
            Ok(Acquired::FromDead(owner)) => {
                let error = owner_died(&self.object, owner);
                self.unlock();
                family.reclaim(owner);
                Err(error)
            }
            Err(NotAcquired::TimedOut) => Err(timed_out(&self.object)),
            Err(NotAcquired::Interrupted) => Err(interrupted(&self.object)),
        }
    }

    /// Frees the lock, whichever process holds it.
    ///
    /// # Errors
    /// `Invalid` when it is free already.
    #[inline]
    pub fn release(&self) -> Result<()> {
        if self.unlock().is_nobody() {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("{} was released too many times", named(&self.object)),
            ));
        }
        Ok(())
    }

    #[inline]
    fn unlock(&self) -> Stamp {
        let (owner, waited) = self.raw().unlock_telling();
        if waited {
            self.tell();
        }
        owner
    }

    /// Tells those that wait by descriptor that the lock was freed.
    #[cold]
    fn tell(&self) {
        let awaiting = &self.object.body().awaiting;
        awaiting.ring_armed(self.object.family());
    }

    /// Returns what this process waits by for the lock, without a thread.
    #[must_use]
    pub fn await_fd(&self) -> AwaitFd {
        AwaitFd::of(&self.object, &self.object.body().awaiting)
    }

    /// Returns what to poll until it is worth another try; `None` when it is now.
    ///
    /// # Errors
    /// `Limit` when no descriptor is left, or too many processes wait in this way.
    pub fn arm(&self, fd: &AwaitFd) -> Result<Option<Armed>> {
        fd.arm_with_holder(|| !self.raw().expect_unlock(), || self.holder())
    }

    /// Tells whether somebody holds the lock now.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.raw().holder().is_some()
    }

    /// Returns the process that took the lock and has not released it.
    #[must_use]
    pub fn holder(&self) -> Option<Stamp> {
        self.raw().holder()
    }
}
