//! What the holder of a guard is about to do with blocks, for whoever has to
//! take the guard from its corpse.

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
    /// Sets up a zeroed one.
    pub fn clear(&self) {
        // Release: what was done about the blocks comes before.
        self.from.store(NONE, Ordering::Release);
    }

    /// Notes what is about to be done, before it is.
    pub fn note(&self, from: u64, owner: Stamp, blocks: MovedBlocks) {
        for (cell, block) in self.blocks.iter().zip(blocks) {
            cell.store(block, Ordering::Relaxed);
        }
        self.owner.store(owner.raw(), Ordering::Relaxed);
        // Release: whoever finds `from` finds the rest; the blocks' words
        // change after it.
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

    /// After the death of one that was moving blocks *in*: those that it had
    /// already made the family's would be nobody's, so they are returned, to be
    /// freed once the guard is given up: objects may end with what they carry.
    pub fn undo_moving_in(&self, published: u64) -> [Option<Block>; 2] {
        let Some((_, blocks)) = self.pending(published) else {
            return [None, None];
        };
        // First ours, then forgotten, then freed: were we to die in between,
        // nobody frees by this note what has become another's meanwhile.
        let freed = blocks.map(|offset| Block::claim(offset, Stamp::NOBODY).ok());
        self.clear();
        freed
    }

    /// After the death of one that was moving blocks *out*: those that it had
    /// already claimed are still mentioned, so they become the family's again.
    pub fn undo_moving_out(&self, family: &Family, published: u64) {
        let Some((owner, blocks)) = self.pending(published) else {
            return;
        };
        for offset in blocks {
            // Fails for those it had not come to.
            let _ = family.change_owner(offset, owner, Stamp::NOBODY);
        }
        self.clear();
    }
}
