//! A lock that its holder may take again, and only its holder may release.
//!
//! Leaves out guards that release on drop: the faces have them.
//!
//! # Safety
//! The shared part is made of atomics, and any bytes are a value of it.

#![expect(unsafe_code, reason = "the form of what is shared")]

use crate::family;
use crate::sync::awaitable_lock::AwaitableLock;
use crate::sync::{Armed, AwaitFd, attachable, me, named};
use procession_shm::{BodyView, Family, ObjectKind, SharedBody, SharedObject, Stamp};
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::primitive::{AtomicU32, AtomicU64, Ordering};
use procession_sys::wait::time::Deadline;

thread_local! {
    /// Its address names the thread within its process.
    static HERE: u8 = const { 0 };
}

#[repr(C)]
#[derive(Debug)]
pub(crate) struct RLockLayout {
    word: AwaitableLock,
    /// How often the holder has taken it.
    count: AtomicU32,
    /// The holder's thread; 0 while nobody holds the lock for good.
    thread: AtomicU64,
}

/// Lets one thread of one process in at a time, as often as it likes.
///
/// When the process that holds it dies, exactly one process that takes or
/// waits for it is told (`OwnerDied`), and the lock is free again. A thread
/// that ends holding it leaves it held.
///
/// ```
/// use procession_engine::sys::wait::time::Deadline;
/// use procession_engine::sync::RLock;
///
/// let lock = RLock::create()?;
/// lock.acquire(Deadline::NEVER)?;
/// lock.acquire(Deadline::NEVER)?;
/// assert_eq!(lock.count(), 2);
/// let other = lock.clone();
/// std::thread::spawn(move || assert!(other.release().is_err())).join().unwrap();
/// lock.release()?;
/// lock.release()?;
/// assert!(!lock.is_locked());
/// # Ok::<(), procession_engine::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct RLock {
    object: SharedObject<RLockLayout>,
}

attachable!(RLock, object);

impl RLock {
    /// Makes a free lock.
    ///
    /// # Errors
    /// `OutOfMemory` when the arena is full.
    pub fn create() -> Result<Self> {
        SharedObject::create(family()?, 0).map(Self::of)
    }

    fn of(object: SharedObject<RLockLayout>) -> Self {
        Self { object }
    }

    /// Takes the lock, once more if this thread holds it already.
    ///
    /// # Errors
    /// `OwnerDied` when the holder has died; the lock is then free, and not
    /// held by the caller. `TimedOut`, `Interrupted`.
    #[inline]
    pub fn acquire(&self, deadline: Deadline) -> Result<()> {
        let me = me(&self.object)?;
        if self.enter(me)? {
            return Ok(());
        }
        let body = self.object.body();
        body.word
            .lock_slowly(&self.object, me, deadline, || body.forget_holder())?;
        body.hold();
        Ok(())
    }

    /// Takes the lock if its word says that it is free or this thread's, and asks nobody; tells
    /// whether it did. The quick half of [`RLock::try_acquire`].
    #[inline]
    #[must_use]
    pub fn try_acquire_free(&self) -> bool {
        let me = self.object.family().me();
        !me.is_nobody() && matches!(self.enter(me), Ok(true))
    }

    /// Takes the lock if it is free or this thread's; tells whether it did.
    ///
    /// A death that nobody has noticed yet may take some milliseconds of
    /// trying to be seen.
    ///
    /// # Errors
    /// `OwnerDied` when the holder has died; the lock is then free, and not
    /// held by the caller.
    pub fn try_acquire(&self) -> Result<bool> {
        let me = me(&self.object)?;
        if self.enter(me)? {
            return Ok(true);
        }
        let body = self.object.body();
        let taken = body
            .word
            .try_slowly(&self.object, me, || body.forget_holder())?;
        if taken {
            body.hold();
        }
        Ok(taken)
    }

