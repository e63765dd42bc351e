//! Waiting, with a lock let go, until another process says that something changed.
//!
//! Leaves out the lock: the caller brings its own (a [`Lock`], an [`RLock`] taken any
//! number of times, an object of a face).
//!
//! [`Lock`]: crate::sync::Lock
//! [`RLock`]: crate::sync::RLock

pub(crate) mod wait_list;

use std::sync::Arc;
use std::time::Instant;

use crate::family;
use crate::sync::condition::wait_list::{WAITING, WaitEntry, WaitList, WaitListLayout};
use crate::sync::{Armed, AwaitFd, BlockedOn, attachable, interrupted, me};
use procession_shm::{SharedObject, Stamp};
use procession_sys::error::Result;
use procession_sys::primitive::futex_wait;
use procession_sys::wait::adaptive_spin::AdaptiveSpin;
use procession_sys::wait::futex::Woken;
use procession_sys::wait::time::Deadline;
use procession_sys::wait::wait_slices::WaitSlices;

/// Lets processes wait for a change that others announce.
///
/// Waiters are notified in the order in which they came, and none wakes without a
/// notification. A notification for a process that has died goes to the next in line.
///
/// # Example: a turn that is waited for
/// ```
/// use procession_engine::sys::wait::time::Deadline;
/// use procession_engine::sync::{Condition, Lock};
///
/// let (lock, changed) = (Lock::create()?, Condition::create()?);
/// lock.acquire(Deadline::NEVER)?;
/// let (other, tell) = (lock.clone(), changed.clone());
/// std::thread::spawn(move || {
///     other.acquire(Deadline::NEVER).unwrap();
///     tell.notify(1).unwrap();
///     other.release().unwrap();
/// });
/// let notified = changed.wait(
///     || lock.release(),
///     || lock.acquire(Deadline::NEVER),
///     Deadline::NEVER,
/// )?;
/// assert!(notified && lock.is_locked());
/// # Ok::<(), procession_engine::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Condition {
    object: SharedObject<WaitListLayout>,
    /// How long to look for a notification before this process parks.
    spin: Arc<AdaptiveSpin>,
}

attachable!(Condition, object);

impl Condition {
    /// Makes a condition that nobody waits for.
    ///
    /// # Errors
    /// `OutOfMemory` when the arena is full.
    pub fn create() -> Result<Self> {
        SharedObject::create(family()?, 0).map(Self::of)
    }

    fn of(object: SharedObject<WaitListLayout>) -> Self {
        let spin = Arc::new(AdaptiveSpin::in_turns_once_known());
        Self { object, spin }
    }

    /// Joins the end of the line. Call it with the lock held, let the lock go,
    /// [`Waiter::wait`], and take the lock again.
    ///
    /// # Errors
    /// `OutOfMemory` when so many wait that the arena is full.
    pub fn enlist(&self) -> Result<Waiter> {
        let me = me(&self.object)?;
        let entry = self.waiters().enlist(me)?;
        Ok(Waiter {
            condition: self.clone(),
            me,
            entry: Some(entry),
            since: None,
        })
    }

    /// Joins the line, lets the lock go, waits, and takes the lock again; tells
    /// whether it was notified before the deadline.
    ///
    /// When a signal interrupts it, it leaves the line. To handle the signal
    /// and keep the place, use [`Condition::enlist`].
    ///
    /// # Errors
    /// `Interrupted`, `OutOfMemory` when so many wait that the arena is full,
    /// and what `unlock` and `relock` fail with.
    pub fn wait(
        &self,
        unlock: impl FnOnce() -> Result<()>,
        relock: impl FnOnce() -> Result<()>,
        deadline: Deadline,
    ) -> Result<bool> {
        let mut waiter = self.enlist()?;
        unlock()?;
        let result = waiter.wait(deadline);
        drop(waiter);
        relock()?;
        result
    }

    /// Notifies those `most` processes that have waited longest; returns how
    /// many there were. Call it with the lock held.
    ///
    /// # Errors
    /// `Limit` in a forked process that found no place in the family.
    pub fn notify(&self, most: usize) -> Result<usize> {
        Ok(self.waiters().notify(me(&self.object)?, most))
    }

    /// Notifies all who wait; returns how many there were. Call it with the
    /// lock held.
    ///
    /// # Errors
    /// `Limit` in a forked process that found no place in the family.
    pub fn notify_all(&self) -> Result<usize> {
        self.notify(usize::MAX)
    }

