//! One spare's place, and the moves by which keeper, spare and claimers agree.
//!
//! README.md in this folder tells what each state means and which races the
//! moves decide. Nothing here starts, finds or reaps a process, so that loom can
//! try the moves of all who take part (`cell/loom_tests.rs`).

use std::time::Duration;

use crate::arena::low_half::low_half;
use crate::arena::{Liveness, Stamp};
use crate::os::futex::Woken;
use crate::os::time::Deadline;
use crate::primitive::{AtomicU32, AtomicU64, Half, Ordering, fence, futex_wait, futex_wake};

/// One spare's place.
#[derive(Debug)]
#[cfg_attr(loom, derive(Default))]
#[repr(C)]
pub struct Cell {
    word: AtomicU64,
    /// The spare's stamp.
    stamp: AtomicU32,
    /// Its pid; 0 until known.
    pid: AtomicU32,
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

/// Proves a claim.
#[derive(Debug)]
pub struct Claimed<P> {
    /// The word that says so.
    pub word: Word,
    /// The spare.
    pub stamp: Stamp,
    /// What its process was opened as.
    pub process: P,
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
    fn low(self) -> u32 {
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

/// For all.
impl Cell {
    /// Returns the word.
    pub fn word(&self) -> Word {
        // Acquire pairs with the Release in `advance`: what was written before
        // the state was reached can be read.
        Word::unpack(self.word.load(Ordering::Acquire))
    }

    /// Returns the stamp of the spare that the cell is, or was, of.
    pub fn spare(&self) -> Stamp {
        Stamp::from_raw(self.stamp.load(Ordering::Relaxed))
    }

    /// Returns the spare's pid, 0 until it is known.
    pub fn pid(&self) -> u32 {
        // Acquire pairs with the Release in `introduce`: the stamp is known.
        self.pid.load(Ordering::Acquire)
    }

    /// Moves the cell on, if nobody was faster; returns the new word.
    fn advance(&self, from: Word, state: State, claimer: Stamp) -> Option<Word> {
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

    /// Wakes the spare, after a move that it waits for.
    fn wake(&self) {
        futex_wake(self.futex(), 1);
    }

    fn futex(&self) -> &Half {
        low_half(&self.word)
    }

    /// Sets right what a dead member leaves: as a claimer, a spare that waits
    /// for its orders, or to be woken for them; as the keeper, a spare that is
    /// about to be killed.
    pub fn clear_after(&self, dead: Stamp, is_keeper: bool) {
        let word = self.word();
        match word.state {
            State::Claimed if word.claimer == dead => {
                self.advance(word, State::Dismissed, Stamp::NOBODY);
                self.wake();
            }
            State::Handed if word.claimer == dead => self.wake(),
            // Perhaps by the dead member, or by one that has died since.
            State::Dismissed => self.wake(),
            State::Booting | State::Parked if is_keeper => {
                self.advance(word, State::Gone, Stamp::NOBODY);
            }
            _ => {}
        }
    }
}

/// For the keeper.
impl Cell {
    /// Takes the cell, if it is free or its spare has ended, for one that is
    /// about to be started; tells whether it did.
    pub fn open(&self, family: &dyn Liveness) -> bool {
        let mut word = self.word();
        if word.state != State::Empty {
            let in_use = word.is_free()
                || word.state == State::Claimed && !family.is_dead(word.claimer)
                || !family.is_dead(self.spare());
            if in_use {
                return false;
            }
            match self.advance(word, State::Empty, Stamp::NOBODY) {
                Some(empty) => word = empty,
                None => return false,
            }
        }
        self.stamp.store(0, Ordering::Relaxed);
        self.pid.store(0, Ordering::Relaxed);
        self.advance(word, State::Booting, Stamp::NOBODY).is_some()
    }

    /// Says who was started; the spare may do so, too.
    pub fn introduce(&self, stamp: Stamp, pid: u32) {
        self.stamp.store(stamp.raw(), Ordering::Relaxed);
        // Release pairs with the Acquire in `pid`.
        self.pid.store(pid, Ordering::Release);
    }

    /// Empties the cell of a spare that could not be started.
    pub fn give_up(&self) {
        self.advance(self.word(), State::Empty, Stamp::NOBODY);
    }

    /// Keeps a spare that has ended from being claimed, before it is reaped and
    /// its pid may be another's; returns how far it had come, if nobody has
    /// claimed it.
    pub fn close(&self, uses: u32) -> Option<State> {
        let word = self.word();
        (word.is_free() && word.uses == uses)
            .then(|| self.advance(word, State::Gone, Stamp::NOBODY))
            .flatten()
            .map(|_| word.state)
    }

    /// Finds who is about to write the orders of a spare whose end was recorded
    /// just now, and will see to the record.
    pub fn claimer(&self, uses: u32) -> Option<Stamp> {
        // With the fence in `let_go`: either we see that the claim was let go
        // of, or who lets go sees the record.
        fence(Ordering::SeqCst);
        let word = self.word();
        (word.uses == uses && word.state == State::Claimed).then_some(word.claimer)
    }

    /// Tells a spare that it is not needed, if nobody has claimed it.
    pub fn dismiss(&self) {
        let word = self.word();
        if word.is_free()
            && self
                .advance(word, State::Dismissed, Stamp::NOBODY)
                .is_some()
        {
            self.wake();
        }
    }
}

/// For claimers.
impl Cell {
    /// Tells whether a spare with such a word may be claimed now.
    pub fn can_be_claimed(&self, word: Word, with_fds: bool) -> bool {
        match word.state {
            State::Parked => true,
            // It has no mailbox yet.
            State::Booting => !with_fds && self.pid() != 0,
            _ => false,
        }
    }

    /// Claims the spare for `me` if the word is still the same; `open` opens
    /// the process with a pid, or finds that it has ended.
    ///
    /// Unless we keep the spare, only a keeper that lives after this has kept
    /// the pid from being given anew.
    ///
    /// # Errors
    /// Those of `open`.
    pub fn claim<P, E>(
        &self,
        word: Word,
        me: Stamp,
        open: impl FnOnce(u32) -> Result<Option<P>, E>,
    ) -> Result<Option<Claimed<P>>, E> {
        let Some(process) = open(self.pid())? else {
            return Ok(None);
        };
        let stamp = self.spare();
        let claimed = self.advance(word, State::Claimed, me);
        Ok(claimed.map(|word| Claimed {
            word,
            stamp,
            process,
        }))
    }

    /// Says that the orders are complete.
    pub fn hand_over(&self, claimed: Word) {
        // Never refused: only our death would make others move the cell on.
        let _ = self.advance(claimed, State::Handed, claimed.claimer);
        self.wake();
    }

    /// Dismisses a spare that was claimed; tells whether that was ours to do.
    /// If its end is recorded by then, we clear away after it.
    pub fn let_go(&self, claimed: Word) -> bool {
        let ours = self
            .advance(claimed, State::Dismissed, Stamp::NOBODY)
            .is_some();
        if ours {
            self.wake();
            // Pairs with the fence in `claimer`.
            fence(Ordering::SeqCst);
        }
        ours
    }
}

/// For the spare.
impl Cell {
    /// Sleeps until there are orders; tells whether there are, or it should
    /// end. Calls `announce` once it is to be had.
    pub fn park(&self, patience: Option<Duration>, announce: impl Fn()) -> bool {
        loop {
            let word = self.word();
            match word.state {
                State::Booting => {
                    if self.advance(word, State::Parked, Stamp::NOBODY).is_some() {
                        announce();
                    }
                }
                State::Parked | State::Claimed => {
                    let deadline = Deadline::from_timeout(patience);
                    let woken = futex_wait(self.futex(), word.low(), deadline);
                    if woken == Woken::TimedOut
                        && word.state == State::Parked
                        && self.advance(word, State::Gone, Stamp::NOBODY).is_some()
                    {
                        return false;
                    }
                }
                State::Handed => return true,
                State::Empty | State::Dismissed | State::Gone => return false,
            }
        }
    }

    /// Gives the cell up, unless somebody has claimed it; by a signal handler,
    /// when the keeper has died.
    pub fn leave(&self) {
        loop {
            let word = self.word();
            if !word.is_free() || self.advance(word, State::Gone, Stamp::NOBODY).is_some() {
                return;
            }
        }
    }

    /// Frees the cell for another, once the orders are taken.
    pub fn vacate(&self) {
        let word = self.word();
        if word.state == State::Handed {
            self.advance(word, State::Empty, Stamp::NOBODY);
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests;

#[cfg(all(test, not(loom)))]
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
