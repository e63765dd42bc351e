//! A flag that processes wait for.
//!
//! Leaves out waiting for several things at once: `channel::wait` does that.

use std::time::Duration;

use crate::arena::{Handle, Hooks, Object, ObjectKind};
use crate::error::{Error, ErrorKind, Result};
use crate::os::futex::Woken;
use crate::os::time::Deadline;
use crate::primitive::{AtomicU32, Ordering, futex_wait, futex_wake};
use crate::sync::{Waiting, interrupted, me, named};

/// The event is set.
const SET: u32 = 1;
/// Somebody may be parked.
const WAITERS: u32 = 2;
/// Counts in the remaining bits how often the event was set.
const ONCE: u32 = 4;

/// First and longest time between two looks at the word: only a process that
/// was killed inside `set` makes them necessary.
const FIRST_SLICE: Duration = Duration::from_millis(64);
const LONGEST_SLICE: Duration = Duration::from_secs(1);

/// Tells any number of processes that something has happened.
///
/// ```
/// use procession_engine::os::time::Deadline;
/// use procession_engine::sync::Event;
///
/// let event = Event::create()?;
/// assert!(event.wait(Deadline::now()).is_err());
/// event.set();
/// event.wait(Deadline::NEVER)?;
/// event.clear();
/// assert!(!event.is_set());
/// # Ok::<(), procession_engine::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Event {
    object: Object,
    word: &'static AtomicU32,
}

impl Event {
    /// Makes an event that is not set.
    ///
    /// # Errors
    /// `OutOfMemory` when the arena is full.
    pub fn create() -> Result<Self> {
        Object::create(ObjectKind::Event, size_of::<AtomicU32>() as u64).map(Self::of)
    }

    /// Attaches to the event that a handle names.
    ///
    /// # Errors
    /// `Stale` when it is gone, `Invalid` when the handle is not an event's.
    pub fn attach(handle: Handle) -> Result<Self> {
        Object::attach(handle, ObjectKind::Event).map(Self::of)
    }

    fn of(object: Object) -> Self {
        let word = object.view().body();
        Self { object, word }
    }

    /// Returns the numbers by which any member may attach.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.object.handle()
    }

    /// Returns the handle for a message, and keeps the event alive until
    /// somebody attaches with it.
    #[must_use]
    pub fn lend(&self) -> Handle {
        self.object.lend()
    }

    /// Sets the event and lets go all who wait for it, even if it is cleared
    /// at once.
    pub fn set(&self) {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & SET == 0 {
            let next = (word & !WAITERS).wrapping_add(ONCE) | SET;
            // Release pairs with the Acquire of `is_set` and `wait`.
            match self
                .word
                .compare_exchange(word, next, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => {
                    if word & WAITERS != 0 {
                        futex_wake(self.word, u32::MAX);
                    }
                    return;
                }
                Err(now) => word = now,
            }
        }
        // What the caller did before must be seen by those who see it set,
        // though another process set it: an update that changes nothing.
        self.word.fetch_or(0, Ordering::Release);
    }

    /// Makes the event unset again; those who come now wait for the next time.
    pub fn clear(&self) {
        self.word.fetch_and(!SET, Ordering::AcqRel);
    }

    /// Tells whether the event is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.word.load(Ordering::Acquire) & SET != 0
    }

    /// Blocks until the event is set.
    ///
    /// # Errors
    /// `TimedOut`, `Interrupted`.
    pub fn wait(&self, deadline: Deadline) -> Result<()> {
        if self.is_set() {
            return Ok(());
        }
        self.wait_slowly(deadline)
    }

    fn wait_slowly(&self, deadline: Deadline) -> Result<()> {
        let _waiting = Waiting::on(&self.object, ObjectKind::Event, me(&self.object)?);
        let mut word = self.word.load(Ordering::Acquire);
        let times = word / ONCE;
        let mut slice = FIRST_SLICE;
        while word & SET == 0 && word / ONCE == times {
            if deadline.has_passed() {
                return Err(Error::new(
                    ErrorKind::TimedOut,
                    format!("{} was not set before the deadline", named(&self.object)),
                ));
            }
            let parked = word | WAITERS;
            // Relaxed: nothing is handed over here; the park compares the word.
            let marked = word == parked
                || self
                    .word
                    .compare_exchange(word, parked, Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok();
            if marked {
                match futex_wait(self.word, parked, deadline.within(slice)) {
                    Woken::Changed => {}
                    Woken::TimedOut => slice = (slice * 2).min(LONGEST_SLICE),
                    Woken::Interrupted if self.word.load(Ordering::Relaxed) == parked => {
                        return Err(interrupted(&self.object));
                    }
                    Woken::Interrupted => {}
                }
            }
            word = self.word.load(Ordering::Acquire);
        }
        Ok(())
    }
}

pub(crate) const HOOKS: Hooks = Hooks {
    on_death: |view, _| {
        let word = view.body::<AtomicU32>();
        // The dead member may have set the event, which takes the mark of the
        // waiters away, and woken nobody.
        if word.load(Ordering::Relaxed) & WAITERS == 0 {
            futex_wake(word, u32::MAX);
        }
    },
    on_destroy: |_| {},
};