    /// Returns the descriptor by which this process waits for a notification, without a thread.
    #[must_use]
    pub fn await_fd(&self) -> AwaitFd {
        AwaitFd::of(&self.object, &self.object.body().awaiting)
    }

    /// Returns how many processes wait and were not notified yet.
    #[must_use]
    pub fn n_waiting(&self) -> usize {
        self.waiters().count()
    }

    fn waiters(&self) -> WaitList<'static> {
        WaitList::of(self.object.view())
    }
}

/// Has a place in the line of a [`Condition`], and leaves it when dropped.
///
/// A notification that it got and did not report goes to the next in line.
///
/// ```
/// use procession_engine::sys::wait::time::Deadline;
/// use procession_engine::sync::Condition;
///
/// let changed = Condition::create()?;
/// let mut first = changed.enlist()?;
/// let mut second = changed.enlist()?;
/// assert_eq!(changed.notify(1)?, 1);
/// assert!(first.wait(Deadline::NEVER)?);
/// assert!(!second.wait(Deadline::now())?);
/// # Ok::<(), procession_engine::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping it leaves the line"]
pub struct Waiter {
    condition: Condition,
    me: Stamp,
    /// `None` once the notification was reported, or the place in the line was given up.
    entry: Option<&'static WaitEntry>,
    /// When the wait began.
    since: Option<Instant>,
}

impl Waiter {
    /// Tells whether it was notified, and is out of line then.
    pub fn try_wait(&mut self) -> bool {
        let notified = self
            .entry
            .is_some_and(|entry| entry.leave_if_notified(self.me));
        if notified {
            self.entry = None;
        }
        notified
    }

    /// Returns what to poll until it is notified; `None` when it is now.
    ///
    /// # Errors
    /// `Limit` when no descriptor is left, or too many processes wait in this way.
    pub fn arm(&self, fd: &AwaitFd) -> Result<Option<Armed>> {
        fd.arm(|| self.entry.is_none_or(WaitEntry::is_notified))
    }

    /// Blocks until notified; false at the deadline, and out of line then.
    ///
    /// # Errors
    /// `Interrupted`: still in line; call it again, or drop the waiter.
    pub fn wait(&mut self, deadline: Deadline) -> Result<bool> {
        self.wait_with_break(deadline, Deadline::NEVER)
    }

    /// As [`wait`](Self::wait), but interrupted soon after `pause`, for callers
    /// that have to look after something else now and then.
    ///
    /// # Errors
    /// `Interrupted`: still in line; call it again, or drop the waiter.
    pub fn wait_with_break(&mut self, deadline: Deadline, pause: Deadline) -> Result<bool> {
        let Some(entry) = self.entry else {
            return Ok(false);
        };
        let object = &self.condition.object;
        let _waiting = BlockedOn::on(object, self.me);
        if self.since.is_none() {
            self.since = Some(Instant::now());
            // Two that notify each other in turn need not sleep.
            self.condition.spin.spin(|| entry.is_notified());
        }
        let mut slices = WaitSlices::for_holder();
        loop {
            if entry.leave_if_notified(self.me) {
                self.entry = None;
                if let Some(since) = self.since {
                    self.condition.spin.learn(since.elapsed());
                }
                return Ok(true);
            }
            match futex_wait(entry.futex(), WAITING, slices.end(deadline)) {
                Woken::Changed => {}
                Woken::Interrupted => {
                    if !entry.leave_if_notified(self.me) {
                        return Err(interrupted(object));
                    }
                    self.entry = None;
                    return Ok(true);
                }
                Woken::TimedOut => {
                    self.condition.waiters().reclaim_notified();
                    slices.grow();
                    if deadline.has_passed() {
                        self.entry = None;
                        // A waiter that is no longer listed as waiting was notified
                        // just now.
                        return Ok(
                            !entry.leave_if_waiting(self.me) && entry.leave_if_notified(self.me)
                        );
                    }
                    if pause.has_passed() {
                        return Err(interrupted(object));
                    }
                }
            }
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        // A forked copy must not leave for its parent.
        if self.condition.object.family().me() != self.me {
            return;
        }
        if let Some(entry) = self.entry
            && !entry.leave_if_waiting(self.me)
            && entry.leave_if_notified(self.me)
        {
            self.condition.waiters().notify(self.me, 1);
        }
    }
}
