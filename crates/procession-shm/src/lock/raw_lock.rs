//! A robust lock: a word that names its owner, and can be taken over when the owner dies.
//!
//! # The word
//! 0 means free. Otherwise the word holds the owner's stamp, and bit 31 says that somebody
//! may be parked on it.
//!
//! # The races it must survive
//! - *The owner dies.* Nobody will ever store 0. Therefore a parked waiter
//!   wakes in slices and checks whether the owner named by the word is alive. Of all
//!   waiters that find the owner dead, the one whose compare-exchange replaces *that* word
//!   becomes the owner, and `lock` tells it so; the others find the word changed.
//! - *The woken waiter dies* before it takes the free lock. The wake-up is
//!   lost, but the slice of another waiter ends: that one finds 0 and takes the lock.
//! - *A wake-up comes between look and park.* The futex compares the word.
//! - *The owner that unlocks cannot know whether others are still parked.* A waiter that
//!   has parked once takes the lock with the waiters bit set: at worst that costs one
//!   wake-up too many.

use crate::member::stamp::Stamp;
use procession_sys::primitive::{AtomicU32, Ordering, fence, futex_wait, futex_wake};
use procession_sys::wait::adaptive_spin::spin_briefly;
use procession_sys::wait::futex::Woken;
use procession_sys::wait::time::Deadline;
use procession_sys::wait::wait_slices::WaitSlices;

/// Set while somebody may be parked on the word.
const WAITERS: u32 = 1 << 31;

/// Answers whether a member has died.
pub trait Liveness: Sync {
    /// Tells whether the process named by `stamp` has ended.
    fn is_dead(&self, stamp: Stamp) -> bool;
}

/// Says how a lock was acquired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// It was free.
    Free,
    /// Its owner had died holding it. The caller holds it now, and must repair what the
    /// lock guards.
    FromDead(Stamp),
}

/// Says why a lock was not acquired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAcquired {
    /// The deadline passed.
    TimedOut,
    /// A signal arrived.
    Interrupted,
}

/// Excludes all but one member at a time.
#[derive(Debug)]
#[repr(transparent)]
pub struct RawLock {
    word: AtomicU32,
}

impl Default for RawLock {
    fn default() -> Self {
        Self {
            word: AtomicU32::new(0),
        }
    }
}

