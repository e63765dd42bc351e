//! The end of a queue where items come out.

use crate::channel::message::Message;
use crate::channel::queue::commit::{Commit, Cursor};
use crate::channel::queue::segment::{self, Record};
use crate::channel::queue::undo::UndoRecord;
use procession_shm::{Acquired, Block, Family, RawLock, Stamp};
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::primitive::{AtomicU32, AtomicU64, Ordering};

/// The words that a getter changes, under its guard: one cache line, and the undo
/// record.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct ConsumerState {
    guard: RawLock,
    spare: AtomicU32,
    published: Commit,
    /// Items put in, as of the last look.
    seen: AtomicU64,
    /// One more than the count of items from which on the queue gives out no more; 0 while there is
    /// no such count.
    cut: AtomicU64,
    intent: UndoRecord,
}

/// Holds the guard.
#[derive(Debug)]
pub struct ConsumerGuard<'a> {
    head: &'a ConsumerState,
    family: &'a Family,
}

impl ConsumerState {
    /// Sets up the words, which are zero.
    pub fn begin(&self, segment: u64) {
        self.intent.clear();
        self.published.begin(Cursor {
            segment,
            ..Cursor::default()
        });
    }

    /// Returns how many items have ever been taken out.
    pub fn count(&self) -> u64 {
        self.published.count()
    }

    /// Returns how many items were taken out before the rest was thrown away, if it was.
    pub fn cut(&self) -> Option<u64> {
        // Acquire pairs with the Release in `cut` of the guard: the count of the tail is final.
        self.cut.load(Ordering::Acquire).checked_sub(1)
    }

    /// Takes the guard, and repairs the change that a dead holder had begun.
    pub fn lock<'a>(&'a self, family: &'a Family) -> ConsumerGuard<'a> {
        if let Acquired::FromDead(_) = self.guard.lock(family.me(), family) {
            self.intent.undo_moving_out(family, self.published.word());
        }
        ConsumerGuard { head: self, family }
    }
}

impl ConsumerGuard<'_> {
    /// Throws the items away: nobody gets them from here on. The queue must be closed.
    pub fn cut(&self) {
        if self.head.cut().is_none() {
            let count = self.head.published.count();
            self.head.cut.store(count + 1, Ordering::Release);
        }
    }

    /// Takes one item out, if there is one. If this empties a segment, the segment is
    /// put into `emptied`, and the caller drops it when it holds no guard.
    ///
    /// # Errors
    /// `Stale` when the item's block is gone; the item is then skipped. Only a process
    /// that writes outside its own memory can cause that.
    pub fn get(
        &self,
        emptied: &mut Option<Block>,
        put: impl Fn() -> u64,
    ) -> Result<Option<Message>> {
        // Relaxed: `cut` changes under the guard only.
        if self.head.cut.load(Ordering::Relaxed) != 0 {
            return Ok(None);
        }
        self.take(emptied, put)
    }

    /// As [`get`](Self::get), also for items that were thrown away.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn take(
        &self,
        emptied: &mut Option<Block>,
        put: impl Fn() -> u64,
    ) -> Result<Option<Message>> {
        let head = self.head;
        let count = head.published.count();
        if count == head.seen.load(Ordering::Relaxed) {
            let put = put();
            head.seen.store(put, Ordering::Relaxed);
            if count == put {
                return Ok(None);
            }
        }
        let mut at = head.published.place();
        let mut left = 0;
        let mut record = segment::read(self.family, at.offset());
        if let Record::Next(next) = record {
            left = at.segment;
            at = Cursor {
                segment: next,
                ..Cursor::default()
            };
            record = segment::read(self.family, at.offset());
        }
        match record {
            Record::Inline(bytes) => {
                let message = Message::copied(bytes);
                let size = segment::inline_size(bytes.len());
                let [segment, _] = self.take_out([left, 0]);
                *emptied = segment;
                self.pass(at, size);
                Ok(Some(message))
            }
            Record::Apart { offset, len } => {
                let [segment, block] = self.take_out([left, offset]);
                *emptied = segment;
                self.pass(at, segment::APART);
                block
                    .map(|block| Some(Message::apart(block, len)))
                    .ok_or_else(|| damaged("an item's block is gone"))
            }
            Record::Next(_) | Record::Unknown => Err(damaged("there is no item where one was put")),
        }
    }

    /// Claims the blocks that the next item brings out. If this process dies before the
    /// item has passed, they go back to the queue.
    fn take_out(&self, blocks: [u64; 2]) -> [Option<Block>; 2] {
        if blocks == [0, 0] {
            return [None, None];
        }
        let head = self.head;
        head.intent
            .note(head.published.word(), self.family.me(), blocks);
        blocks.map(|offset| Block::claim(offset, Stamp::NOBODY).ok())
    }

    fn pass(&self, at: Cursor, size: u64) {
        let position = at.position + size;
        self.head.published.advance(1, Cursor { position, ..at });
    }

    /// Gives the last segment away; the queue is empty and being destroyed.
    pub fn take_segment(&self) -> Option<Block> {
        let last = self.head.published.place().segment;
        let [segment, _] = self.take_out([last, 0]);
        self.head.published.advance(0, Cursor::default());
        segment
    }
}

impl Drop for ConsumerGuard<'_> {
    fn drop(&mut self) {
        self.head.guard.unlock();
    }
}

fn damaged(what: &str) -> Error {
    Error::new(
        ErrorKind::Stale,
        format!("the queue was damaged by a process that wrote outside its own memory: {what}"),
    )
}
