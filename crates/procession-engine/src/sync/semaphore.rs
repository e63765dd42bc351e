//! A number of permits, which come back when their holder dies.
//!
//! `holders.rs` counts them, and knows who holds them.

pub(crate) mod holders;
pub(crate) mod permits;

use crate::family;
use crate::sync::liveness_cache::asked_lately;
use crate::sync::semaphore::permits::{Permits, SemaphoreLayout};
use crate::sync::{Armed, AwaitFd, BlockedOn, attachable, interrupted, me, named, timed_out};
use procession_shm::{SharedObject, Stamp};
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::wait::adaptive_spin::spin_briefly;
use procession_sys::wait::futex::Woken;
use procession_sys::wait::time::Deadline;
use procession_sys::wait::wait_slices::WaitSlices;

/// Gives out a number of permits.
///
/// Anybody may release, as in `multiprocessing`, whether it has acquired or
/// not. The permits that a process holds when it dies come back, but never so
/// many that there are more than at the beginning; a semaphore that begins
/// with 0, which signals rather than guards, gets none back. Up to 1024
/// holders are recorded at a time; permits taken beyond that do not come back.
/// Nor do all come back where a process released a permit that it had not taken while
/// several others held some: nobody knows then whose permit that was.
///
/// ```
/// use procession_engine::sys::wait::time::Deadline;
/// use procession_engine::sync::Semaphore;
///
/// let seats = Semaphore::create(2, Some(2))?;
/// seats.acquire(Deadline::NEVER)?;
/// assert_eq!(seats.value(), 1);
/// seats.release()?;
/// assert!(seats.release().is_err(), "no more than two");
/// # Ok::<(), procession_engine::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Semaphore {
    object: SharedObject<SemaphoreLayout>,
    pub(crate) inner: Permits<'static>,
}

attachable!(Semaphore, object);

impl Semaphore {
    /// The most permits there can be at a time, as with POSIX semaphores.
    pub const MAX: u32 = i32::MAX as u32;

    /// Makes a semaphore with `value` permits, and never more than `bound`.
    ///
    /// # Errors
    /// `Invalid` when the value is above the bound or above [`Semaphore::MAX`],
    /// `OutOfMemory` when the arena is full.
    pub fn create(value: u32, bound: Option<u32>) -> Result<Self> {
        let bound = bound.unwrap_or(Self::MAX).min(Self::MAX);
        if value > bound {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("a semaphore of at most {bound} permits cannot begin with {value}"),
            ));
        }
        let object: SharedObject<SemaphoreLayout> =
            SharedObject::create(family()?, permits::table_len(value))?;
        object.body().words.init(value, bound);
        Ok(Self::of(object))
    }

    fn of(object: SharedObject<SemaphoreLayout>) -> Self {
        let inner = Permits::of(object.view());
        Self { object, inner }
    }

    /// Takes a permit, waiting for one until the deadline.
    ///
    /// # Errors
    /// `TimedOut`, `Interrupted`.
    #[inline]
    pub fn acquire(&self, deadline: Deadline) -> Result<()> {
        let me = me(&self.object)?;
        if self.inner.take(me, false) {
            return Ok(());
        }
        self.acquire_slowly(me, deadline)
    }

    /// Takes a permit if the count says that there is one, and asks nobody; tells whether it did.
    /// The quick half of [`Semaphore::try_acquire`].
    #[inline]
    #[must_use]
    pub fn try_acquire_free(&self) -> bool {
        let me = self.object.family().me();
        !me.is_nobody() && self.inner.take(me, false)
    }

    /// Takes a permit if there is one; tells whether it did.
    ///
    /// A holder's death that nobody has noticed yet may take some milliseconds
    /// of trying to be seen.
    ///
    /// # Errors
    /// `Limit` in a forked process that found no place in the family.
    pub fn try_acquire(&self) -> Result<bool> {
        let me = me(&self.object)?;
        if self.inner.take(me, false) {
            return Ok(true);
        }
        // Any holder may have died; the permits that reclaim has given back are in the count
        // already.
        let found = !asked_lately(&self.object) && self.inner.reclaim_holders(me);
        Ok(found && self.inner.take(me, false))
    }

    #[cold]
    fn acquire_slowly(&self, me: Stamp, deadline: Deadline) -> Result<()> {
        let _waiting = BlockedOn::on(&self.object, me);
        if spin_briefly(|| self.value() > 0 && self.inner.take(me, false)) {
            return Ok(());
        }
        let mut slices = WaitSlices::for_holders();
        loop {
            if self.inner.take(me, true) {
                return Ok(());
            }
            match self.inner.park(slices.end(deadline)) {
                Woken::Changed => {}
                Woken::Interrupted => return Err(interrupted(&self.object)),
                Woken::TimedOut => {
                    self.inner.reclaim_holders(me);
                    if deadline.has_passed() {
                        // This thread may have been woken in this instant; a permit
                        // that it left would then wake nobody else.
                        if self.inner.take(me, true) {
                            return Ok(());
                        }
                        return Err(timed_out(&self.object));
                    }
                    slices.grow();
                }
            }
        }
    }

    /// Puts a permit back, or adds one.
    ///
    /// # Errors
    /// `Invalid` when there are as many as the bound allows.
    #[inline]
    pub fn release(&self) -> Result<()> {
        let me = me(&self.object)?;
        let (possible, waited) = self.inner.put(me);
        if waited {
            self.tell();
        }
        if possible {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Invalid,
            format!("{} was released too many times", named(&self.object)),
        ))
    }

    /// Tells the processes that wait by descriptor that a permit was put back.
    #[cold]
    fn tell(&self) {
        let awaiting = &self.object.body().awaiting;
        if awaiting.any() {
            awaiting.ring_armed(self.object.family());
        }
    }

    /// Returns the descriptor by which this process waits for a permit, without a thread.
    #[must_use]
    pub fn await_fd(&self) -> AwaitFd {
        AwaitFd::of(&self.object, &self.object.body().awaiting)
    }

    /// Returns what to poll before the next attempt to take a permit; `None` when one is free now.
    ///
    /// # Errors
    /// `Limit` when no descriptor is left, or too many processes wait in this way.
    pub fn arm(&self, fd: &AwaitFd) -> Result<Option<Armed>> {
        let me = me(&self.object)?;
        // The guard orders this with `release`: one of the two sees the other.
        fd.arm(|| self.inner.expect_permit(me))
    }

    /// Returns how many permits are free.
    #[must_use]
    pub fn value(&self) -> u32 {
        self.inner.value()
    }
}
