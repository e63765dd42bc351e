//! What the object of spares holds: the cells, who keeps them, and what its
//! keeper and those who wait for a spare tell one another.

use crate::arena::{Family, Stamp, View};
use crate::primitive::{AtomicU32, AtomicU64, Ordering};
use crate::start::cell::Cell;
use crate::start::supply::Supply;

/// Spares that one object has room for, claimed ones on their way included.
pub const CELLS: usize = 64;

/// Bytes kept of what went wrong in the keeper.
const NOTE_WORDS: usize = 32;

/// The object of spares.
#[repr(C)]
pub struct Body {
    /// Stamp of the process that starts and reaps the spares.
    pub keeper: AtomicU32,
    /// Its pid.
    pub keeper_pid: AtomicU32,
    /// Changes when a spare has come to be had, or never will.
    pub supply: Supply,
    /// How many starts have found no spare, ever.
    pub wanted: AtomicU32,
    /// How many spares could not be started, ever.
    pub troubles: AtomicU32,
    reserved: AtomicU32,
    /// Why the last one could not.
    note: [AtomicU64; NOTE_WORDS],
    pub cells: [Cell; CELLS],
}

impl Body {
    /// Returns the keeper's stamp.
    pub fn keeper(&self) -> Stamp {
        // Acquire pairs with the Release in `set_keeper`.
        Stamp::from_raw(self.keeper.load(Ordering::Acquire))
    }

    /// Says who starts and reaps the spares.
    pub fn set_keeper(&self, stamp: Stamp) {
        self.keeper.store(stamp.raw(), Ordering::Release);
    }

    /// Takes a free cell for a spare that is about to be started; only the
    /// keeper may. Cells of spares that have ended are cleared on the way.
    pub fn open_cell(&self, family: &Family) -> Option<usize> {
        self.cells.iter().position(|cell| cell.open(family))
    }

    /// Returns how many spares may be claimed, or soon may.
    pub fn free_count(&self) -> usize {
        self.cells.iter().filter(|c| c.word().is_free()).count()
    }

    /// Leaves word of why no spare could be started.
    pub fn report(&self, trouble: &str) {
        let mut bytes = [0; NOTE_WORDS * 8];
        let mut end = trouble.len().min(bytes.len());
        while !trouble.is_char_boundary(end) {
            end -= 1;
        }
        bytes[..end].copy_from_slice(&trouble.as_bytes()[..end]);
        for (word, chunk) in self.note.iter().zip(bytes.chunks_exact(8)) {
            let chunk = <[u8; 8]>::try_from(chunk).expect("chunks are of 8 bytes");
            word.store(u64::from_ne_bytes(chunk), Ordering::Relaxed);
        }
        // Release pairs with the Acquire of who compares the count.
        self.troubles.fetch_add(1, Ordering::Release);
        self.supply.announce();
    }

    /// Returns what was last reported.
    pub fn note(&self) -> String {
        let bytes: Vec<u8> = self
            .note
            .iter()
            .flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes())
            .take_while(|&byte| byte != 0)
            .collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Sets right what a dead member leaves.
pub fn on_death(object: View<'_>, dead: Stamp) {
    let body: &Body = object.body();
    let is_keeper = body.keeper() == dead;
    for cell in &body.cells {
        cell.clear_after(dead, is_keeper);
    }
    if is_keeper {
        body.supply.announce();
    }
}
