//! Blocks that carry loans: messages with handles in them, on their way to whoever
//! reads them.
//!
//! # Protocol
//! A handle in a message keeps its object alive by a count in the object's header, its
//! lends. Nobody knows who will read the message of a queue, nor whether anybody will.
//! But its block always has exactly one owner: the sender, the queue, the receiver. The
//! same goes for messages of pipes and for results. So the block itself lists what was
//! lent with it, and whoever frees it, be it the burial of its owner or the end of the
//! queue, gives back what is still on the list.
//!
//! The list stands at the block's end, last entry first, and its length behind it. A
//! bit of the block's word says that there is one.
//!
//! | who | steps, in this order |
//! |--|--|
//! | sender | count a lend, write the entry, count the entry |
//! | who attaches while it reads the message | empty the entry, take the lend back |
//! | who frees the block | take the entry off the list, take the lend back |
//!
//! A kill between two of these steps leaves a lend that nobody gives back: the object
//! then lives as long as the family, late, never early. They are neighbouring
//! instructions; between the messages of a sender and a receiver there may be hours.
//!
//! What a reader has read without error and not attached to may be bytes that it means
//! to look at later: that stays lent when the block goes.
//!
//! # Safety
//! The words of a list are views of arena memory inside a block that the caller owns.

#![expect(unsafe_code, reason = "views of a block's words")]

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

    /// Adds a handle that was lent for it.
    pub fn add(self, handle: Handle) {
        let length = self.length().load(Ordering::Relaxed);
        let [offset, serial] = self.entry(length);
        offset.store(handle.offset, Ordering::Relaxed);
        serial.store(handle.serial, Ordering::Relaxed);
        self.length().store(length + 1, Ordering::Release);
    }

    /// Empties an entry of a handle, if there is one: its lend is the caller's.
    pub fn take(self, handle: Handle) {
        for index in 0..self.len() {
            let [_, serial] = self.entry(index);
            if serial.load(Ordering::Relaxed) == handle.serial {
                serial.store(0, Ordering::Release);
                return;
            }
        }
    }

    /// Forgets what is left: it stays lent.
    pub fn leave(self) {
        self.length().store(0, Ordering::Release);
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
        let [offset, serial] = list.entry(index);
        let handle = Handle {
            offset: offset.load(Ordering::Relaxed),
            serial: serial.load(Ordering::Relaxed),
        };
        // Release: off the list before the lend is taken back.
        list.length().store(index, Ordering::Release);
        // Its lend keeps the object alive: if it is not there, nothing was lent.
        let is_there = handle.serial != 0
            && family.is_object(handle.offset)
            && View::new(family, handle.offset).handle() == handle;
        if is_there {
            View::new(family, handle.offset).take_lend_back();
        }
    }
}

fn word(family: &Family, offset: u64) -> &AtomicU64 {
    let at = family.pointer(offset, 8).cast::<AtomicU64>();
    // SAFETY: inside a block, whose offset and capacity are multiples of 64, at a
    // multiple of eight from its end; only this file writes there.
    unsafe { at.as_ref() }
}
