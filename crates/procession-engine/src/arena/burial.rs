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
//!    not used again before this is done, so the slot alone identifies them. What
//!    counts or hints may be wrong after that is counted anew, hints of the allocator
//!    and handles in messages.
//! 5. Slots that the dead member answered for: children it had set aside and
//!    never started, ended children whose exit nobody will ask for now, and
//!    those that it was burying itself.
//! 6. The slot goes to *dead*; the parent frees it when it has read the exit,
//!    or we do if there is no parent.

use crate::arena::carried;
use crate::arena::family::Family;
use crate::arena::layout::CHUNK;
use crate::arena::ledger::Ledger;
use crate::arena::member::{Stage, Standing};
use crate::arena::runs;
use crate::arena::spans;
use crate::arena::stamp::Stamp;
use crate::arena::word::{Use, Word};
use crate::primitive::{Ordering, relax};

/// Clears away after `dead`; returns once that is done, by us or another.
pub fn bury(family: &Family, dead: Stamp) {
    bury_if(family, dead, |_| true);
}

/// Buries a member whose process is gone. One that was seen to wait for its process may
/// have got it meanwhile, and lives.
fn bury_if_over(family: &Family, stamp: Stamp) {
    bury_if(family, stamp, |standing| family.is_over(stamp, standing));
}

/// Clears away after `dead`, if its slot is found like this.
fn bury_if(family: &Family, dead: Stamp, is_so: impl Fn(Standing) -> bool) {
    let me = family.me();
    if dead.is_nobody() || dead == me {
        return;
    }
    let member = family.member(dead);
    let before = loop {
        let standing = member.standing();
        if standing.generation != dead.generation() {
            return;
        }
        let is_gone = || standing.holder != me && family.is_dead(standing.holder);
        match standing.stage {
            Stage::Free | Stage::Dead => return,
            // One of our own threads is at it, or another member.
            Stage::Dying if !is_gone() => {
                std::thread::yield_now();
                relax();
                continue;
            }
            // So is one that makes it ready, for a process that nobody knows yet.
            Stage::Claimed if !is_gone() => return,
            Stage::Reserved | Stage::Alive if !is_so(standing) => return,
            Stage::Claimed | Stage::Reserved | Stage::Alive | Stage::Dying => {}
        }
        if member.advance(standing, Stage::Dying, me) {
            break standing;
        }
    };
    clear(family, dead);
    let parent = match before.stage {
        // What the entry says may still be of its last process.
        Stage::Claimed => before.holder,
        _ => Stamp::from_raw(member.parent.load(Ordering::Relaxed)),
    };
    let now = |stage, holder| Standing {
        stage,
        holder,
        ..before
    };
    member.advance(now(Stage::Dying, me), Stage::Dead, parent);
    if parent != me && family.is_dead(parent) {
        member.advance(now(Stage::Dead, parent), Stage::Free, Stamp::NOBODY);
    }
}

/// Buries every member whose process is gone; returns how many.
pub fn bury_all(family: &Family) -> usize {
    let mut dead = Vec::new();
    family.for_each_member(|stamp, member| {
        let unburied = !matches!(member.stage(), Stage::Free | Stage::Dead);
        if unburied && family.is_dead(stamp) {
            dead.push(stamp);
        }
    });
    for &stamp in &dead {
        bury_if_over(family, stamp);
    }
    // What earlier burials had to leave, as somebody was attached.
    carried::recount(family);
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
    carried::recount(family);
    let (mut given_up, mut half_buried) = (Vec::new(), Vec::new());
    family.for_each_member(|stamp, other| {
        let standing = other.standing();
        let is_child = other.parent.load(Ordering::Relaxed) == dead.raw();
        match standing.stage {
            Stage::Dying | Stage::Claimed if standing.holder == dead => half_buried.push(stamp),
            Stage::Reserved if standing.holder == dead && is_child => given_up.push(stamp),
            Stage::Dead if is_child => {
                other.advance(standing, Stage::Free, Stamp::NOBODY);
            }
            _ => {}
        }
    });
    for stamp in half_buried {
        family.bury(stamp);
    }
    for stamp in given_up {
        bury_if_over(family, stamp);
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
