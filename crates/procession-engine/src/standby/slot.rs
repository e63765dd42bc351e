//! The slot of one spare, and the steps that the keeper, the spare and claimers take on it.
//!
//! README.md in this folder says what each state means, and which races the steps decide.
//! Nothing here starts, finds or reaps a process, so that loom can try the steps of all
//! participants (`slot/loom_tests.rs`).

use std::time::Duration;

use procession_shm::lock::half_word::low_half;
use procession_shm::{Liveness, Stamp};
use procession_sys::primitive::{
    AtomicU32, AtomicU64, Half, Ordering, fence, futex_wait, futex_wake,
};
use procession_sys::wait::futex::Woken;
use procession_sys::wait::time::Deadline;

/// The slot of one spare.
#[derive(Debug)]
#[cfg_attr(loom, derive(Default))]
#[repr(C)]
pub struct StandbySlot {
    word: AtomicU64,
    /// The spare's stamp.
    stamp: AtomicU32,
    /// Its pid; 0 until known.
    pid: AtomicU32,
    /// Offset of the payload's block, or 0.
    pub payload: AtomicU64,
    /// Its length.
    pub payload_len: AtomicU64,
    /// The number that a message with descriptors has to begin with.
    pub secret: AtomicU64,
    /// How many descriptors were sent.
    pub fds: AtomicU32,
    /// One bit for each standard stream that was sent. Only a lifeline comes before the
    /// streams, all other descriptors after them.
    pub streams: AtomicU32,
}

/// The unpacked word of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotWord {
    /// The state.
    pub state: SlotState,
    /// How often the slot was used.
    pub uses: u32,
    /// The member that has claimed the spare.
    pub claimer: Stamp,
}

/// The state of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotState {
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
    /// The word as the claim left it.
    pub word: SlotWord,
    /// The spare.
    pub stamp: Stamp,
    /// Its process, as the claim opened it.
    pub process: P,
}

impl SlotState {
    /// Tells whether the spare is claimed, or was handed its launch spec.
    pub fn is_claimed(self) -> bool {
        matches!(self, Self::Claimed | Self::Handed)
    }
}

const STATE_BITS: u32 = 3;

impl SlotWord {
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
            0 => SlotState::Empty,
            1 => SlotState::Booting,
            2 => SlotState::Parked,
            3 => SlotState::Claimed,
            4 => SlotState::Handed,
            5 => SlotState::Dismissed,
            _ => SlotState::Gone,
        };
        Self {
            state,
            uses: low >> STATE_BITS,
            claimer: Stamp::from_raw((raw >> 32) as u32),
        }
    }

    /// Tells whether the spare may be claimed, or soon may.
    pub fn is_free(self) -> bool {
        matches!(self.state, SlotState::Booting | SlotState::Parked)
    }
}

/// Steps of all participants.
impl StandbySlot {
    /// Returns the word.
    pub fn word(&self) -> SlotWord {
        // Acquire pairs with the Release in `advance`: all that was written before that step
        // can be read.
        SlotWord::unpack(self.word.load(Ordering::Acquire))
    }

    /// Returns the stamp of the slot's current or last spare.
    pub fn spare(&self) -> Stamp {
        Stamp::from_raw(self.stamp.load(Ordering::Relaxed))
    }

    /// Returns the spare's pid, 0 until it is known.
    pub fn pid(&self) -> u32 {
        // Acquire pairs with the Release in `introduce`: the stamp is known.
        self.pid.load(Ordering::Acquire)
    }

