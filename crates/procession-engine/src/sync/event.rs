//! A flag that processes wait for.
//!
//! Leaves out waiting for several things at once: `channel::wait` does that,
//! by the descriptor that an event can have.

use std::sync::Arc;
use std::time::Duration;

use crate::arena::{Family, Handle, Hooks, Object, ObjectKind};
use crate::error::{Error, ErrorKind, Result};
use crate::os::futex::Woken;
use crate::os::time::Deadline;
use crate::primitive::{AtomicU32, Ordering, futex_wait, futex_wake};
use crate::sync::bells::{Bells, OwnBell, ReadableFd};
use crate::sync::{Waiting, interrupted, me, named};

/// The event is set.
const SET: u32 = 1;
/// Somebody may be parked.
const WAITERS: u32 = 2;
/// Somebody has asked for a descriptor; stays.
const BELLS: u32 = 4;
/// Counts in the remaining bits how often the event was set.
const ONCE: u32 = 8;

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
    attached: Arc<Attached>,
    body: &'static Body,
}

/// This process's use of an event.
#[derive(Debug)]
struct Attached {
    object: Object,
    bell: OwnBell,
}

/// What an event keeps in the arena.
#[derive(Debug)]
#[repr(C)]
struct Body {
    word: AtomicU32,
    spare: AtomicU32,
    bells: Bells,
}

impl Event {
    /// Makes an event that is not set.
    ///
    /// # Errors
    /// `OutOfMemory` when the arena is full.
    pub fn create() -> Result<Self> {
        Object::create(ObjectKind::Event, size_of::<Body>() as u64).map(Self::of)
    }

    /// Attaches to the event that a handle names.
    ///
    /// # Errors
    /// `Stale` when it is gone, `Invalid` when the handle is not an event's.
    pub fn attach(handle: Handle) -> Result<Self> {
        Object::attach(handle, ObjectKind::Event).map(Self::of)
    }

    fn of(object: Object) -> Self {
        let body = object.view().body();
        let bell = OwnBell::default();
        Self {
            attached: Arc::new(Attached { object, bell }),
            body,
        }
    }

