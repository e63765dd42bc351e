//! The permits of a semaphore, where they lie in the arena.
//!
//! `holders.rs` counts them; `sync/semaphore.rs` is what callers see.
//!
//! # Safety
//! The table of holders lies right behind the words, in the same block, and is
//! made of atomics; its length is written before anybody else knows the handle.

#![expect(unsafe_code, reason = "a table whose length is chosen at run time")]

use std::ops::Deref;

use crate::sync::notify::NotifyList;
use crate::sync::semaphore::holders::{HolderTable, SemaphoreWords, places};
use procession_shm::{BodyView, Family, ObjectKind, SharedBody, Stamp};
use procession_sys::primitive::AtomicU64;

/// What a semaphore keeps in the arena, in front of its table.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct SemaphoreLayout {
    pub(crate) words: SemaphoreWords,
    /// The processes that wait for a permit by descriptor.
    pub(crate) awaiting: NotifyList,
}

/// The words with the table, and the semaphore that they belong to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Permits<'a> {
    family: &'a Family,
    table: HolderTable<'a>,
}

/// Returns the bytes that the table of `value` permits takes.
pub(crate) fn table_len(value: u32) -> u64 {
    u64::from(places(value)) * size_of::<AtomicU64>() as u64
}

// SAFETY: a lock word and atomics, in the order of C.
unsafe impl SharedBody for SemaphoreLayout {
    const KIND: ObjectKind = ObjectKind::Semaphore;

    fn recover(view: BodyView<'_, Self>, dead: Stamp) {
        let (awaiting, family) = (&view.body().awaiting, view.family());
        Permits::of(view).reclaim(family.me(), dead);
        // After the permits have come back.
        awaiting.forget_and_ring(family, dead);
    }

    fn destroy(view: BodyView<'_, Self>) {
        view.body().awaiting.destroy(view.family());
    }
}

impl<'a> Permits<'a> {
    pub(crate) fn of(view: BodyView<'a, SemaphoreLayout>) -> Self {
        let body = &view.body().words;
        let places = body.places() as usize;
        let first = view
            .behind(0, (places * size_of::<AtomicU64>()) as u64)
            .cast::<AtomicU64>();
        // SAFETY: `create` made the block this long; the offset is a multiple
        // of 8 because the words' size is; the arena is never unmapped.
        let holders = unsafe { std::slice::from_raw_parts(first.as_ptr(), places) };
        let family = view.family();
        let table = HolderTable {
            body,
            holders,
            family,
        };
        Self { family, table }
    }

    /// Reclaims holders that have died; tells whether there were any.
    pub(crate) fn reclaim_holders(&self, me: Stamp) -> bool {
        let mut any = false;
        for holder in self.table.holding() {
            if holder != me && self.family.is_dead(holder) {
                self.family.reclaim(holder);
                any = true;
            }
        }
        any
    }

    #[cfg(test)]
    pub(crate) fn table(&self) -> HolderTable<'a> {
        self.table
    }
}

impl<'a> Deref for Permits<'a> {
    type Target = HolderTable<'a>;

    fn deref(&self) -> &HolderTable<'a> {
        &self.table
    }
}
