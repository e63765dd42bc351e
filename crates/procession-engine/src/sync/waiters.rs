//! The table of those who wait for a condition: who came when, who was called.
//!
//! `README.md` beside this file tells how it stays sound; `condition.rs` is
//! what callers see.
//!
//! # Safety
//! A page is only reached through a link, which is set to a block of that size
//! after it was zeroed, and which stands until the object is destroyed. Pages
//! are made of atomics.

#![expect(unsafe_code, reason = "typed views of pages in the arena")]

use crate::arena::low_half::low_half;
use crate::arena::{Family, RawLock, Stamp, View};
use crate::error::Result;
use crate::primitive::{AtomicU64, Half, Ordering, futex_wake};

/// Entries of a page; it then fills half a KiB.
const ENTRIES: usize = 31;

/// State of an entry whose owner waits.
pub(super) const WAITING: u32 = 1;
/// State of an entry whose owner was notified and has not noticed yet.
const NOTIFIED: u32 = 2;

/// One who waits.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Entry {
    /// State (low half, which its owner parks on) and owner (high half); 0
    /// while nobody has the entry.
    word: AtomicU64,
    /// When it came, counted from the condition's beginning.
    ticket: AtomicU64,
}

#[repr(C)]
#[derive(Debug)]
struct Page {
    /// Where the next page lies; 0 on the last.
    next: AtomicU64,
    entries: [Entry; ENTRIES],
}

/// The table, as the condition's body.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Table {
    guard: RawLock,
    /// Tickets drawn so far.
    tickets: AtomicU64,
    first: Page,
}

/// The table and the family it is in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiters<'a> {
    family: &'a Family,
    table: &'a Table,
}

impl<'a> Waiters<'a> {
    pub(super) fn of(view: View<'a>) -> Self {
        Self {
            family: view.family(),
            table: view.body(),
        }
    }

