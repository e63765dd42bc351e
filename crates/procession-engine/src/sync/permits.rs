//! The permits of a semaphore, where they lie in the arena.
//!
//! `permit_table.rs` counts them; `semaphore.rs` is what callers see.
//!
//! # Safety
//! The table of holders lies right behind the words, in the same block, and is
//! made of atomics; its length is written before anybody else knows the handle.

#![expect(unsafe_code, reason = "a table whose length is chosen at run time")]

use std::ops::Deref;

use crate::arena::{Family, Hooks, Object, Stamp, View};
use crate::primitive::AtomicU64;
use crate::sync::permit_table::{Table, Words, places};

/// The words with the table, and whose they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inner<'a> {
    family: &'a Family,
    table: Table<'a>,
}

/// Returns the bytes that the words and the table of `value` permits take.
pub(super) fn len(value: u32) -> u64 {
    size_of::<Words>() as u64 + u64::from(places(value)) * size_of::<AtomicU64>() as u64
}

/// Fills in a new semaphore.
pub(super) fn init(object: &Object, value: u32, bound: u32) {
    object.body::<Words>().init(value, bound);
}

impl<'a> Inner<'a> {
    pub(super) fn of(view: View<'a>) -> Self {
        let body = view.body::<Words>();
        let places = body.places() as usize;
        let at = view.body_offset() + size_of::<Words>() as u64;
        let first = view
            .family()
            .pointer(at, (places * size_of::<AtomicU64>()) as u64)
            .cast::<AtomicU64>();
        // SAFETY: `create` made the block this long; the offset is a multiple
        // of 8 because the words' size is; the arena is never unmapped.
        let holders = unsafe { std::slice::from_raw_parts(first.as_ptr(), places) };
        let family = view.family();
        let table = Table {
            body,
            holders,
            family,
        };
        Self { family, table }
    }

    /// Buries holders that have died; tells whether there were any.
    pub(super) fn bury_holders(&self, me: Stamp) -> bool {
        let mut any = false;
        for holder in self.table.holding() {
            if holder != me && self.family.is_dead(holder) {
                self.family.bury(holder);
                any = true;
            }
        }
        any
    }

    #[cfg(test)]
    pub(super) fn table(&self) -> Table<'a> {
        self.table
    }
}

impl<'a> Deref for Inner<'a> {
    type Target = Table<'a>;

    fn deref(&self) -> &Table<'a> {
        &self.table
    }
}

pub(crate) const HOOKS: Hooks = Hooks {
    on_death: |view, dead| Inner::of(view).bury(view.family().me(), dead),
    on_destroy: |_| {},
};
