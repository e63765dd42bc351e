//! Children whose fork has begun, and who may exist though they have not joined yet.
//!
//! # Protocol
//! A forked child has its parent's objects from its first instruction on, but can say so
//! only once it runs. Until then its slot and its cells in them keep the objects alive, which
//! the parent has made ready before the fork. If the parent dies, they must not be taken from
//! a child that exists, else its first write is to what has become another's block; and they
//! must be, in the end, where the parent was killed before there was a child.
//!
//! So the last handler that runs before the fork moves the slot from reserved to *forking*.
//! Who finds a slot in that stage, and its holder dead, looks in /proc for a process that can
//! write to the family's memory and is no member that lives: a child has the memory mapped
//! from its birth on, and a dead parent bears no other. While there is one, or it cannot be
//! told, the slot stays. A child that joins meanwhile wins the exchange of the slot's state.
//!
//! The parent itself learns nothing of a child that other code forks, not even whether there
//! is one. If the fork has failed, the C library's error tells that. If the child was killed
//! before it joined, its slot is left: the parent lists such slots, and once there are many it
//! looks in /proc as others do.

use crate::alloc::space::Space;
use crate::member::stamp::Stamp;
use crate::member::table::Stage;
use procession_sys::primitive::{AtomicU64, Ordering};
use procession_sys::process::liveness::boot_time;
use procession_sys::procfs;
use procession_sys::procfs::mappings::MappedFile;

/// Nanoseconds for which it is believed that a process was found.
const BELIEVED: u64 = 100_000_000;

/// So many children that other code has forked may be unborn before the parent looks for them.
const MANY: usize = 16;

/// When a process that may be an unborn child was last found, in nanoseconds since boot.
#[derive(Debug, Default)]
pub struct LastFound(AtomicU64);

/// Tells whether a child may exist that has not joined yet; its fork began at `since`
/// (nanoseconds since boot), and whoever began it does so no more. `members` returns the process
/// ids of the other members that live.
pub(crate) fn may_exist(
    space: &Space,
    found: &LastFound,
    since: u64,
    members: impl FnOnce() -> Vec<u32>,
) -> bool {
    let now = boot_time();
    let LastFound(last) = found;
    // Relaxed: it only spares a look.
    let before = last.load(Ordering::Relaxed);
    if before != 0 && now.saturating_sub(before) < BELIEVED {
        return true;
    }
    let is_found = is_there(space, since, members);
    last.store(if is_found { now } else { 0 }, Ordering::Relaxed);
    is_found
}

fn is_there(space: &Space, since: u64, members: impl FnOnce() -> Vec<u32>) -> bool {
    let (address, _) = space.map().addresses();
    let (Some(memory), Ok(mut pids)) = (MappedFile::at(address), procfs::pids()) else {
        return true;
    };
    // After the list of processes: who joins in between is not taken for unborn.
    let members = members();
    pids.retain(|pid| *pid != std::process::id() && !members.contains(pid));
    pids.into_iter()
        .any(|pid| memory.may_be_written_by(pid, since))
}

/// Slots of children that other code has forked, and of whom nothing was heard.
#[derive(Debug, Default)]
pub struct Unborn(Vec<Stamp>);

impl Unborn {
    /// Adds the slot of a child that other code has just forked.
    pub(crate) fn add(&mut self, child: Stamp) {
        self.0.push(child);
    }

    /// Forgets all, in a child.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes out those who were killed before they joined, once there are many.
    #[must_use = "their slots are to be given back"]
    pub(crate) fn take_dead(
        &mut self,
        space: &Space,
        found: &LastFound,
        members: impl FnOnce() -> Vec<u32>,
    ) -> Vec<Stamp> {
        self.0.retain(|&stamp| {
            let state = space.member(stamp.slot()).state();
            state.generation == stamp.generation() && state.stage == Stage::Forking
        });
        let begun = self.0.iter().map(|one| space.member(one.slot()).seen());
        match begun.min() {
            Some(since) if self.0.len() >= MANY && !may_exist(space, found, since, members) => {
                std::mem::take(&mut self.0)
            }
            _ => Vec::new(),
        }
    }
}
