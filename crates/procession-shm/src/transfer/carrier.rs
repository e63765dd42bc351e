//! Carriers: blocks that hold a message and list the handles in it.
//!
//! # Protocol
//! A handle in a message keeps its object alive by a count in the object's header.
//! When a message is put into a queue, nobody knows which member will read it, or whether
//! any member will. But the message's block always has exactly one owner: first the sender,
//! then the queue, then the receiver. The same holds for messages of pipes, for results, and
//! for what a process is started with.
//! So the block itself lists the handles. When the block is freed, by its owner, by the
//! reclaim of its owner, or with the queue, the objects that are still on the list are
//! released.
//!
//! The list is at the block's end: the last entry first, the length behind all entries. A
//! bit of the block's state word says that the block has a list.
//!
//! | member | its steps, in this order |
//! |--|--|
//! | the sender, which is attached | raise the object's `listed`, write the entry, raise the list's length |
//! | a reader that attaches to the object | attach, empty the entry, lower `listed` |
//! | the member that frees the block | hold the object, take the entry off the list, lower `listed`, release the object |
//! | a reader that has not attached | raise the object's `lends`, empty the entry, lower `listed` |
//!
//! The last row is for handles in a message that was read without error, but to which the
//! reader did not attach: it may have kept their bytes for later. They stay lent when
//! the block is freed.
//!
//! *Recounting.* A kill between two of these steps leaves `listed` too high, never too
//! low; the lists themselves are right. So each reclaim looks for objects that are kept
//! alive by nothing but `listed`, and counts the entries for them in all lists. If there are
//! fewer entries than `listed` says, reclaim holds the object and looks once more: at the
//! cells, then at all lists, then at `lends`. Meanwhile no new entry can appear, because only
//! an attached member writes one, and nobody can attach while another member holds the
//! object. And no entry can vanish without a trace: a reader that attached before has a
//! cell, a member that frees a block waits for the hold, and a reader that empties an entry
//! without attaching has raised `lends` before. If there are still fewer entries, `listed` is
//! set to their number, unless it has changed. Objects to which somebody is attached are
//! left to a later reclaim.
//!
//! # Safety
//! The words of a list are views of arena memory inside a block that the caller owns.

#![expect(unsafe_code, reason = "views of a block's words")]

use std::collections::HashMap;

use crate::alloc::block::Block;
use crate::family::Family;
use crate::object::shared::{Handle, View};
use procession_sys::error::Result;
use procession_sys::primitive::{AtomicU64, Ordering};

/// Bytes of the list's length.
const LENGTH: u64 = 8;

/// Bytes of an entry: offset and serial.
const ENTRY: u64 = 16;

/// Returns how many bytes a block needs for a message of `len` bytes with `count` loans.
pub fn room(len: u64, count: usize) -> u64 {
    len.next_multiple_of(LENGTH) + LENGTH + ENTRY * count as u64
}

/// Gives access to the list of handles in a block.
#[derive(Clone, Copy, Debug)]
pub struct LoanList<'a> {
    family: &'a Family,
    offset: u64,
    capacity: u64,
}

impl<'a> LoanList<'a> {
    /// Returns the list of a block that carries loans.
    pub fn of(family: &'a Family, block: &Block) -> Option<Self> {
        family
            .carries(block.offset())
            .then(|| Self::at(family, block.offset(), block.capacity()))
    }

    /// Begins an empty list in a block that this process owns, and that has room for it.
    pub fn begin(family: &'a Family, block: &Block) -> Self {
        let this = Self::at(family, block.offset(), block.capacity());
        this.length().store(0, Ordering::Relaxed);
        family.mark_carrying(block.offset());
        this
    }

    fn at(family: &'a Family, offset: u64, capacity: u64) -> Self {
        Self {
            family,
            offset,
            capacity,
        }
    }

    /// Adds a handle, after the object's `listed` was raised for it.
    pub fn add(self, handle: Handle) {
        let length = self.length().load(Ordering::Relaxed);
        let [offset, serial] = self.entry(length);
        offset.store(handle.offset, Ordering::Relaxed);
        serial.store(handle.serial, Ordering::Relaxed);
        self.length().store(length + 1, Ordering::Release);
    }

    /// Empties an entry of a handle and lowers the object's `listed`; tells whether there was
    /// such an entry. The caller is attached to the object.
    pub fn take(self, handle: Handle) -> bool {
        for index in 0..self.len() {
            let [_, serial] = self.entry(index);
            if serial.load(Ordering::Relaxed) == handle.serial {
                serial.store(0, Ordering::Release);
                View::new(self.family, handle.offset).unlist();
                return true;
            }
        }
        false
    }

