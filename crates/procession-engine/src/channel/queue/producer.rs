//! The end of a queue where items go in.

use crate::channel::queue::commit::{Commit, Cursor};
use crate::channel::queue::segment;
use crate::channel::queue::undo::UndoRecord;
use procession_shm::{Acquired, Block, Family, RawLock, Stamp};
use procession_sys::error::Result;
use procession_sys::primitive::{AtomicU32, AtomicU64, Ordering};

/// The words that a putter changes, under its guard: one cache line, and the undo
/// record.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct ProducerState {
    guard: RawLock,
    /// 1 once nothing may be put any more.
    closed: AtomicU32,
    published: Commit,
    /// Items taken out, as of the last look.
    seen: AtomicU64,
    intent: UndoRecord,
}

/// A message on its way in.
#[derive(Debug)]
pub enum Item<'a> {
    /// Bytes to be copied into the segment, and how many there are.
    Inline(&'a [&'a [u8]], usize),
    /// A block of ours, and how many of its bytes are the message.
    Apart(&'a Block, u64),
}

/// Says what became of an attempt to put.
#[derive(Debug)]
pub enum Put {
    /// The item is in.
    Done,
    /// The queue has as many items as it may have.
    Full,
    /// The queue was closed.
    Closed,
    /// The caller must allocate a segment of this size and try again. It must not
    /// allocate under the guard, since a full arena makes the allocator reclaim, and
    /// reclaim takes guards.
    NeedsSegment(u64),
}

/// Holds the guard.
#[derive(Debug)]
pub struct ProducerGuard<'a> {
    tail: &'a ProducerState,
    family: &'a Family,
    /// Blocks that the dead holder would have lost; freed after the guard is given up.
    _lost: [Option<Block>; 2],
}

impl ProducerState {
    /// Sets up the words, which are zero; the segment is still the caller's own.
    pub fn begin(&self, segment: u64, capacity: u64) {
        self.intent.clear();
        self.published.begin(Cursor {
            segment,
            position: 0,
            capacity,
        });
    }

    /// Returns how many items have ever been put.
    pub fn count(&self) -> u64 {
        self.published.count()
    }

    /// Tells whether nothing may be put any more.
    pub fn is_closed(&self) -> bool {
        // Acquire pairs with the Release in `close`: the count is final.
        self.closed.load(Ordering::Acquire) != 0
    }

    /// Takes the guard, and repairs the change that a dead holder had begun.
    pub fn lock<'a>(&'a self, family: &'a Family) -> ProducerGuard<'a> {
        let lost = match self.guard.lock(family.me(), family) {
            Acquired::FromDead(_) => self.intent.undo_moving_in(self.published.word()),
            _ => [None, None],
        };
        ProducerGuard {
            tail: self,
            family,
            _lost: lost,
        }
    }
}

impl ProducerGuard<'_> {
    /// Closes the queue: it takes no more items.
    pub fn close(&self) {
        self.tail.closed.store(1, Ordering::Release);
    }

    /// Puts one item in, if the queue takes it. Takes `segment` if the item needs one.
    ///
    /// # Errors
    /// `Stale` when the payload's block is not this process's.
    pub fn put(
        &self,
        payload: &Item<'_>,
        segment: &mut Option<Block>,
        limit: u64,
        taken: impl Fn() -> u64,
    ) -> Result<Put> {
        let tail = self.tail;
        if tail.closed.load(Ordering::Relaxed) != 0 {
            return Ok(Put::Closed);
        }
        let count = tail.published.count();
        if limit != 0 && count - tail.seen.load(Ordering::Relaxed) >= limit {
            let taken = taken();
            tail.seen.store(taken, Ordering::Relaxed);
            if count - taken >= limit {
                return Ok(Put::Full);
            }
        }
        let here = tail.published.place();
        let size = match payload {
            Item::Inline(_, len) => segment::inline_size(*len),
            Item::Apart(..) => segment::APART,
        };
        if here.position + size + segment::NEXT <= here.capacity {
            return self.put_at(here, size, payload, None);
        }
        let Some(block) = segment.take() else {
            return Ok(Put::NeedsSegment(segment::size_for(count - taken())));
        };
        let next = Cursor {
            segment: block.offset(),
            position: 0,
            capacity: block.capacity(),
        };
        segment::write_next(self.family, here.offset(), next.segment);
        self.put_at(next, size, payload, Some(block))
    }

    fn put_at(
        &self,
        at: Cursor,
        size: u64,
        payload: &Item<'_>,
        segment: Option<Block>,
    ) -> Result<Put> {
        let (tail, family) = (self.tail, self.family);
        let moved = match *payload {
            Item::Inline(parts, len) => {
                segment::write_inline(family, at.offset(), parts, len);
                0
            }
            Item::Apart(block, len) => {
                segment::write_apart(family, at.offset(), block.offset(), len);
                block.offset()
            }
        };
        if moved != 0 || segment.is_some() {
            let blocks = [moved, segment.as_ref().map_or(0, Block::offset)];
            tail.intent.note(tail.published.word(), family.me(), blocks);
            if let Err(error) = self.move_in(moved, segment) {
                tail.intent.clear();
                return Err(error);
            }
        }
        let position = at.position + size;
        tail.published.advance(1, Cursor { position, ..at });
        Ok(Put::Done)
    }

    /// Makes the blocks of an item the family's.
    fn move_in(&self, moved: u64, segment: Option<Block>) -> Result<()> {
        if moved != 0 {
            // The caller forgets its block once it learns that the item is in.
            let me = self.family.me();
            self.family.change_owner(moved, me, Stamp::NOBODY)?;
        }
        if let Some(segment) = segment {
            segment.disown()?;
        }
        Ok(())
    }
}

impl Drop for ProducerGuard<'_> {
    fn drop(&mut self) {
        self.tail.guard.unlock();
    }
}
