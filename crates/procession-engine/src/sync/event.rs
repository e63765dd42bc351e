//! A flag that processes wait for.
//!
//! Leaves out waiting for several things at once: `channel::wait` does that,
//! by the descriptor that an event can have.
//!
//! # Safety
//! The shared part is made of atomics, and any bytes are a value of it.

#![expect(unsafe_code, reason = "the form of what is shared")]

use crate::family;
use crate::sync::notify::{NotifyList, OwnDoorbell, ReadableFd};
use crate::sync::{Armed, AwaitFd, BlockedOn, attachable, interrupted, me, named};
use procession_shm::{BodyView, ObjectKind, SharedBody, SharedObject, Stamp};
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::primitive::{AtomicU32, Ordering, futex_wait, futex_wake};
use procession_sys::wait::adaptive_spin::AdaptiveSpin;
use procession_sys::wait::futex::Woken;
use procession_sys::wait::time::Deadline;
use procession_sys::wait::wait_slices::WaitSlices;
use std::sync::Arc;
use std::time::Instant;

/// The event is set.
const SET: u32 = 1;
/// Somebody may be parked.
const WAITERS: u32 = 2;
/// A process has asked for a descriptor; the bit is never cleared.
const BELLS: u32 = 4;
/// Counts in the remaining bits how often the event was set.
const ONCE: u32 = 8;

/// Tells any number of processes that something has happened.
///
/// ```
/// use procession_engine::sys::wait::time::Deadline;
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
    attached: Arc<EventAttachment>,
    body: &'static EventLayout,
}

/// This process's use of an event.
#[derive(Debug)]
struct EventAttachment {
    object: SharedObject<EventLayout>,
    bell: OwnDoorbell,
    /// How long to look at the event before this process parks.
    spin: AdaptiveSpin,
}

/// What an event keeps in the arena.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct EventLayout {
    word: AtomicU32,
    spare: AtomicU32,
    bells: NotifyList,
    /// The processes that wait by descriptor until the event is next set.
    awaiting: NotifyList,
}

attachable!(Event, attached.object);

impl Event {
    /// Makes an event that is not set.
    ///
    /// # Errors
    /// `OutOfMemory` when the arena is full.
    pub fn create() -> Result<Self> {
        SharedObject::create(family()?, 0).map(Self::of)
    }

    fn of(object: SharedObject<EventLayout>) -> Self {
        let body = object.body();
        let attachment = EventAttachment {
            object,
            bell: OwnDoorbell::default(),
            spin: AdaptiveSpin::in_turns_once_known(),
        };
        Self {
            attached: Arc::new(attachment),
            body,
        }
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
        // Another process has set the event already, and yet a process that sees it set
        // must see what this caller did before: hence an update that changes nothing.
        self.body.word.fetch_or(0, Ordering::Release);
    }

    /// Wakes the processes that were parked or had a descriptor when the event turned
    /// from `word` to set.
    #[cold]
    fn tell(&self, word: u32) {
        if word & WAITERS != 0 {
            futex_wake(&self.body.word, u32::MAX);
        }
        if word & BELLS != 0 {
            let family = self.attached.object.family();
            self.body.bells.ring(family, || self.has_been_set());
            self.body.awaiting.ring_armed(family);
        }
    }

    /// Makes the event unset again: a process that waits from now on waits for the next
    /// `set`.
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
    /// another process cleared it until this one looks ([`Event::is_set`]) or
    /// asks for the descriptor again.
    ///
    /// # Errors
    /// `Limit` when no descriptor is left.
    pub fn readable_fd(&self) -> Result<ReadableFd> {
        let fd = self.bell()?;
        self.silence(&fd);
        Ok(fd)
    }

    /// Returns the descriptor by which this process waits for the event, without a thread.
    #[must_use]
    pub fn await_fd(&self) -> AwaitFd {
        AwaitFd::of(&self.attached.object, &self.body.awaiting)
    }