    /// Replaces all entries by lends, which last until somebody attaches with the handle.
    pub fn untrack(self) {
        for index in 0..self.len() {
            let handle = self.handle(index);
            if let Some(object) = self.object(handle) {
                let [_, serial] = self.entry(index);
                object.count_lend();
                serial.store(0, Ordering::Release);
                object.unlist();
            }
        }
        self.length().store(0, Ordering::Release);
    }

    fn handle(self, index: u64) -> Handle {
        let [offset, serial] = self.entry(index);
        Handle {
            offset: offset.load(Ordering::Relaxed),
            // Acquire pairs with the Release that empties an entry: a member that finds it
            // empty also finds the attachment or the lend that came before.
            serial: serial.load(Ordering::Acquire),
        }
    }

    /// Returns the object of an entry, which keeps it alive; `None` for an emptied entry, or
    /// one whose object is gone.
    fn object(self, handle: Handle) -> Option<View<'a>> {
        let is_there = handle.serial != 0 && self.family.is_object(handle.offset);
        let object = is_there.then(|| View::new(self.family, handle.offset));
        object.filter(|object| object.handle() == handle)
    }

    /// Returns the length, but no more than the block has room for.
    fn len(self) -> u64 {
        let most = self.capacity.saturating_sub(LENGTH) / ENTRY;
        self.length().load(Ordering::Acquire).min(most)
    }

    fn length(self) -> &'a AtomicU64 {
        word(self.family, self.offset + self.capacity - LENGTH)
    }

    fn entry(self, index: u64) -> [&'a AtomicU64; 2] {
        let at = self.offset + self.capacity - LENGTH - ENTRY * (index + 1);
        [word(self.family, at), word(self.family, at + 8)]
    }
}

/// Returns a block with the message and room for `count` loans: the same block if it has
/// the room, else a larger copy.
pub fn with_room(block: Block, len: u64, count: usize) -> Result<Block> {
    let needed = room(len, count);
    if block.capacity() >= needed {
        return Ok(block);
    }
    let mut larger = Family::current()?.alloc(needed)?;
    let len = len as usize;
    larger[..len].copy_from_slice(&block[..len]);
    Ok(larger)
}

/// Releases the objects that are still on the list of a block, which the caller owns and is
/// about to free.
pub fn give_back(family: &Family, offset: u64, capacity: u64) {
    let list = LoanList::at(family, offset, capacity);
    for index in (0..list.len()).rev() {
        let handle = list.handle(index);
        // Release: the entry is off the list before `listed` is lowered.
        let take_off = || list.length().store(index, Ordering::Release);
        match list.object(handle) {
            Some(object) => object.unlist_held(handle, take_off),
            None => take_off(),
        }
    }
}

/// Corrects `listed` where kills between two steps have left it too high, and destroys the
/// objects that nothing else keeps alive; see "Recounting".
pub fn recount(family: &Family) {
    let mut suspects = Vec::new();
    family.for_each_object(|object| {
        if object.lives_by_lists() {
            suspects.push((object.handle(), object.listed()));
        }
    });
    if suspects.is_empty() {
        return;
    }
    let mut entries: HashMap<Handle, u32> = HashMap::new();
    for_each_entry(family, |handle| *entries.entry(handle).or_default() += 1);
    for (handle, listed) in suspects {
        if listed > entries.get(&handle).copied().unwrap_or(0) {
            View::new(family, handle.offset).recount(handle);
        }
    }
}

/// Returns how many entries there are of a handle.
pub fn count_entries(family: &Family, handle: Handle) -> u32 {
    let mut count = 0;
    for_each_entry(family, |entry| count += u32::from(entry == handle));
    count
}

fn for_each_entry(family: &Family, mut visit: impl FnMut(Handle)) {
    family.for_each_carrying(|offset, capacity| {
        let list = LoanList::at(family, offset, capacity);
        (0..list.len()).for_each(|index| visit(list.handle(index)));
    });
}

fn word(family: &Family, offset: u64) -> &AtomicU64 {
    let at = family.pointer(offset, 8).cast::<AtomicU64>();
    // SAFETY: the word is inside a block, whose offset and capacity are multiples of 64, and a
    // multiple of eight bytes before its end; only this file writes there.
    unsafe { at.as_ref() }
}