    /// Moves the slot to another state, if its word is unchanged; returns the new word.
    fn advance(&self, from: SlotWord, state: SlotState, claimer: Stamp) -> Option<SlotWord> {
        // A new use of the slot makes steps fail that were decided by an older look.
        let uses = from.uses.wrapping_add(u32::from(state == SlotState::Empty)) & (u32::MAX >> 3);
        let to = SlotWord {
            state,
            uses,
            claimer,
        };
        self.word
            .compare_exchange(from.pack(), to.pack(), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
            .then_some(to)
    }

    /// Wakes the spare, after a step that it waits for.
    fn wake(&self) {
        futex_wake(self.futex(), 1);
    }

    fn futex(&self) -> &Half {
        low_half(&self.word)
    }

    /// Repairs the slot after a member's death. If the member was the claimer, its spare may
    /// wait for the launch spec, or for the wake-up; if it was the keeper, the spare is about
    /// to be killed.
    pub fn clear_after(&self, dead: Stamp, is_keeper: bool) {
        let word = self.word();
        match word.state {
            SlotState::Claimed if word.claimer == dead => {
                self.advance(word, SlotState::Dismissed, Stamp::NOBODY);
                self.wake();
            }
            SlotState::Handed if word.claimer == dead => self.wake(),
            // The dead member, or one that died later, may not have woken the spare.
            SlotState::Dismissed => self.wake(),
            SlotState::Booting | SlotState::Parked if is_keeper => {
                self.advance(word, SlotState::Gone, Stamp::NOBODY);
            }
            _ => {}
        }
    }
}

/// Steps of the keeper.
impl StandbySlot {
    /// Takes the slot for a spare that is about to be started, if it is empty or its last spare
    /// has ended; tells whether it did.
    pub fn open(&self, family: &dyn Liveness) -> bool {
        let mut word = self.word();
        if word.state != SlotState::Empty {
            let in_use = word.is_free()
                || word.state == SlotState::Claimed && !family.is_dead(word.claimer)
                || !family.is_dead(self.spare());
            if in_use {
                return false;
            }
            match self.advance(word, SlotState::Empty, Stamp::NOBODY) {
                Some(empty) => word = empty,
                None => return false,
            }
        }
        self.stamp.store(0, Ordering::Relaxed);
        self.pid.store(0, Ordering::Relaxed);
        self.advance(word, SlotState::Booting, Stamp::NOBODY)
            .is_some()
    }

    /// Stores the stamp and pid of the spare; the keeper does so, and the spare itself.
    pub fn introduce(&self, stamp: Stamp, pid: u32) {
        self.stamp.store(stamp.raw(), Ordering::Relaxed);
        // Release pairs with the Acquire in `pid`.
        self.pid.store(pid, Ordering::Release);
    }

    /// Empties the slot of a spare that could not be started.
    pub fn give_up(&self) {
        self.advance(self.word(), SlotState::Empty, Stamp::NOBODY);
    }

    /// Prevents that a spare that has ended is claimed. The keeper calls this before it reaps
    /// the spare, after which the kernel may reuse the pid. Returns the state until then, if
    /// the spare was not claimed.
    pub fn close(&self, uses: u32) -> Option<SlotState> {
        let word = self.word();
        (word.is_free() && word.uses == uses)
            .then(|| self.advance(word, SlotState::Gone, Stamp::NOBODY))
            .flatten()
            .map(|_| word.state)
    }

    /// Returns the member that has claimed a spare and not handed it a launch spec yet. The
    /// keeper calls this after recording the spare's exit, which the claimer then handles.
    pub fn claimer(&self, uses: u32) -> Option<Stamp> {
        // Pairs with the fence in `let_go`: either we see that the claim was given up, or the
        // claimer that gives it up sees the record.
        fence(Ordering::SeqCst);
        let word = self.word();
        (word.uses == uses && word.state == SlotState::Claimed).then_some(word.claimer)
    }

    /// Tells a spare to end, if nobody has claimed it.
    pub fn dismiss(&self) {
        let word = self.word();
        if word.is_free()
            && self
                .advance(word, SlotState::Dismissed, Stamp::NOBODY)
                .is_some()
        {
            self.wake();
        }
    }
}

/// Steps of claimers.
impl StandbySlot {
    /// Tells whether the spare may be claimed when its slot has this word.
    pub fn can_be_claimed(&self, word: SlotWord, with_fds: bool) -> bool {
        match word.state {
            SlotState::Parked => true,
            // A spare that boots has no mailbox yet.
            SlotState::Booting => !with_fds && self.pid() != 0,
            _ => false,
        }
    }

