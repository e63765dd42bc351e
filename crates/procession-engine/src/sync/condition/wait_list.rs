//! The table of a condition's waiters: when each came, and which were notified.
//!
//! `README.md` beside this file tells how it stays sound; `sync/condition.rs` is
//! what callers see.
//!
//! # Safety
//! The shared part is made of atomics, and any bytes are a value of it.

#![expect(unsafe_code, reason = "the form of what is shared")]

use crate::sync::notify::NotifyList;
use procession_shm::lock::half_word::low_half;
use procession_shm::{
    BodyView, Family, LinkedPages, ObjectKind, RawLock, SharedBody, SharedPage, Stamp,
};
use procession_sys::error::Result;
use procession_sys::primitive::{AtomicU64, Half, Ordering, futex_wake};

/// Entries of a page; it then fills half a KiB.
const ENTRIES: usize = 31;

/// State of an entry whose owner waits.
pub(crate) const WAITING: u32 = 1;
/// State of an entry whose owner was notified and has not noticed yet.
const NOTIFIED: u32 = 2;

/// The entry of a waiter.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct WaitEntry {
    /// State (low half, which its owner parks on) and owner (high half); 0
    /// while nobody has the entry.
    word: AtomicU64,
    /// The waiter's ticket: tickets are drawn in the order in which waiters come.
    ticket: AtomicU64,
}

#[repr(C)]
#[derive(Debug)]
struct WaitPage {
    entries: [WaitEntry; ENTRIES],
}

// SAFETY: atomics, in the order of C.
unsafe impl SharedPage for WaitPage {}

/// The table, as the condition's body.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct WaitListLayout {
    guard: RawLock,
    /// Tickets drawn so far.
    tickets: AtomicU64,
    more: LinkedPages<WaitPage>,
    /// The processes that wait by descriptor.
    pub(crate) awaiting: NotifyList,
    first: WaitPage,
}

// SAFETY: a lock word and atomics, in the order of C.
unsafe impl SharedBody for WaitListLayout {
    const KIND: ObjectKind = ObjectKind::Condition;

    fn recover(view: BodyView<'_, Self>, dead: Stamp) {
        WaitList::of(view).reclaim(dead);
    }

    fn destroy(view: BodyView<'_, Self>) {
        view.body().more.destroy(view.family());
        view.body().awaiting.destroy(view.family());
    }
}

/// The table and the family it is in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitList<'a> {
    family: &'a Family,
    table: &'a WaitListLayout,
}

impl<'a> WaitList<'a> {
    pub(crate) fn of(view: BodyView<'a, WaitListLayout>) -> Self {
        Self {
            family: view.family(),
            table: view.body(),
        }
    }

