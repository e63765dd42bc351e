//! A note of what the holder of a guard is about to do with blocks, for the process
//! that takes the guard if the holder dies.

use procession_sys::primitive::{AtomicU32, AtomicU64, Ordering};

use procession_shm::{Block, Family, Stamp};

/// Names no state.
const NONE: u64 = u64::MAX;

/// The blocks that one change moves in or out: that of the message and that
/// of a segment; 0 stands for none.
pub type MovedBlocks = [u64; 2];

/// A note of blocks that change hands in the step after a given state.
///
/// It counts only while that state is still the published one. `README.md`
/// tells why that is enough.
#[derive(Debug)]
#[repr(C)]
pub struct UndoRecord {
    from: AtomicU64,
    blocks: [AtomicU64; 2],
    owner: AtomicU32,
    spare: AtomicU32,
}

impl UndoRecord {
    /// Sets up a record, which is zero.
    pub fn clear(&self) {
        // Release: the changes of the blocks come before.
        self.from.store(NONE, Ordering::Release);
    }

    /// Notes what is about to be done, before it is.
    pub fn note(&self, from: u64, owner: Stamp, blocks: MovedBlocks) {
        for (cell, block) in self.blocks.iter().zip(blocks) {
            cell.store(block, Ordering::Relaxed);
        }
        self.owner.store(owner.raw(), Ordering::Relaxed);
        // Release: a process that finds `from` finds the rest; the blocks' words change
        // after it.
        self.from.store(from, Ordering::Release);
    }

    fn pending(&self, published: u64) -> Option<(Stamp, MovedBlocks)> {
        // Acquire pairs with the Release in `note`.
        if self.from.load(Ordering::Acquire) != published {
            return None;
        }
        let owner = Stamp::from_raw(self.owner.load(Ordering::Relaxed));
        let blocks = std::array::from_fn(|i| self.blocks[i].load(Ordering::Relaxed));
        Some((owner, blocks))
    }

    /// After the death of a process that was moving blocks *in*: the blocks that it had
    /// already made the family's would be nobody's. They are returned, and the caller
    /// frees them when it has given up the guard, since an object that a block carries
    /// may end with it.
    pub fn undo_moving_in(&self, published: u64) -> [Option<Block>; 2] {
        let Some((_, blocks)) = self.pending(published) else {
            return [None, None];
        };
        // The blocks become ours first, then the note is forgotten, then they are
        // freed: if this process dies in between, no other frees by this note a block
        // that has a new owner.
        let freed = blocks.map(|offset| Block::claim(offset, Stamp::NOBODY).ok());
        self.clear();
        freed
    }

    /// After the death of a process that was moving blocks *out*: the queue still
    /// mentions the blocks that it had already claimed, so they become the family's
    /// again.
    pub fn undo_moving_out(&self, family: &Family, published: u64) {
        let Some((owner, blocks)) = self.pending(published) else {
            return;
        };
        for offset in blocks {
            // Fails for the blocks that it had not claimed yet.
            let _ = family.change_owner(offset, owner, Stamp::NOBODY);
        }
        self.clear();
    }
}
