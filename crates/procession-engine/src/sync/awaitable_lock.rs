//! The word of a lock, and the list of processes that wait for the lock by descriptor: what
//! `lock.rs` and `rlock.rs` have in common.

use crate::sync::liveness_cache::seen_alive;
use crate::sync::notify::NotifyList;
use crate::sync::{Armed, AwaitFd, BlockedOn, interrupted, owner_died, timed_out};
use procession_shm::{
    Acquired, Family, NotAcquired, Object, RawLock, SharedBody, SharedObject, Stamp,
};
use procession_sys::error::{ErrorKind, Result};
use procession_sys::wait::time::Deadline;

/// Lets one holder in at a time. Exactly one process that takes the lock, or waits for it, is told
/// of the holder's death.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct AwaitableLock {
    raw: RawLock,
    /// The processes that wait for the lock by descriptor.
    awaiting: NotifyList,
}

impl AwaitableLock {
    #[inline]
    pub fn try_lock(&self, me: Stamp) -> bool {
        self.raw.try_lock(me)
    }

    #[inline]
    pub fn holder(&self) -> Option<Stamp> {
        self.raw.holder()
    }

    /// Waits for the lock of `object`, which was not free a moment ago.
    ///
    /// If the holder has died, and this process is the one that is told, it calls `forget_holder`
    /// and frees the lock.
    #[cold]
    pub fn lock_slowly<B: SharedBody>(
        &self,
        object: &SharedObject<B>,
        me: Stamp,
        deadline: Deadline,
        forget_holder: impl FnOnce(),
    ) -> Result<()> {
        let _waiting = BlockedOn::on(object, me);
        let family = object.family();
        match self.raw.lock_until(me, family, deadline) {
            Ok(Acquired::Free) => Ok(()),
            Ok(Acquired::FromDead(owner)) => {
                let error = owner_died(object, owner);
                forget_holder();
                self.unlock(family);
                family.reclaim(owner);
                Err(error)
            }
            Err(NotAcquired::TimedOut) => Err(timed_out(object)),
            Err(NotAcquired::Interrupted) => Err(interrupted(object)),
        }
    }

    /// As [`lock_slowly`](Self::lock_slowly), but does not wait; tells whether this process has the
    /// lock.
    #[cold]
    pub fn try_slowly<B: SharedBody>(
        &self,
        object: &SharedObject<B>,
        me: Stamp,
        forget_holder: impl FnOnce(),
    ) -> Result<bool> {
        if let Some(holder) = self.holder()
            && seen_alive(object, holder)
        {
            return Ok(false);
        }
        match self.lock_slowly(object, me, Deadline::now(), forget_holder) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::TimedOut => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Frees the lock, and returns who held it.
    #[inline]
    pub fn unlock(&self, family: &Family) -> Stamp {
        let (owner, waited) = self.raw.unlock_telling();
        if waited {
            self.ring(family);
        }
        owner
    }

    #[cold]
    fn ring(&self, family: &Family) {
        self.awaiting.ring_armed(family);
    }

    /// Returns the descriptor by which this process waits for the lock, which is that of `object`.
    pub fn await_fd(&'static self, object: &Object) -> AwaitFd {
        AwaitFd::of(object, &self.awaiting)
    }

    /// Returns what to poll before the next attempt to take the lock; `None` when it is free now.
    pub fn arm(&self, fd: &AwaitFd) -> Result<Option<Armed>> {
        fd.arm_with_holder(|| !self.raw.expect_unlock(), || self.holder())
    }

    /// Wakes a process that can take the lock from a dead holder, and all processes that wait by
    /// descriptor.
    pub fn recover(&self, family: &Family, dead: Stamp) {
        // The dead stamp stays in the word, so that exactly one waiter is told.
        self.raw.wake_if_held_by(dead);
        self.awaiting.forget_and_ring(family, dead);
    }

    pub fn destroy(&self, family: &Family) {
        self.awaiting.destroy(family);
    }
}
