//! Blocks that carry loans: messages with handles in them, on their way to whoever
//! reads them.
//!
//! # Protocol
//! A handle in a message keeps its object alive by a count in the object's header.
//! Nobody knows who will read the message of a queue, nor whether anybody will. But its
//! block always has exactly one owner: the sender, the queue, the receiver. The same goes
//! for messages of pipes and for results. So the block itself lists what was lent with
//! it, and whoever frees it, be it the burial of its owner or the end of the queue, gives
//! back what is still on the list.
//!
//! The list stands at the block's end, last entry first, and its length behind it. A
//! bit of the block's word says that there is one.
//!
//! | who | steps, in this order |
//! |--|--|
//! | sender, who is attached | count the entry in the object's `listed`, write it, count it in the list |
//! | who attaches while it reads the message | attach, empty the entry, count it no more |
//! | who frees the block | hold the object, take the entry off the list, count it no more, let go |
//! | who has read all else | count a lend of nobody's list, empty the entry, count it no more |
//!
//! The last is for what a reader has read without error and not attached to: that may be
//! bytes that it means to look at later, and stays lent when the block goes.
//!
//! *Recounting.* A kill between two of these steps leaves `listed` too high, never too
//! low. The lists are the truth, so each burial looks for objects that nothing but
//! `listed` keeps, and compares it with the entries that there are. Where there are fewer
//! it holds the object and looks once more, at the cells, at all lists and then at the
//! other lends. Meanwhile there can be no new entry, as only who is attached writes one
//! and nobody attaches to what another holds; no entry can go unnoticed, as who attached
//! before has a cell, who frees a block waits, and who leaves an entry to later has
//! counted a lend before. If there are still fewer, `listed` becomes what they are, unless
//! it has changed. An object that somebody is attached to is left to a later burial.
//!
//! # Safety
//! The words of a list are views of arena memory inside a block that the caller owns.

#![expect(unsafe_code, reason = "views of a block's words")]

use std::collections::HashMap;

use crate::arena::block::Block;
use crate::arena::family::Family;
use crate::arena::object::{Handle, View};
use crate::error::Result;
use crate::primitive::{AtomicU64, Ordering};

/// Bytes of the list's length.
const LENGTH: u64 = 8;

/// Bytes of an entry: offset and serial.
const ENTRY: u64 = 16;

/// Returns how many bytes a block needs for a message of `len` bytes with `count` loans.
pub fn room(len: u64, count: usize) -> u64 {
    len.next_multiple_of(LENGTH) + LENGTH + ENTRY * count as u64
}

/// Looks at the list of a block.
#[derive(Clone, Copy, Debug)]
pub struct List<'a> {
    family: &'a Family,
    offset: u64,
    capacity: u64,
}

impl<'a> List<'a> {
    /// Returns the list of a block that carries loans.
    pub fn of(family: &'a Family, block: &Block) -> Option<Self> {
        family
            .carries(block.offset())
            .then(|| Self::at(family, block.offset(), block.capacity()))
    }

    /// Begins an empty list in a block of ours, which has room for it.
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

    /// Adds a handle that is counted already.
    pub fn add(self, handle: Handle) {
        let length = self.length().load(Ordering::Relaxed);
        let [offset, serial] = self.entry(length);
        offset.store(handle.offset, Ordering::Relaxed);
        serial.store(handle.serial, Ordering::Relaxed);
        self.length().store(length + 1, Ordering::Release);
    }

    /// Empties an entry of a handle, if there is one, and counts it no more; tells
    /// whether there was one. For who is attached to the object.
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

    /// Leaves what is left on the list to whoever comes with its handle.
    pub fn leave(self) {
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
            // Acquire: who finds an entry emptied finds what was done before.
            serial: serial.load(Ordering::Acquire),
        }
    }

    /// Returns the object of an entry, which keeps it alive. If it is not there, it was
    /// not listed.
    fn object(self, handle: Handle) -> Option<View<'a>> {
        let is_there = handle.serial != 0 && self.family.is_object(handle.offset);
        let object = is_there.then(|| View::new(self.family, handle.offset));
        object.filter(|object| object.handle() == handle)
    }

    /// Returns the length, as far as there is room for so many.
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

/// Copies a message to a block that has room for `count` loans, unless its own has.
pub fn with_room(block: Block, len: u64, count: usize) -> Result<Block> {
    let needed = room(len, count);
    if block.capacity() >= needed {
        return Ok(block);
    }
    let mut larger = Block::new(needed)?;
    let len = len as usize;
    larger[..len].copy_from_slice(&block[..len]);
    Ok(larger)
}

/// Gives back what a block of ours still carries; it is about to be freed.
pub fn give_back(family: &Family, offset: u64, capacity: u64) {
    let list = List::at(family, offset, capacity);
    for index in (0..list.len()).rev() {
        let handle = list.handle(index);
        // Release: off the list before it is counted no more.
        let take_off = || list.length().store(index, Ordering::Release);
        match list.object(handle) {
            Some(object) => object.unlist_held(handle, take_off),
            None => take_off(),
        }
    }
}

/// Sets right what kills between two steps have left too high, and destroys what nothing
/// else kept; see "Recounting".
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
        let list = List::at(family, offset, capacity);
        (0..list.len()).for_each(|index| visit(list.handle(index)));
    });
}

fn word(family: &Family, offset: u64) -> &AtomicU64 {
    let at = family.pointer(offset, 8).cast::<AtomicU64>();
    // SAFETY: inside a block, whose offset and capacity are multiples of 64, at a
    // multiple of eight from its end; only this file writes there.
    unsafe { at.as_ref() }
}
