//! The words of a semaphore: how many permits are free, and who holds the others.
//!
//! `README.md` beside this file tells how the two stay in step. Nothing here knows where
//! the words lie, so that loom can try their interleavings (`holders/loom_tests.rs`).

use procession_shm::{Acquired, Liveness, RawLock, Stamp};
use procession_sys::primitive::{AtomicU32, AtomicU64, Ordering, futex_wait, futex_wake};
use procession_sys::wait::futex::Woken;
use procession_sys::wait::time::Deadline;

/// Holders that are recorded at most; a table of 8 KiB.
pub const MOST_HOLDERS: u32 = 1024;

/// Places beyond one per permit, for records that have become wrong because
/// another process released the permit.
const SPARE_PLACES: u32 = 8;

/// Names no place in the table.
const UNRECORDED: u32 = u32::MAX;

/// The words of a semaphore, without the table of holders.
#[repr(C)]
#[derive(Debug, Default)]
pub struct SemaphoreWords {
    guard: RawLock,
    /// Permits that are free; waiters park on it while it is 0.
    value: AtomicU32,
    /// 1 when somebody may be parked.
    waiters: AtomicU32,
    initial: AtomicU32,
    bound: AtomicU32,
    /// Places in the table.
    places: AtomicU32,
    log: Log,
}

/// The change that is being made; see README.md.
#[repr(C)]
#[derive(Debug, Default)]
struct Log {
    holder: AtomicU64,
    value: AtomicU32,
    place: AtomicU32,
    /// 1 from when the rest is complete until the change is made.
    pending: AtomicU32,
}

/// The words with the table of holders.
#[derive(Clone, Copy)]
pub struct HolderTable<'a> {
    /// The words.
    pub body: &'a SemaphoreWords,
    /// The holders and how many permits each has, one word each.
    pub holders: &'a [AtomicU64],
    /// Tells which members have died.
    pub family: &'a dyn Liveness,
}

/// Returns how many places the table of `value` permits has.
pub fn places(value: u32) -> u32 {
    match value {
        0 => 0,
        some => some.saturating_add(SPARE_PLACES).min(MOST_HOLDERS),
    }
}

impl SemaphoreWords {
    /// Fills in the words of a new semaphore.
    pub fn init(&self, value: u32, bound: u32) {
        // Relaxed: a process gets the handle only after this.
        self.value.store(value, Ordering::Relaxed);
        self.initial.store(value, Ordering::Relaxed);
        self.bound.store(bound, Ordering::Relaxed);
        self.places.store(places(value), Ordering::Relaxed);
    }

    /// Returns how many places the table has.
    pub fn places(&self) -> u32 {
        self.places.load(Ordering::Relaxed).min(MOST_HOLDERS)
    }
}

impl std::fmt::Debug for HolderTable<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table")
            .field("words", self.body)
            .finish_non_exhaustive()
    }
}