    /// Returns what to poll until the event is set, or was set and cleared since it had been set
    /// `times` times; `None` when that is so now.
    ///
    /// # Errors
    /// `Limit` when no descriptor is left, or too many processes wait in this way.
    pub fn arm(&self, fd: &AwaitFd, times: u32) -> Result<Option<Armed>> {
        fd.arm(|| {
            // Release pairs with the Acquire in `set`: an update that comes after this one
            // finds what was armed, and this one finds what one before has set.
            has_come(self.body.word.fetch_or(BELLS, Ordering::AcqRel), times)
        })
    }

    /// Returns the descriptor for a caller that looks at the event whenever it is
    /// readable.
    pub(crate) fn bell(&self) -> Result<ReadableFd> {
        let family = family()?;
        let bells = &self.body.bells;
        let fd = self.attached.bell.get_or_register(bells, family)?;
        // Release pairs with the Acquire in `set`: an update that comes after
        // this one finds our bell, and we find one that came before.
        self.body.word.fetch_or(BELLS, Ordering::AcqRel);
        fd.ring(bells, family, || self.has_been_set());
        Ok(fd)
    }

    /// Makes the descriptor unreadable, if there is one and the event unset.
    #[cold]
    fn quieten(&self) {
        if let Some(fd) = self.attached.bell.get(self.attached.object.family()) {
            self.silence(&fd);
        }
    }

    fn silence(&self, fd: &ReadableFd) {
        let family = self.attached.object.family();
        fd.clear(&self.body.bells, family, || self.has_been_set());
    }

    /// Tells whether the event is set, by an update that changes nothing: that update comes after
    /// the updates of all processes that have rung under the guard.
    fn has_been_set(&self) -> bool {
        self.body.word.fetch_or(0, Ordering::AcqRel) & SET != 0
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

    /// Blocks until the event is set, or was set and cleared since it had been set `times` times,
    /// for callers that wait in several steps.
    ///
    /// # Errors
    /// `TimedOut`, `Interrupted`.
    pub fn wait_since(&self, times: u32, deadline: Deadline) -> Result<()> {
        let since = Instant::now();
        let result = self.look_and_park(times, deadline);
        self.attached.spin.learn(since.elapsed());
        result
    }

    fn look_and_park(&self, times: u32, deadline: Deadline) -> Result<()> {
        let object = &self.attached.object;
        let _waiting = BlockedOn::on(object, me(object)?);
        let is_there = || has_come(self.body.word.load(Ordering::Acquire), times);
        // Two that set events for each other in turn need not sleep.
        if !deadline.has_passed() && self.attached.spin.spin(is_there) {
            return Ok(());
        }
        let mut word = self.body.word.load(Ordering::Acquire);
        let mut slices = WaitSlices::for_change();
        while !has_come(word, times) {
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
                match futex_wait(&self.body.word, parked, slices.end(deadline)) {
                    Woken::Changed => {}
                    Woken::TimedOut => slices.grow(),
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

/// Tells whether an event is set, or was set and cleared since it had been set `times` times.
fn has_come(word: u32, times: u32) -> bool {
    word & SET != 0 || word / ONCE != times
}

impl Drop for EventAttachment {
    fn drop(&mut self) {
        let bells = &self.object.body().bells;
        self.bell.unregister(bells, self.object.family());
    }
}

// SAFETY: atomics, in the order of C.
unsafe impl SharedBody for EventLayout {
    const KIND: ObjectKind = ObjectKind::Event;

    fn recover(view: BodyView<'_, Self>, dead: Stamp) {
        let (body, family) = (view.body(), view.family());
        body.bells.forget(family, dead);
        body.awaiting.forget_and_ring(family, dead);
        // The dead member may have set the event, which takes the mark of the
        // waiters away, and told nobody.
        let word = body.word.load(Ordering::Acquire);
        if word & WAITERS == 0 {
            futex_wake(&body.word, u32::MAX);
        }
        if word & SET != 0 {
            let set = || body.word.load(Ordering::Acquire) & SET != 0;
            body.bells.ring(family, set);
        }
    }

    fn destroy(view: BodyView<'_, Self>) {
        let (body, family) = (view.body(), view.family());
        body.bells.destroy(family);
        body.awaiting.destroy(family);
    }
}
