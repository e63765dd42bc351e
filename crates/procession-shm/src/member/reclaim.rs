//! Reclaiming a member that has died: repairing what it left, freeing what it owned.
//!
//! # Order, and why
//! 1. The slot goes to *dying*, with the stamp of the member that reclaims. If that member
//!    dies too, the next one takes over and starts from the beginning: every step may be
//!    done twice.
//! 2. Objects are repaired before blocks are freed: the repair of an object may find a
//!    block that the dead member had already linked but still owned, and makes it the
//!    family's.
//! 3. The block with the outcome, which the dead member published as an offset in its
//!    entry, goes to the parent.
//! 4. All other blocks that bear the dead member's slot are freed. The slot is
//!    not used again before this is done, so the slot alone identifies them. Then the
//!    hints of the allocator and the counts of handles in messages are recounted, as the
//!    death may have left them wrong.
//! 5. The slots that the dead member held are cleared: those of children that it reserved
//!    and never started, but for a child that was just forked (`unborn.rs`), those of ended children whose exit status nobody will read now,
//!    and those of members that it was reclaiming itself.
//! 6. The slot goes to *dead*. The parent frees it once it has read the exit status; if
//!    there is no parent, the member that reclaims frees it.

use crate::alloc::chunks;
use crate::alloc::layout::CHUNK;
use crate::alloc::spans;
use crate::alloc::state_word::{StateWord, Use};
use crate::alloc::store::BackingStore;
use crate::family::Family;
use crate::member::stamp::Stamp;
use crate::member::table::{MemberState, Stage};
use crate::transfer::carrier;
use procession_sys::primitive::{Ordering, relax};

/// Reclaims `dead`; returns once that is done, by this member or another.
pub fn reclaim(family: &Family, dead: Stamp) {
    reclaim_if(family, dead, |_| true);
}

/// Reclaims a member if its process is gone. The caller's look at it may be outdated: if the
/// slot was reserved then, a process may have joined since, and lives.
fn reclaim_if_dead(family: &Family, stamp: Stamp) {
    reclaim_if(family, stamp, |state| family.has_ended(stamp, state));
}

/// Reclaims a member if no process has joined in its slot yet; tells whether the member is
/// gone now.
pub fn reclaim_unstarted(family: &Family, stamp: Stamp) -> bool {
    reclaim_if(family, stamp, |state| state.stage != Stage::Alive);
    family.member(stamp).state().is_past(stamp)
}

/// Reclaims `dead`; if it is reserved or alive, only where `condition` holds for its state.
fn reclaim_if(family: &Family, dead: Stamp, condition: impl Fn(MemberState) -> bool) {
    let me = family.me();
    if dead.is_nobody() || dead == me {
        return;
    }
    let member = family.member(dead);
    let before = loop {
        let state = member.state();
        if state.generation != dead.generation() {
            return;
        }
        let is_gone = || state.holder != me && family.is_dead(state.holder);
        match state.stage {
            Stage::Free | Stage::Dead => return,
            // Another thread of this process, or another member, is reclaiming it: wait.
            Stage::Dying if !is_gone() => {
                std::thread::yield_now();
                relax();
                continue;
            }
            // A living member is preparing the slot for a process that has no stamp yet.
            Stage::Claimed if !is_gone() => return,
            Stage::Reserved | Stage::Forking | Stage::Alive if !condition(state) => return,
            Stage::Claimed | Stage::Reserved | Stage::Forking | Stage::Alive | Stage::Dying => {}
        }
        if member.advance(state, Stage::Dying, me) {
            break state;
        }
    };
    release_holdings(family, dead);
    let parent = match before.stage {
        // The entry may still describe the slot's previous process.
        Stage::Claimed => before.holder,
        _ => Stamp::from_raw(member.parent.load(Ordering::Relaxed)),
    };
    let now = |stage, holder| MemberState {
        stage,
        holder,
        ..before
    };
    member.advance(now(Stage::Dying, me), Stage::Dead, parent);
    if parent != me && family.is_dead(parent) {
        member.advance(now(Stage::Dead, parent), Stage::Free, Stamp::NOBODY);
    }
}

