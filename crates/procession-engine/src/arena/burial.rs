//! Clearing away after a member that has died.
//!
//! # Order, and why
//! 1. The slot goes to *dying*, with the stamp of who buries; if that one dies
//!    too, the next takes over and does it all again. Every step may be done
//!    twice.
//! 2. Objects, before blocks: an object's repair may find a block that the dead
//!    member had already linked but still owned, and makes it the family's.
//! 3. The outcome, which the dead member published as an offset in its entry,
//!    goes to the parent.
//! 4. All other blocks that bear the dead member's slot are freed. The slot is
//!    not used again before this is done, so the slot alone identifies them.
//! 5. Slots that the dead member answered for: children it had set aside and
//!    never started, ended children whose exit nobody will ask for now, and
//!    those that it was burying itself.
//! 6. The slot goes to *dead*; the parent frees it when it has read the exit,
//!    or we do if there is no parent.

use crate::arena::family::Family;
use crate::arena::layout::CHUNK;
use crate::arena::ledger::Ledger;
use crate::arena::member::Stage;
use crate::arena::runs;
use crate::arena::spans;
use crate::arena::stamp::Stamp;
use crate::arena::word::{Use, Word};
use crate::primitive::{Ordering, relax};

/// Clears away after `dead`; returns once that is done, by us or another.
pub fn bury(family: &Family, dead: Stamp) {
    let me = family.me();
    if dead.is_nobody() || dead == me {
        return;
    }
    let member = family.member(dead);
    loop {
        if member.generation.load(Ordering::Acquire) != dead.generation() {
            return;
        }
        let stage = member.stage();
        match stage.0 {
            Stage::Free | Stage::Dead => return,
            Stage::Reserved | Stage::Alive => {
                if member.advance(stage, (Stage::Dying, me)) {
                    break;
                }
            }
            // One of our own threads is at it, or another member.
            Stage::Dying if stage.1 == me || !family.is_dead(stage.1) => {
                std::thread::yield_now();
                relax();
            }
            Stage::Dying => {
                if member.advance(stage, (Stage::Dying, me)) {
                    break;
                }
            }
        }
    }
    clear(family, dead);
    let parent = Stamp::from_raw(member.parent.load(Ordering::Relaxed));
    member.advance((Stage::Dying, me), (Stage::Dead, parent));
    if parent != me && family.is_dead(parent) {
        member.advance((Stage::Dead, parent), (Stage::Free, Stamp::NOBODY));
    }
}

/// Buries every member whose process is gone; returns how many.
pub fn bury_all(family: &Family) -> usize {
    let mut dead = Vec::new();
    family.for_each_member(|stamp, member| {
        let unburied = !matches!(member.stage().0, Stage::Free | Stage::Dead);
        if unburied && family.is_dead(stamp) {
            dead.push(stamp);
        }
    });
    for &stamp in &dead {
        bury(family, stamp);
    }
    dead.len()
}

fn clear(family: &Family, dead: Stamp) {
    family.for_each_object(|object| object.bury(dead));
    let member = family.member(dead);
    let parent = Stamp::from_raw(member.parent.load(Ordering::Relaxed));
    let outcome = member.outcome.load(Ordering::Acquire);
    if outcome != 0 && !family.is_dead(parent) {
        // Fails when the parent has fetched it already.
        let _ = family.change_owner(outcome, dead, parent);
    }
    let space = family.space();
    for offset in held_by(space, dead) {
        if offset != outcome || family.is_dead(parent) {
            family.free_of(offset, dead);
        }
    }
    recount(space);
    let (mut given_up, mut half_buried) = (Vec::new(), Vec::new());
    family.for_each_member(|stamp, other| {
        if other.stage() == (Stage::Dying, dead) {
            half_buried.push(stamp);
        } else if other.parent.load(Ordering::Relaxed) == dead.raw() {
            match other.stage() {
                (Stage::Reserved, holder) if holder == dead => given_up.push(stamp),
                (Stage::Dead, holder) => {
                    other.advance((Stage::Dead, holder), (Stage::Free, Stamp::NOBODY));
                }
                _ => {}
            }
        }
    });
    for stamp in half_buried {
        family.bury(stamp);
    }
    for stamp in given_up {
        family.release_member(stamp);
    }
}

/// Returns where the blocks of a member lie.
pub fn held_by(ledger: &impl Ledger, owner: Stamp) -> Vec<u64> {
    let mut held = Vec::new();
    for_each_block(ledger, |offset, word, _| {
        if usize::from(word.owner) == owner.slot() {
            held.push(offset);
        }
    });
    held
}

/// Sets the hints right that a kill between two steps may have left wrong.
pub fn recount(ledger: &impl Ledger) {
    let header = ledger.header();
    header.first_free.store(0, Ordering::Relaxed);
    let high = u64::from(header.high_water.load(Ordering::Acquire));
    let mut chunk = 0;
    while chunk < high {
        let word = Word::unpack(ledger.chunk_word(chunk).load(Ordering::Acquire));
        if word.usage == Use::Span {
            spans::recount(ledger, chunk, word.size as usize);
        }
        chunk += runs::span_of(word);
    }
}

/// Calls `visit` with offset, word and capacity of every taken block.
pub fn for_each_block(ledger: &impl Ledger, mut visit: impl FnMut(u64, Word, u64)) {
    let data = ledger.layout().data();
    let high = u64::from(ledger.header().high_water.load(Ordering::Acquire));
    let mut chunk = 0;
    while chunk < high {
        let word = Word::unpack(ledger.chunk_word(chunk).load(Ordering::Acquire));
        let begin = data + chunk * CHUNK;
        match word.usage {
            Use::Span => {
                let class = word.size as usize;
                let size = spans::size_of(class);
                spans::for_each_taken(ledger, chunk, class, |index, word| {
                    visit(begin + index * size, word, size);
                });
            }
            Use::Taken => visit(begin, word, u64::from(word.size) * CHUNK),
            Use::Free | Use::Retired => {}
        }
        chunk += runs::span_of(word);
    }
}