    /// Returns the numbers by which any member may attach.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.attached.object.handle()
    }

    /// Returns the handle for a message, and keeps the event alive until
    /// somebody attaches with it.
    #[must_use]
    pub fn lend(&self) -> Handle {
        self.attached.object.lend()
    }

    /// Sets the event and lets go all who wait for it, even if it is cleared
    /// at once.
    pub fn set(&self) {
        let mut word = self.body.word.load(Ordering::Relaxed);
        while word & SET == 0 {
            let next = (word & !WAITERS).wrapping_add(ONCE) | SET;
            // Release pairs with the Acquire of `is_set` and `wait`; Acquire
            // with the update in `readable_fd`, after which its bell is seen.
            match self
                .body
                .word
                .compare_exchange(word, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => {
                    if word & (WAITERS | BELLS) != 0 {
                        self.tell(word);
                    }
                    return;
                }
                Err(now) => word = now,
            }
        }
        // What the caller did before must be seen by those who see it set,
        // though another process set it: an update that changes nothing.
        self.body.word.fetch_or(0, Ordering::Release);
    }

    /// Wakes those who were parked or asked for a descriptor when the event
    /// turned from `word` to set.
    #[cold]
    fn tell(&self, word: u32) {
        if word & WAITERS != 0 {
            futex_wake(&self.body.word, u32::MAX);
        }
        if word & BELLS != 0 {
            self.body.bells.ring(self.attached.object.family());
        }
    }

    /// Makes the event unset again; those who come now wait for the next time.
    pub fn clear(&self) {
        let before = self.body.word.fetch_and(!SET, Ordering::AcqRel);
        if before & BELLS != 0 {
            self.quieten();
        }
    }

    /// Tells whether the event is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        let word = self.body.word.load(Ordering::Acquire);
        if word & (SET | BELLS) == BELLS {
            self.quieten();
        }
        word & SET != 0
    }

    /// Returns a descriptor that is readable while the event is set, and after
    /// another process cleared it until this one looks ([`Event::is_set`]).
    ///
    /// # Errors
    /// `Limit` when no descriptor is left.
    pub fn readable_fd(&self) -> Result<ReadableFd> {
        let family = Family::get()?;
        let bells = &self.body.bells;
        let fd = self.attached.bell.get_or_hang_up(bells, family)?;
        // Release pairs with the Acquire in `set`: an update that comes after
        // this one finds our bell, and we find one that came before.
        let word = self.body.word.fetch_or(BELLS, Ordering::AcqRel);
        if word & SET != 0 {
            fd.ring(family);
        }
        Ok(fd)
    }

    /// Makes the descriptor unreadable, if there is one and the event unset.
    #[cold]
    fn quieten(&self) {
        let family = self.attached.object.family();
        let Some(fd) = self.attached.bell.get(family) else {
            return;
        };
        fd.drain();
        // An update, so that it comes after that of whoever has just rung: it
        // may be this ring that was drained.
        if self.body.word.fetch_or(0, Ordering::AcqRel) & SET != 0 {
            fd.ring(family);
        }
    }

    /// Blocks until the event is set.
    ///
    /// # Errors
    /// `TimedOut`, `Interrupted`.
    pub fn wait(&self, deadline: Deadline) -> Result<()> {
        if self.is_set() {
            return Ok(());
        }
        self.wait_since(self.times_set(), deadline)
    }

    /// Returns how often the event was set so far, as [`wait_since`] needs it.
    ///
    /// [`wait_since`]: Self::wait_since
    pub fn times_set(&self) -> u32 {
        self.body.word.load(Ordering::Acquire) / ONCE
    }

    /// Blocks until the event is set, or was set and cleared since it had been
    /// set so many times: for who waits in several steps.
    ///
    /// # Errors
    /// `TimedOut`, `Interrupted`.
    pub fn wait_since(&self, times: u32, deadline: Deadline) -> Result<()> {
        let _waiting = Waiting::on(
            &self.attached.object,
            ObjectKind::Event,
            me(&self.attached.object)?,
        );
        let mut word = self.body.word.load(Ordering::Acquire);
        let mut slice = FIRST_SLICE;
        while word & SET == 0 && word / ONCE == times {
            if deadline.has_passed() {
                return Err(Error::new(
                    ErrorKind::TimedOut,
                    format!(
                        "{} was not set before the deadline",
                        named(&self.attached.object)
                    ),
                ));
            }
            let parked = word | WAITERS;
            // Relaxed: nothing is handed over here; the park compares the word.
            let marked = word == parked
                || self
                    .body
                    .word
                    .compare_exchange(word, parked, Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok();
            if marked {
                match futex_wait(&self.body.word, parked, deadline.within(slice)) {
                    Woken::Changed => {}
                    Woken::TimedOut => slice = (slice * 2).min(LONGEST_SLICE),
                    Woken::Interrupted if self.body.word.load(Ordering::Relaxed) == parked => {
                        return Err(interrupted(&self.attached.object));
                    }
                    Woken::Interrupted => {}
                }
            }
            word = self.body.word.load(Ordering::Acquire);
        }
        Ok(())
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let body = self.object.body::<Body>();
        self.bell.take_down(&body.bells, self.object.family());
    }
}

pub(crate) const HOOKS: Hooks = Hooks {
    on_death: |view, dead| {
        let (body, family) = (view.body::<Body>(), view.family());
        body.bells.forget(family, dead);
        // The dead member may have set the event, which takes the mark of the
        // waiters away, and told nobody.
        let word = body.word.load(Ordering::Acquire);
        if word & WAITERS == 0 {
            futex_wake(&body.word, u32::MAX);
        }
        if word & SET != 0 {
            body.bells.ring(family);
        }
    },
    on_destroy: |view| view.body::<Body>().bells.destroy(),
};
