//! The cells of spares in the arena, and the moves between their states.
//!
//! README.md in this folder tells what each state means and which races the
//! moves decide. Nothing here waits or starts a process.

use crate::arena::low_half::low_half;
use crate::arena::{Family, Stamp, View};
use crate::primitive::{AtomicU32, AtomicU64, Ordering, futex_wake};

/// Spares that one object has room for, claimed ones on their way included.
pub const CELLS: usize = 64;

/// Bytes kept of what went wrong in the keeper.
const NOTE_WORDS: usize = 32;

/// What the object of spares holds.
#[repr(C)]
pub struct Body {
    /// Stamp of the process that starts and reaps the spares.
    pub keeper: AtomicU32,
    /// Its pid.
    pub keeper_pid: AtomicU32,
    /// A futex; changes when a spare has come to be had, or never will.
    pub supply: AtomicU32,
    /// How many starts have found no spare, ever.
    pub wanted: AtomicU32,
    /// How many spares could not be started, ever.
    pub troubles: AtomicU32,
    reserved: AtomicU32,
    /// Why the last one could not.
    note: [AtomicU64; NOTE_WORDS],
    pub cells: [Cell; CELLS],
}

/// One spare's place.
#[derive(Debug)]
#[repr(C)]
pub struct Cell {
    word: AtomicU64,
    /// The spare's stamp.
    pub stamp: AtomicU32,
    /// Its pid; 0 until known.
    pub pid: AtomicU32,
    /// Offset of the payload's block, or 0.
    pub payload: AtomicU64,
    /// Its length.
    pub payload_len: AtomicU64,
    /// What a message with descriptors has to begin with.
    pub secret: AtomicU64,
    /// How many descriptors were sent.
    pub fds: AtomicU32,
    reserved: AtomicU32,
}

/// What a cell's word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// How far the spare has come.
    pub state: State,
    /// How often the cell was used.
    pub uses: u32,
    /// Who has claimed the spare.
    pub claimer: Stamp,
}

/// How far a spare has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Empty,
    Booting,
    Parked,
    Claimed,
    Handed,
    Dismissed,
    Gone,
}

impl State {
    /// Tells whether the spare is somebody's.
    pub fn is_claimed(self) -> bool {
        matches!(self, Self::Claimed | Self::Handed)
    }
}

const STATE_BITS: u32 = 3;

impl Word {
    fn pack(self) -> u64 {
        u64::from(self.claimer.raw()) << 32 | u64::from(self.low())
    }

    /// Returns the half that the spare sleeps on.
    pub fn low(self) -> u32 {
        self.uses << STATE_BITS | self.state as u32
    }

    fn unpack(raw: u64) -> Self {
        let low = raw as u32;
        let state = match low & ((1 << STATE_BITS) - 1) {
            0 => State::Empty,
            1 => State::Booting,
            2 => State::Parked,
            3 => State::Claimed,
            4 => State::Handed,
            5 => State::Dismissed,
            _ => State::Gone,
        };
        Self {
            state,
            uses: low >> STATE_BITS,
            claimer: Stamp::from_raw((raw >> 32) as u32),
        }
    }

    /// Tells whether the spare may be claimed, or soon may.
    pub fn is_free(self) -> bool {
        matches!(self.state, State::Booting | State::Parked)
    }
}

impl Cell {
    /// Returns the word.
    pub fn word(&self) -> Word {
        // Acquire pairs with the Release in `advance`: what was written before
        // the state was reached can be read.
        Word::unpack(self.word.load(Ordering::Acquire))
    }

    /// Moves the cell on, if nobody was faster; returns the new word.
    pub fn advance(&self, from: Word, state: State, claimer: Stamp) -> Option<Word> {
        // A cell that is used anew is another to whoever looked before.
        let uses = from.uses.wrapping_add(u32::from(state == State::Empty)) & (u32::MAX >> 3);
        let to = Word {
            state,
            uses,
            claimer,
        };
        self.word
            .compare_exchange(from.pack(), to.pack(), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
            .then_some(to)
    }

    /// Returns the futex that the spare sleeps on.
    pub fn futex(&self) -> &AtomicU32 {
        low_half(&self.word)
    }

    /// Tells a spare that it is not needed, if nobody has claimed it.
    pub fn dismiss(&self) {
        let word = self.word();
        if word.is_free()
            && self
                .advance(word, State::Dismissed, Stamp::NOBODY)
                .is_some()
        {
            futex_wake(self.futex(), 1);
        }
    }

    /// Returns the stamp of the spare that the cell is, or was, of.
    pub fn spare(&self) -> Stamp {
        Stamp::from_raw(self.stamp.load(Ordering::Relaxed))
    }
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
        self.cells.iter().position(|cell| {
            let mut word = cell.word();
            if word.state != State::Empty {
                let in_use = matches!(word.state, State::Booting | State::Parked)
                    || word.state == State::Claimed && !family.is_dead(word.claimer)
                    || !family.is_dead(cell.spare());
                if in_use {
                    return false;
                }
                match cell.advance(word, State::Empty, Stamp::NOBODY) {
                    Some(empty) => word = empty,
                    None => return false,
                }
            }
            cell.stamp.store(0, Ordering::Relaxed);
            cell.pid.store(0, Ordering::Relaxed);
            cell.advance(word, State::Booting, Stamp::NOBODY).is_some()
        })
    }

    /// Returns how many spares may be claimed, or soon may.
    pub fn free_count(&self) -> usize {
        self.cells.iter().filter(|c| c.word().is_free()).count()
    }

    /// Says that a spare has come to be had, or that none will.
    pub fn announce(&self) {
        // Release pairs with the Acquire of who is about to sleep on it.
        self.supply.fetch_add(1, Ordering::Release);
        futex_wake(&self.supply, u32::MAX);
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
        self.announce();
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

/// Sets right what a dead member leaves: as a claimer, a spare that waits for
/// its orders; as the keeper, spares that are about to be killed.
pub fn on_death(object: View<'_>, dead: Stamp) {
    let body: &Body = object.body();
    for cell in &body.cells {
        let word = cell.word();
        if word.state == State::Claimed && word.claimer == dead {
            cell.advance(word, State::Dismissed, Stamp::NOBODY);
            futex_wake(cell.futex(), 1);
        }
        if word.is_free() && body.keeper() == dead {
            cell.advance(word, State::Gone, Stamp::NOBODY);
        }
    }
    if body.keeper() == dead {
        body.announce();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_survives_its_number() {
        for state in [
            State::Empty,
            State::Booting,
            State::Parked,
            State::Claimed,
            State::Handed,
            State::Dismissed,
            State::Gone,
        ] {
            let word = Word {
                state,
                uses: 77,
                claimer: Stamp::new(9, 3),
            };
            assert_eq!(Word::unpack(word.pack()), word);
        }
    }
}