impl RawLock {
    /// Takes the lock if it is free.
    #[inline]
    pub fn try_lock(&self, me: Stamp) -> bool {
        // Acquire pairs with the Release in `unlock`.
        self.word
            .compare_exchange(0, me.raw(), Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// Takes the lock; waits without a time limit, and is not interrupted by signals.
    ///
    /// It is meant for the short critical sections of the engine itself.
    #[inline]
    pub fn lock(&self, me: Stamp, family: &dyn Liveness) -> Acquired {
        loop {
            if let Ok(how) = self.lock_until(me, family, Deadline::NEVER) {
                return how;
            }
        }
    }

    /// Takes the lock, or says why not.
    ///
    /// # Errors
    /// At the deadline, or when a signal arrives.
    #[inline]
    pub fn lock_until(
        &self,
        me: Stamp,
        family: &dyn Liveness,
        deadline: Deadline,
    ) -> Result<Acquired, NotAcquired> {
        if self.try_lock(me) {
            return Ok(Acquired::Free);
        }
        self.lock_slowly(me, family, deadline)
    }

    #[cold]
    fn lock_slowly(
        &self,
        me: Stamp,
        family: &dyn Liveness,
        deadline: Deadline,
    ) -> Result<Acquired, NotAcquired> {
        if deadline != Deadline::NEVER && deadline.has_passed() {
            return self.at_deadline(me, family);
        }
        if spin_briefly(|| self.word.load(Ordering::Relaxed) == 0 && self.try_lock(me)) {
            return Ok(Acquired::Free);
        }
        self.park(me, family, deadline)
    }

    /// Frees the lock, even if another member holds it, and wakes one waiter.
    ///
    /// Returns the stamp of the owner until then: nobody's, when the lock was free.
    #[inline]
    pub fn unlock(&self) -> Stamp {
        self.unlock_telling().0
    }

    /// As [`unlock`](Self::unlock); tells also whether somebody may wait, parked or after
    /// [`expect_unlock`](Self::expect_unlock).
    #[inline]
    pub fn unlock_telling(&self) -> (Stamp, bool) {
        // Release pairs with the Acquire by which the next owner takes the lock.
        let word = self.word.swap(0, Ordering::Release);
        let waited = word & WAITERS != 0;
        if waited {
            futex_wake(&self.word, 1);
        }
        (Stamp::from_raw(word), waited)
    }

    /// Marks the lock as waited for by a thread that is not parked, so that the thread that frees
    /// it learns of that. Returns false when it is free now.
    pub fn expect_unlock(&self) -> bool {
        // SeqCst: what the caller has armed before is seen by the thread that frees the lock and
        // finds the mark; pairs with that thread's fence.
        fence(Ordering::SeqCst);
        let mark = |word: u32| (word != 0).then_some(word | WAITERS);
        self.word
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, mark)
            .is_ok()
    }

    /// Returns the member that holds the lock now, if one does.
    pub fn holder(&self) -> Option<Stamp> {
        let stamp = Stamp::from_raw(self.word.load(Ordering::Relaxed));
        (!stamp.is_nobody()).then_some(stamp)
    }

    /// Wakes the waiters, so that they find the owner dead, if `dead` owns the lock.
    pub fn wake_if_held_by(&self, dead: Stamp) {
        if self.holder() == Some(dead) {
            futex_wake(&self.word, u32::MAX);
        }
    }

    /// Takes the lock from a dead owner, for callers whose deadline has passed already.
    fn at_deadline(&self, me: Stamp, family: &dyn Liveness) -> Result<Acquired, NotAcquired> {
        let word = self.word.load(Ordering::Relaxed);
        self.take_from_dead(me, family, word)
            .ok_or(NotAcquired::TimedOut)
    }

    fn take_from_dead(&self, me: Stamp, family: &dyn Liveness, word: u32) -> Option<Acquired> {
        let owner = Stamp::from_raw(word);
        if owner.is_nobody() || owner == me || !family.is_dead(owner) {
            return None;
        }
        // Acquire: what the dead owner stored before it died must be seen.
        self.word
            .compare_exchange(
                word,
                me.raw() | (word & WAITERS),
                Ordering::Acquire,
                Ordering::Relaxed,
            )
            .ok()
            .map(|_| Acquired::FromDead(owner))
    }

    fn park(
        &self,
        me: Stamp,
        family: &dyn Liveness,
        deadline: Deadline,
    ) -> Result<Acquired, NotAcquired> {
        let mut slices = WaitSlices::for_holder();
        loop {
            let word = self.word.load(Ordering::Relaxed);
            if word == 0 {
                // Acquire pairs with the Release in `unlock`.
                if self
                    .word
                    .compare_exchange(0, me.raw() | WAITERS, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
                {
                    return Ok(Acquired::Free);
                }
                continue;
            }
            if word & WAITERS == 0
                && self
                    .word
                    .compare_exchange(word, word | WAITERS, Ordering::Relaxed, Ordering::Relaxed)
                    .is_err()
            {
                continue;
            }
            match futex_wait(&self.word, word | WAITERS, slices.end(deadline)) {
                // The lock is still held: `wake_if_held_by` may have woken us, because the
                // owner died.
                Woken::Changed if self.word.load(Ordering::Relaxed) == word | WAITERS => {
                    if let Some(how) = self.take_from_dead(me, family, word | WAITERS) {
                        return Ok(how);
                    }
                }
                Woken::Changed => {}
                Woken::Interrupted => return Err(NotAcquired::Interrupted),
                Woken::TimedOut => {
                    slices.grow();
                    if let Some(how) = self.take_from_dead(me, family, word | WAITERS) {
                        return Ok(how);
                    }
                    if deadline.has_passed() {
                        return Err(NotAcquired::TimedOut);
                    }
                }
            }
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests;
