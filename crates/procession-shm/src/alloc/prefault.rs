//! Which chunks this process has faulted in.
//!
//! Faulting a large run in with one system call costs half as much as single page faults
//! do, but it costs the same again when the pages are mapped already. So each process
//! remembers the chunks that it has faulted in. That is only a hint: pages that another
//! process has given back and backed anew fault in one by one.

use crate::alloc::layout::CHUNK;
use crate::alloc::space::Space;
use crate::alloc::store::BackingStore;

/// Runs of at least this many chunks are faulted in at once; for shorter ones the
/// system call costs more than the faults (found by trial).
const WORTHWHILE: u64 = 4;

/// Has one bit per chunk, up to the last chunk that this process has used.
#[derive(Debug, Default)]
pub struct PrefaultCache(Vec<u64>);

impl PrefaultCache {
    /// Faults a run's pages in for writing unless this process did before.
    pub fn ensure(&mut self, space: &Space, first: u64, count: u64) {
        if count < WORTHWHILE {
            return;
        }
        let mut known = true;
        for chunk in first..first + count {
            let (word, bit) = ((chunk / 64) as usize, 1 << (chunk % 64));
            if word >= self.0.len() {
                self.0.resize(word + 1, 0);
            }
            known &= self.0[word] & bit != 0;
            self.0[word] |= bit;
        }
        if !known {
            let offset = space.layout().data() + first * CHUNK;
            space.map().populate(offset, count * CHUNK);
        }
    }

    /// Forgets everything: a forked child's page tables start without the
    /// shared pages.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}