    /// Takes the lock if that needs no waiting.
    #[inline]
    fn enter(&self, me: Stamp) -> Result<bool> {
        if self.is_held_by(me) {
            let count = self.object.body().count.load(Ordering::Relaxed);
            let more = count.checked_add(1).ok_or_else(|| {
                Error::new(
                    ErrorKind::Limit,
                    format!(
                        "{} was taken {count} times by one thread",
                        named(&self.object)
                    ),
                )
            })?;
            self.object.body().count.store(more, Ordering::Relaxed);
            return Ok(true);
        }
        let taken = self.object.body().word.try_lock(me);
        if taken {
            self.object.body().hold();
        }
        Ok(taken)
    }

    /// Undoes one acquisition; the last one frees the lock.
    ///
    /// # Errors
    /// `NotOwner` when another thread or process holds the lock, or nobody.
    #[inline]
    pub fn release(&self) -> Result<()> {
        let count = self.count();
        match count {
            0 => Err(Error::new(
                ErrorKind::NotOwner,
                format!("{} is not held by this thread", named(&self.object)),
            )),
            1 => {
                self.object.body().let_go(self.object.family());
                Ok(())
            }
            _ => {
                self.object.body().count.store(count - 1, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// Returns the descriptor by which this process waits for the lock, without a thread.
    #[must_use]
    pub fn await_fd(&self) -> AwaitFd {
        self.object.body().word.await_fd(&self.object)
    }

    /// Returns what to poll before the next attempt to take the lock; `None` when it is free now.
    ///
    /// # Errors
    /// `Limit` when no descriptor is left, or too many processes wait in this way.
    pub fn arm(&self, fd: &AwaitFd) -> Result<Option<Armed>> {
        self.object.body().word.arm(fd)
    }

    /// Returns how often this thread has taken the lock and not released it.
    #[must_use]
    pub fn count(&self) -> u32 {
        if self.is_held_by(self.object.family().me()) {
            self.object.body().count.load(Ordering::Relaxed)
        } else {
            0
        }
    }

    /// Tells whether this thread holds the lock.
    #[must_use]
    pub fn is_mine(&self) -> bool {
        self.count() > 0
    }

    /// Tells whether somebody holds the lock now.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.object.body().word.holder().is_some()
    }

    /// Returns the process whose thread holds the lock.
    #[must_use]
    pub fn holder(&self) -> Option<Stamp> {
        self.object.body().word.holder()
    }

    #[inline]
    fn is_held_by(&self, me: Stamp) -> bool {
        // Relaxed: a thread sees its own writes, and no other thread of this process
        // writes this thread's address.
        self.object.body().word.holder() == Some(me)
            && self.object.body().thread.load(Ordering::Relaxed) == thread()
    }
}

impl RLockLayout {
    /// Returns the member that holds the lock.
    pub(crate) fn holder(&self) -> Option<Stamp> {
        self.word.holder()
    }
}

// SAFETY: a lock word and atomics, in the order of C.
unsafe impl SharedBody for RLockLayout {
    const KIND: ObjectKind = ObjectKind::RLock;

    fn recover(view: BodyView<'_, Self>, dead: Stamp) {
        view.body().word.recover(view.family(), dead);
    }

    fn destroy(view: BodyView<'_, Self>) {
        view.body().word.destroy(view.family());
    }
}

impl RLockLayout {
    #[inline]
    fn hold(&self) {
        self.count.store(1, Ordering::Relaxed);
        self.thread.store(thread(), Ordering::Relaxed);
    }

    /// Frees the lock.
    #[inline]
    fn let_go(&self, family: &Family) {
        self.forget_holder();
        self.word.unlock(family);
    }

    /// Forgets the thread that has the lock. This comes before the word is freed, as README.md
    /// says.
    #[inline]
    fn forget_holder(&self) {
        // Relaxed: to free the word is a Release.
        self.thread.store(0, Ordering::Relaxed);
        self.count.store(0, Ordering::Relaxed);
    }
}

#[inline]
fn thread() -> u64 {
    HERE.with(|here| std::ptr::from_ref(here).addr() as u64)
}