    /// Gives `me` an entry at the end of the line.
    pub(crate) fn enlist(&self, me: Stamp) -> Result<&'a WaitEntry> {
        loop {
            self.lock(me);
            let free = self
                .entries()
                .find(|entry| entry.word.load(Ordering::Relaxed) == 0);
            if let Some(entry) = free {
                let ticket = self.table.tickets.load(Ordering::Relaxed);
                self.table.tickets.store(ticket + 1, Ordering::Relaxed);
                entry.ticket.store(ticket, Ordering::Relaxed);
                // Release: a process that sees the entry taken sees its ticket.
                entry.word.store(pack(me, WAITING), Ordering::Release);
            }
            self.table.guard.unlock();
            match free {
                Some(entry) => return Ok(entry),
                // Not under the guard; see README.md.
                None => self.table.more.add(self.family)?,
            }
        }
    }

    /// Notifies the `most` waiters that came first, and returns how many there were.
    pub(crate) fn notify(&self, me: Stamp, most: usize) -> usize {
        self.lock(me);
        let called = self.call(most);
        self.table.guard.unlock();
        for entry in &called {
            futex_wake(entry.futex(), 1);
        }
        if !called.is_empty() {
            self.table.awaiting.ring_armed(self.family);
        }
        called.len()
    }

    /// Returns how many processes wait and were not notified yet.
    pub(crate) fn count(&self) -> usize {
        self.entries()
            .filter(|entry| entry.state() == WAITING)
            .count()
    }

    /// Marks entries as notified. Under the guard.
    fn call(&self, most: usize) -> Vec<&'a WaitEntry> {
        let mut waiting: Vec<&WaitEntry> = self
            .entries()
            .filter(|entry| entry.state() == WAITING)
            .collect();
        waiting.sort_unstable_by_key(|entry| entry.ticket.load(Ordering::Relaxed));
        // A waiter that gives up in this instant is passed over, and the next one is
        // notified.
        waiting.retain({
            let mut left = most;
            move |entry| {
                let called = left > 0 && entry.call();
                left -= usize::from(called);
                called
            }
        });
        waiting
    }

    /// Reclaims waiters that were notified and died before they noticed; that passes
    /// their notifications on.
    pub(crate) fn reclaim_notified(&self) {
        for entry in self.entries() {
            let word = entry.word.load(Ordering::Acquire);
            let owner = owner_of(word);
            if word as u32 == NOTIFIED && self.family.is_dead(owner) {
                self.family.reclaim(owner);
            }
        }
    }

    /// Empties the entries of a dead member, and passes on the notifications that it had not
    /// noticed.
    pub(crate) fn reclaim(&self, dead: Stamp) {
        self.table.more.disown_of(self.family, dead);
        self.lock(self.family.me());
        let mut unheard = 0;
        for entry in self.entries() {
            let word = entry.word.load(Ordering::Acquire);
            if owner_of(word) == dead {
                unheard += usize::from(word as u32 == NOTIFIED);
                entry.word.store(0, Ordering::Release);
            }
        }
        let called = self.call(unheard);
        self.table.guard.unlock();
        for entry in called {
            futex_wake(entry.futex(), 1);
        }
        // The dead member may have marked entries without waking their owners. All
        // marked ones are woken: there are few at a time.
        for entry in self.entries().filter(|entry| entry.state() == NOTIFIED) {
            futex_wake(entry.futex(), 1);
        }
        self.table.awaiting.forget_and_ring(self.family, dead);
    }

    /// Takes the guard. A dead owner leaves nothing to repair, because each entry changes by one
    /// store.
    fn lock(&self, me: Stamp) {
        self.table.guard.lock(me, self.family);
    }

    fn entries(&self) -> impl Iterator<Item = &'a WaitEntry> {
        let pages = self.table.more.iter(self.family);
        std::iter::once(&self.table.first)
            .chain(pages)
            .flat_map(|page| page.entries.iter())
    }
}

impl WaitEntry {
    /// Returns the futex that the owner parks on; it is no longer [`WAITING`] once the owner was
    /// notified.
    pub(crate) fn futex(&self) -> &Half {
        low_half(&self.word)
    }

    /// Tells whether its owner was notified.
    pub(crate) fn is_notified(&self) -> bool {
        self.state() == NOTIFIED
    }

    fn state(&self) -> u32 {
        self.word.load(Ordering::Acquire) as u32
    }

    /// Marks the owner as notified, if it still waits.
    fn call(&self) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        // Release: what the notifier did before is seen by the notified.
        word as u32 == WAITING
            && self
                .word
                .compare_exchange(
                    word,
                    pack(owner_of(word), NOTIFIED),
                    Ordering::Release,
                    Ordering::Relaxed,
                )
                .is_ok()
    }

    /// Gives the entry up if `me` was notified; tells whether it was.
    pub(crate) fn leave_if_notified(&self, me: Stamp) -> bool {
        // Acquire pairs with the Release in `call`.
        self.leave_from(me, NOTIFIED)
    }

    /// Gives the entry up if `me` was not notified; tells whether it did.
    pub(crate) fn leave_if_waiting(&self, me: Stamp) -> bool {
        self.leave_from(me, WAITING)
    }

    fn leave_from(&self, me: Stamp, state: u32) -> bool {
        self.word
            .compare_exchange(pack(me, state), 0, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

fn pack(owner: Stamp, state: u32) -> u64 {
    u64::from(owner.raw()) << 32 | u64::from(state)
}

fn owner_of(word: u64) -> Stamp {
    Stamp::from_raw((word >> 32) as u32)
}
