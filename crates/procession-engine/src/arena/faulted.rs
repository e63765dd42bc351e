//! Which chunks this process has faulted in.
//!
//! Faulting a large run in at one go costs half of what page faults one by one
//! do, but as much again when the pages are there already. So each process
//! remembers what it has touched. The memory is only a hint: after another
//! process gave pages back and took them anew, they fault in one by one.

use crate::arena::layout::CHUNK;
use crate::arena::ledger::Ledger;
use crate::arena::space::Space;

/// Runs of at least this many chunks are faulted in at one go; below, the
/// system call costs more than the faults (found by trial).
const WORTHWHILE: u64 = 4;

/// One bit per chunk, as far as used.
#[derive(Debug, Default)]
pub struct Faulted(Vec<u64>);

impl Faulted {
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
