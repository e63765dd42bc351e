//! A lock word that knows its owner and outlives it.
//!
//! # The word
//! 0 is free; else it holds the owner's stamp, and bit 31 says that somebody
//! may be parked on it.
//!
//! # The races it must survive
//! - *The owner dies.* Nobody will ever store 0. A parked waiter therefore
//!   wakes in slices and asks whether the stamp it sees still lives. Of all
//!   that find it dead, the one whose compare-exchange replaces *that* word
//!   becomes the owner and is told; for the rest the word has changed.
//! - *The woken waiter dies* before it takes the free lock. The wake-up is
//!   lost, and the slice of another waiter ends: it finds 0 and goes on.
//! - *A wake-up comes between look and park.* The futex compares the word.
//! - *Who unlocks cannot know who is parked.* Whoever has parked once takes
//!   the lock with the waiters bit set: one wake-up too many at worst.

use crate::arena::stamp::Stamp;
use crate::os::futex::Woken;
use crate::os::time::Deadline;
use crate::primitive::{AtomicU32, Ordering, futex_wait, futex_wake, relax};

/// Set while somebody may be parked on the word.
const WAITERS: u32 = 1 << 31;

/// Looks at the word this often before parking; found by trial on a two-core
/// machine, where a lock is held for well under a microsecond.
const SPINS: u32 = if cfg!(loom) { 1 } else { 100 };

/// First and longest time between two looks at the owner's life. A model's
/// slices end when it says so, and never by the clock.
const FIRST_SLICE_MS: u64 = if cfg!(loom) { 3_600_000 } else { 4 };
const LONGEST_SLICE_MS: u64 = if cfg!(loom) { 3_600_000 } else { 64 };

/// Answers whether a member has died.
pub trait Liveness: Sync {
    /// Tells whether the process named by `stamp` is no more.
    fn is_dead(&self, stamp: Stamp) -> bool;
}

/// Says how a lock was come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// It was free.
    Free,
    /// Its owner had died holding it; the caller holds it now and must set
    /// right what it guards.
    FromDead(Stamp),
}

/// Says why a lock was not come by.
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

    /// Takes the lock, waiting for it without end and through signals.
    ///
    /// For the short critical sections of the engine itself.
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
    pub fn lock_until(
        &self,
        me: Stamp,
        family: &dyn Liveness,
        deadline: Deadline,
    ) -> Result<Acquired, NotAcquired> {
        if self.try_lock(me) {
            return Ok(Acquired::Free);
        }
        if deadline != Deadline::NEVER && deadline.has_passed() {
            return self.at_deadline(me, family);
        }
        for _ in 0..SPINS {
            if self.word.load(Ordering::Relaxed) == 0 && self.try_lock(me) {
                return Ok(Acquired::Free);
            }
            relax();
        }
        self.park(me, family, deadline)
    }

    /// Frees the lock, whoever holds it, and wakes one waiter.
    ///
    /// Returns the stamp that was in it: nobody's, when it was free already.
    #[inline]
    pub fn unlock(&self) -> Stamp {
        // Release pairs with the Acquire of whoever takes it next.
        let word = self.word.swap(0, Ordering::Release);
        if word & WAITERS != 0 {
            futex_wake(&self.word, 1);
        }
        Stamp::from_raw(word)
    }

    /// Frees the lock if `owner` holds it; tells whether it did.
    pub fn unlock_if(&self, owner: Stamp) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        while Stamp::from_raw(word) == owner && word != 0 {
            // Release pairs with the Acquire of whoever takes it next.
            match self
                .word
                .compare_exchange(word, 0, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => {
                    if word & WAITERS != 0 {
                        futex_wake(&self.word, 1);
                    }
                    return true;
                }
                Err(now) => word = now,
            }
        }
        false
    }

    /// Returns who holds the lock now, if anybody does.
    pub fn holder(&self) -> Option<Stamp> {
        let stamp = Stamp::from_raw(self.word.load(Ordering::Relaxed));
        (!stamp.is_nobody()).then_some(stamp)
    }

    /// Makes the waiters look whether the owner lives, if it is `dead`.
    pub fn wake_if_held_by(&self, dead: Stamp) {
        if self.holder() == Some(dead) {
            futex_wake(&self.word, u32::MAX);
        }
    }

    /// A last look for callers that only try: a dead owner is not an owner.
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
        let mut slice = FIRST_SLICE_MS;
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
            let slice_end = deadline.within(std::time::Duration::from_millis(slice));
            match futex_wait(&self.word, word | WAITERS, slice_end) {
                // Woken though it is still held: perhaps because its owner died.
                Woken::Changed if self.word.load(Ordering::Relaxed) == word | WAITERS => {
                    if let Some(how) = self.take_from_dead(me, family, word | WAITERS) {
                        return Ok(how);
                    }
                }
                Woken::Changed => {}
                Woken::Interrupted => return Err(NotAcquired::Interrupted),
                Woken::TimedOut => {
                    slice = (slice * 2).min(LONGEST_SLICE_MS);
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