impl HolderTable<'_> {
    /// Returns how many permits are free.
    pub fn value(&self) -> u32 {
        self.body.value.load(Ordering::Relaxed)
    }

    /// Blocks while no permit is free.
    pub fn park(&self, deadline: Deadline) -> Woken {
        futex_wait(&self.body.value, 0, deadline)
    }

    /// Takes the guard, and finishes the change that a dead owner had begun.
    #[inline]
    fn lock(&self, me: Stamp) {
        if let Acquired::FromDead(_) = self.body.guard.lock(me, self.family) {
            self.redo();
        }
    }

    #[cold]
    fn redo(&self) {
        let log = &self.body.log;
        // Acquire pairs with the Release in `change`.
        if log.pending.load(Ordering::Acquire) == 1 {
            self.apply(
                log.value.load(Ordering::Relaxed),
                log.place.load(Ordering::Relaxed),
                log.holder.load(Ordering::Relaxed),
            );
        }
    }

    /// Changes value and a place of the table, so that neither is ever seen
    /// without the other. Under the guard.
    #[inline]
    fn change(&self, value: u32, place: u32, holder: u64) {
        let log = &self.body.log;
        log.value.store(value, Ordering::Relaxed);
        log.place.store(place, Ordering::Relaxed);
        log.holder.store(holder, Ordering::Relaxed);
        // Release: complete before it counts; pairs with `redo`.
        log.pending.store(1, Ordering::Release);
        self.apply(value, place, holder);
    }

    #[inline]
    fn apply(&self, value: u32, place: u32, holder: u64) {
        // Release: not before the log counts (the store above is not moved
        // below a later Release), and before it stops counting.
        self.body.value.store(value, Ordering::Release);
        if let Some(cell) = self.holders.get(place as usize) {
            cell.store(holder, Ordering::Release);
        }
        self.body.log.pending.store(0, Ordering::Release);
    }

    /// Takes a permit if there is one. `parked` says that the caller is about to park,
    /// or has been parked.
    #[inline]
    pub fn take(&self, me: Stamp, parked: bool) -> bool {
        let body = self.body;
        self.lock(me);
        let value = body.value.load(Ordering::Relaxed);
        if parked {
            body.waiters.store(1, Ordering::Relaxed);
        }
        if value > 0 {
            let (place, count) = self.place_for(me);
            self.change(value - 1, place, pack(me, count + 1));
        }
        body.guard.unlock();
        if parked && value > 1 {
            // Of several quick releases only the first has woken anybody.
            futex_wake(&body.value, 1);
        }
        value > 0
    }

    /// Marks the semaphore as waited for by a process that is not parked, so that the process that
    /// next adds a permit learns of that; tells whether a permit is free now.
    pub fn expect_permit(&self, me: Stamp) -> bool {
        self.lock(me);
        self.body.waiters.store(1, Ordering::Relaxed);
        let is_free = self.value() > 0;
        self.body.guard.unlock();
        is_free
    }

    /// Adds a permit unless the bound is reached; tells whether it did, and whether
    /// somebody may wait for it.
    #[inline]
    pub fn put(&self, me: Stamp) -> (bool, bool) {
        let body = self.body;
        self.lock(me);
        let value = body.value.load(Ordering::Relaxed);
        let possible = value < body.bound.load(Ordering::Relaxed);
        let mut wake = false;
        if possible {
            // A place keeps its stamp with a count of 0: see `place_for`.
            let (place, holder) = self
                .place_of(me)
                .or_else(|| self.only_holder())
                .map_or((UNRECORDED, 0), |(place, holder)| (place, holder - 1));
            self.change(value + 1, place, holder);
            wake = self.call_waiters();
        }
        body.guard.unlock();
        if wake {
            futex_wake(&body.value, 1);
        }
        (possible, wake)
    }

    /// Tells whether somebody may be parked, and takes the mark away. Under
    /// the guard.
    #[inline]
    fn call_waiters(&self) -> bool {
        let wake = self.body.waiters.load(Ordering::Relaxed) != 0;
        if wake {
            self.body.waiters.store(0, Ordering::Relaxed);
        }
        wake
    }

    /// Returns the places in use. The table fills from the front, and a place
    /// is never emptied again: what follows the first empty one is empty.
    #[inline]
    fn places(&self) -> impl Iterator<Item = (u32, u64)> {
        let holders = self.holders.iter().map(|cell| cell.load(Ordering::Relaxed));
        (0..).zip(holders).take_while(|&(_, holder)| holder != 0)
    }

    /// Finds where the permits that `who` holds are recorded.
    #[inline]
    fn place_of(&self, who: Stamp) -> Option<(u32, u64)> {
        self.places()
            .find(|&(_, holder)| stamp_of(holder) == who && count_of(holder) > 0)
    }

    /// Finds where to record a permit of `who`, and how many stand there: its
    /// own place, an empty one, or that of somebody who holds none now.
    #[inline]
    fn place_for(&self, who: Stamp) -> (u32, u32) {
        let mut idle = UNRECORDED;
        let mut used = 0;
        for (place, holder) in self.places() {
            if stamp_of(holder) == who {
                return (place, count_of(holder));
            }
            if count_of(holder) == 0 {
                idle = place;
            }
            used = place + 1;
        }
        if (used as usize) < self.holders.len() {
            (used, 0)
        } else {
            (idle, 0)
        }
    }

    /// Finds the holder whose permit a process without any releases: the only holder,
    /// if there is one.
    fn only_holder(&self) -> Option<(u32, u64)> {
        let mut holding = self.places().filter(|&(_, holder)| count_of(holder) > 0);
        let only = holding.next();
        only.filter(|_| holding.next().is_none())
    }

    /// Returns the members that hold permits.
    pub fn holding(&self) -> impl Iterator<Item = Stamp> {
        self.places()
            .filter(|&(_, holder)| count_of(holder) > 0)
            .map(|(_, holder)| stamp_of(holder))
    }

    /// Returns the permits of a dead holder.
    pub fn reclaim(&self, me: Stamp, dead: Stamp) {
        self.lock(me);
        if let Some((place, holder)) = self.place_of(dead) {
            let out: u64 = self
                .places()
                .filter(|&(_, other)| stamp_of(other) != dead)
                .map(|(_, other)| u64::from(count_of(other)))
                .sum();
            let value = self.body.value.load(Ordering::Relaxed);
            let initial = u64::from(self.body.initial.load(Ordering::Relaxed));
            let missing = initial.saturating_sub(out + u64::from(value));
            let back = missing.min(u64::from(count_of(holder))) as u32;
            self.change(value + back, place, pack(dead, 0));
        }
        let value = self.body.value.load(Ordering::Relaxed);
        let wake = self.call_waiters() || value > 0;
        self.body.guard.unlock();
        if wake {
            // The dead member may also have released permits without waking a waiter.
            futex_wake(&self.body.value, value.max(1));
        }
    }
}