/// Reclaims every member whose process is gone; returns how many.
pub fn reclaim_all(family: &Family) -> usize {
    let mut dead = Vec::new();
    family.for_each_member(|stamp, member| {
        let unreclaimed = !matches!(member.stage(), Stage::Free | Stage::Dead);
        if unreclaimed && family.is_dead(stamp) {
            dead.push(stamp);
        }
    });
    for &stamp in &dead {
        reclaim_if_dead(family, stamp);
    }
    // Again, for objects that earlier calls skipped because somebody was attached to them.
    carrier::recount(family);
    dead.len()
}

/// Does steps 2 to 5.
fn release_holdings(family: &Family, dead: Stamp) {
    family.for_each_object(|object| object.reclaim_from(dead));
    let member = family.member(dead);
    let parent = Stamp::from_raw(member.parent.load(Ordering::Relaxed));
    let outcome = member.outcome.load(Ordering::Acquire);
    if outcome != 0 && !family.is_dead(parent) {
        // Fails when the parent has fetched the outcome already.
        let _ = family.change_owner(outcome, dead, parent);
    }
    let space = family.space();
    for offset in held_by(space, dead) {
        if offset != outcome || family.is_dead(parent) {
            family.free_of(offset, dead);
        }
    }
    recount(space);
    carrier::recount(family);
    let (mut unstarted, mut half_reclaimed) = (Vec::new(), Vec::new());
    family.for_each_member(|stamp, other| {
        let state = other.state();
        let is_child = other.parent.load(Ordering::Relaxed) == dead.raw();
        match state.stage {
            Stage::Dying | Stage::Claimed if state.holder == dead => half_reclaimed.push(stamp),
            Stage::Reserved | Stage::Forking if state.holder == dead && is_child => {
                unstarted.push(stamp);
            }
            Stage::Dead if is_child => {
                other.advance(state, Stage::Free, Stamp::NOBODY);
            }
            _ => {}
        }
    });
    for stamp in half_reclaimed {
        family.reclaim(stamp);
    }
    for stamp in unstarted {
        reclaim_if_dead(family, stamp);
    }
}

/// Returns the offsets of the blocks that a member owns.
pub fn held_by(store: &impl BackingStore, owner: Stamp) -> Vec<u64> {
    let mut held = Vec::new();
    for_each_block(store, |offset, word, _| {
        if usize::from(word.owner) == owner.slot() {
            held.push(offset);
        }
    });
    held
}

/// Recounts the allocator's hints, which a kill between two steps may have left wrong.
pub fn recount(store: &impl BackingStore) {
    let header = store.header();
    header.first_free.store(0, Ordering::Relaxed);
    let high = u64::from(header.high_water.load(Ordering::Acquire));
    let mut chunk = 0;
    while chunk < high {
        let word = StateWord::unpack(store.chunk_word(chunk).load(Ordering::Acquire));
        if word.usage == Use::Span {
            spans::recount(store, chunk, word.size as usize);
        }
        chunk += chunks::span_of(word);
    }
}

/// Calls `visit` with the offset, word and capacity of every taken block.
pub fn for_each_block(store: &impl BackingStore, mut visit: impl FnMut(u64, StateWord, u64)) {
    let data = store.layout().data();
    // What does not fit the layout, a process has written over: it is left out.
    let chunks = store.layout().chunks;
    let high = u64::from(store.header().high_water.load(Ordering::Acquire)).min(chunks);
    let mut chunk = 0;
    while chunk < high {
        let word = StateWord::unpack(store.chunk_word(chunk).load(Ordering::Acquire));
        let begin = data + chunk * CHUNK;
        match word.usage {
            Use::Span if (word.size as usize) < spans::CLASSES => {
                let class = word.size as usize;
                let size = spans::size_of(class);
                spans::for_each_taken(store, chunk, class, |index, word| {
                    visit(begin + index * size, word, size);
                });
            }
            Use::Taken if u64::from(word.size) <= chunks - chunk => {
                visit(begin, word, u64::from(word.size) * CHUNK);
            }
            Use::Span | Use::Taken | Use::Free | Use::Retired => {}
        }
        chunk += chunks::span_of(word);
    }
}