    /// Gives `me` an entry at the end of the line.
    pub(super) fn enlist(&self, me: Stamp) -> Result<&'a Entry> {
        loop {
            self.lock(me);
            let free = self
                .entries()
                .find(|entry| entry.word.load(Ordering::Relaxed) == 0);
            if let Some(entry) = free {
                let ticket = self.table.tickets.load(Ordering::Relaxed);
                self.table.tickets.store(ticket + 1, Ordering::Relaxed);
                entry.ticket.store(ticket, Ordering::Relaxed);
                // Release: whoever sees it taken sees its ticket.
                entry.word.store(pack(me, WAITING), Ordering::Release);
            }
            self.table.guard.unlock();
            match free {
                Some(entry) => return Ok(entry),
                None => self.add_page(me)?,
            }
        }
    }

    /// Links another page to the last. Not under the guard; see README.md.
    fn add_page(&self, me: Stamp) -> Result<()> {
        let mut block = self.family.alloc(size_of::<Page>() as u64)?;
        block.fill(0);
        self.lock(me);
        // Others may have added one in the meantime; then this is the second.
        // Release: whoever follows the link sees the page zeroed.
        self.last_link().store(block.offset(), Ordering::Release);
        self.table.guard.unlock();
        // Killed before this line, we leave a linked page that is ours; see
        // `disown_pages_of`.
        block.disown()?;
        Ok(())
    }

    /// Notifies those `most` who came first, and returns how many there were.
    pub(super) fn notify(&self, me: Stamp, most: usize) -> usize {
        self.lock(me);
        let called = self.call(most);
        self.table.guard.unlock();
        for entry in &called {
            futex_wake(entry.futex(), 1);
        }
        called.len()
    }

    /// Returns how many wait and were not notified yet.
    pub(super) fn count(&self) -> usize {
        self.entries()
            .filter(|entry| entry.state() == WAITING)
            .count()
    }

    /// Marks entries as notified. Under the guard.
    fn call(&self, most: usize) -> Vec<&'a Entry> {
        let mut waiting: Vec<&Entry> = self
            .entries()
            .filter(|entry| entry.state() == WAITING)
            .collect();
        waiting.sort_unstable_by_key(|entry| entry.ticket.load(Ordering::Relaxed));
        // One that gives up in this instant is not called, but the next.
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

    /// Buries those who were notified and died before they noticed, which
    /// passes their notifications on.
    pub(super) fn bury_notified(&self) {
        for entry in self.entries() {
            let word = entry.word.load(Ordering::Acquire);
            let owner = owner_of(word);
            if word as u32 == NOTIFIED && self.family.is_dead(owner) {
                self.family.bury(owner);
            }
        }
    }

    /// Empties the entries of a dead member, and passes on what it had been
    /// notified of and not noticed.
    pub(super) fn bury(&self, dead: Stamp) {
        self.disown_pages_of(dead);
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
        // The dead member may have marked some and woken nobody; cheap to do
        // for all, as few are marked at a time.
        for entry in self.entries().filter(|entry| entry.state() == NOTIFIED) {
            futex_wake(entry.futex(), 1);
        }
    }

    /// Frees the pages, when nobody uses the condition any more.
    pub(super) fn destroy(&self) {
        let me = self.family.me();
        let head = &self.table.first.next;
        loop {
            let offset = head.load(Ordering::Acquire);
            if offset == 0 {
                return;
            }
            // First ours, then unlinked, then freed: killed in between, we
            // leave a page that is linked (and is disowned again by `bury`) or
            // that burial frees with all else we owned.
            let _ = self.family.change_owner(offset, Stamp::NOBODY, me);
            let next = self.page(offset).next.load(Ordering::Acquire);
            head.store(next, Ordering::Release);
            self.family.free(offset);
        }
    }

    /// Makes linked pages the family's that a dead member linked, or was about
    /// to unlink.
    fn disown_pages_of(&self, dead: Stamp) {
        let mut offset = self.table.first.next.load(Ordering::Acquire);
        while offset != 0 {
            let _ = self.family.change_owner(offset, dead, Stamp::NOBODY);
            offset = self.page(offset).next.load(Ordering::Acquire);
        }
    }

    /// Takes the guard. There is nothing to set right after a dead owner: each
    /// entry changes by one store.
    fn lock(&self, me: Stamp) {
        self.table.guard.lock(me, self.family);
    }

    fn entries(&self) -> impl Iterator<Item = &'a Entry> {
        self.pages().flat_map(|page| page.entries.iter())
    }

    fn last_link(&self) -> &'a AtomicU64 {
        let last = self.pages().last();
        &last.unwrap_or(&self.table.first).next
    }

    fn pages(&self) -> impl Iterator<Item = &'a Page> {
        let this = *self;
        std::iter::successors(Some(&this.table.first), move |page| {
            // Acquire pairs with the Release in `add_page`.
            let next = page.next.load(Ordering::Acquire);
            (next != 0).then(|| this.page(next))
        })
    }

    fn page(&self, offset: u64) -> &'a Page {
        let at = self.family.pointer(offset, size_of::<Page>() as u64);
        // SAFETY: a linked page; see the head of this file. Blocks of this
        // size are aligned to 64 bytes and more.
        unsafe { at.cast::<Page>().as_ref() }
    }
}

impl Entry {
    /// Returns what its owner parks on: no longer [`WAITING`] when notified.
    pub(super) fn futex(&self) -> &Half {
        low_half(&self.word)
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
    pub(super) fn leave_if_notified(&self, me: Stamp) -> bool {
        // Acquire pairs with the Release in `call`.
        self.leave_from(me, NOTIFIED)
    }

    /// Gives the entry up if `me` was not notified; tells whether it did.
    pub(super) fn leave_if_waiting(&self, me: Stamp) -> bool {
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

/// Bytes of the condition's body.
pub(super) const LEN: u64 = size_of::<Table>() as u64;