    /// Claims the spare for `me` if the word is unchanged; `open` opens the process with a pid,
    /// or finds that it has ended.
    ///
    /// A claimer that is not the keeper has to check afterwards that the keeper is alive: only
    /// then `open` is certain to have opened the spare, and not a later process with its pid.
    ///
    /// # Errors
    /// Those of `open`.
    pub fn claim<P, E>(
        &self,
        word: SlotWord,
        me: Stamp,
        open: impl FnOnce(u32) -> Result<Option<P>, E>,
    ) -> Result<Option<Claimed<P>>, E> {
        let Some(process) = open(self.pid())? else {
            return Ok(None);
        };
        let stamp = self.spare();
        let claimed = self.advance(word, SlotState::Claimed, me);
        Ok(claimed.map(|word| Claimed {
            word,
            stamp,
            process,
        }))
    }

    /// Moves the slot to handed: the launch spec is complete.
    pub fn hand_over(&self, claimed: SlotWord) {
        // Cannot fail: others change a claimed slot only when the claimer is dead.
        let _ = self.advance(claimed, SlotState::Handed, claimed.claimer);
        self.wake();
    }

    /// Dismisses a spare that was claimed; tells whether this call did. If the spare's exit is
    /// recorded after that, the caller has to reclaim it.
    pub fn let_go(&self, claimed: SlotWord) -> bool {
        let ours = self
            .advance(claimed, SlotState::Dismissed, Stamp::NOBODY)
            .is_some();
        if ours {
            self.wake();
            // Pairs with the fence in `claimer`.
            fence(Ordering::SeqCst);
        }
        ours
    }
}

/// Steps of the spare.
impl StandbySlot {
    /// Sleeps until the spare is handed a launch spec; returns false if it has to end instead.
    /// Calls `announce` once the spare is parked.
    pub fn park(&self, patience: Option<Duration>, announce: impl Fn()) -> bool {
        loop {
            let word = self.word();
            match word.state {
                SlotState::Booting => {
                    if self
                        .advance(word, SlotState::Parked, Stamp::NOBODY)
                        .is_some()
                    {
                        announce();
                    }
                }
                SlotState::Parked | SlotState::Claimed => {
                    let deadline = Deadline::from_timeout(patience);
                    let woken = futex_wait(self.futex(), word.low(), deadline);
                    if woken == Woken::TimedOut
                        && word.state == SlotState::Parked
                        && self.advance(word, SlotState::Gone, Stamp::NOBODY).is_some()
                    {
                        return false;
                    }
                }
                SlotState::Handed => return true,
                SlotState::Empty | SlotState::Dismissed | SlotState::Gone => return false,
            }
        }
    }

    /// Moves the slot to gone, unless the spare is claimed; returns whether nobody has claimed
    /// it. A signal handler calls this when the keeper has died.
    pub fn leave(&self) -> bool {
        loop {
            let word = self.word();
            if !word.is_free() {
                return !word.state.is_claimed();
            }
            if self.advance(word, SlotState::Gone, Stamp::NOBODY).is_some() {
                return true;
            }
        }
    }

    /// Empties the slot for another spare, after this one has taken its launch spec.
    pub fn vacate(&self) {
        let word = self.word();
        if word.state == SlotState::Handed {
            self.advance(word, SlotState::Empty, Stamp::NOBODY);
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
            SlotState::Empty,
            SlotState::Booting,
            SlotState::Parked,
            SlotState::Claimed,
            SlotState::Handed,
            SlotState::Dismissed,
            SlotState::Gone,
        ] {
            let word = SlotWord {
                state,
                uses: 77,
                claimer: Stamp::new(9, 3),
            };
            assert_eq!(SlotWord::unpack(word.pack()), word);
        }
    }
}