fn pack(who: Stamp, count: u32) -> u64 {
    u64::from(who.raw()) << 32 | u64::from(count)
}

fn stamp_of(holder: u64) -> Stamp {
    Stamp::from_raw((holder >> 32) as u32)
}

fn count_of(holder: u64) -> u32 {
    holder as u32
}

#[cfg(all(test, loom))]
mod loom_tests;

#[cfg(all(test, not(loom)))]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;
    use crate::sync::Semaphore;
    use procession_shm::Family;
    use procession_sys::testing::{WATCHDOG, child};

    /// Begins to take a permit, and is killed after `steps` of it.
    fn take_and_die(inner: HolderTable<'_>, steps: u32) {
        let (ended, _release) = child(|_| {
            let me = Family::existing().unwrap().me();
            inner.lock(me);
            let (place, count) = inner.place_for(me);
            let (value, holder) = (inner.value() - 1, pack(me, count + 1));
            let log = &inner.body.log;
            log.value.store(value, Ordering::Relaxed);
            log.place.store(place, Ordering::Relaxed);
            log.holder.store(holder, Ordering::Relaxed);
            if steps > 0 {
                log.pending.store(1, Ordering::Release);
            }
            if steps > 1 {
                inner.body.value.store(value, Ordering::Release);
            }
            if steps > 2 {
                inner.holders[place as usize].store(holder, Ordering::Release);
            }
            kill_process(getpid(), Signal::KILL).unwrap();
            0
        });
        assert!(ended.wait(WATCHDOG()).unwrap());
    }

    #[test]
    fn a_change_that_a_kill_cut_short_is_carried_out() {
        for steps in 0..4 {
            let permits = Semaphore::create(3, None).unwrap();
            take_and_die(permits.inner.table(), steps);
            // The first to come finishes the change before its own.
            assert!(permits.try_acquire().unwrap());
            let left = if steps == 0 { 2 } else { 1 };
            assert_eq!(permits.value(), left, "killed after {steps} steps");
            Family::existing().unwrap().reclaim_all();
            assert_eq!(permits.value(), 2, "killed after {steps} steps");
        }
    }
}
