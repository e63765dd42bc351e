//! The layout of the object of spares: the slots, the keeper, and the words by which the
//! keeper and the processes that wait for a spare communicate.
//!
//! # Safety
//! What is shared is made of atomics, and any bytes are a value of it.

#![expect(unsafe_code, reason = "the form of what is shared")]

use crate::standby::availability::Availability;
use crate::standby::slot::StandbySlot;
use crate::standby::working_set::WorkingSet;
use procession_shm::{BodyView, Family, ObjectKind, SharedBody, Stamp};
use procession_sys::attributes::privileges::Privileges;
use procession_sys::fd::streams;
use procession_sys::limits::rlimits;
use procession_sys::primitive::{AtomicU32, AtomicU64, Ordering};

/// How many slots an object has; spares that were claimed and not yet started count, too.
pub const SLOTS: usize = 64;

/// Words that hold the text of the keeper's last error.
const NOTE_WORDS: usize = 32;

/// The object of spares.
#[repr(C)]
pub struct StandbyTable {
    /// Stamp of the process that starts and reaps the spares.
    pub keeper: AtomicU32,
    /// Its pid.
    pub keeper_pid: AtomicU32,
    /// Changes when a spare becomes available, or cannot be started.
    pub supply: Availability,
    /// How many starts have found no spare, ever.
    pub requests: AtomicU32,
    /// How many spares could not be started, ever.
    troubles: AtomicU32,
    /// How many of `requests` were handled when the last spare could not be started.
    refused: AtomicU32,
    /// The privileges of the process that started the keeper, as a digest.
    pub privileges: AtomicU64,
    /// How many processes the keeper might have when it was started, and spares with it.
    most_processes: AtomicU64,
    /// The standard streams of that process, which the spares inherit, as digests.
    pub streams: [AtomicU64; 3],
    /// Why the last spare could not be started.
    note: [AtomicU64; NOTE_WORDS],
    pub slots: [StandbySlot; SLOTS],
    /// The pages that the next spares copy while they wait.
    pub working_set: WorkingSet,
}

impl StandbyTable {
    /// Stores privileges and streams of this thread, which is about to start the keeper.
    pub fn note_starter(&self) {
        // Relaxed, as below: others get the object's handle later, from this process.
        let privileges = Privileges::look().digest();
        self.privileges.store(privileges, Ordering::Relaxed);
        let most = rlimits::most_processes();
        self.most_processes.store(most, Ordering::Relaxed);
        for (word, digest) in self.streams.iter().zip(streams::digests()) {
            word.store(digest, Ordering::Relaxed);
        }
    }

    /// Tells whether this process may have more processes than the keeper might when it
    /// was started.
    pub fn has_outgrown_keeper(&self) -> bool {
        self.most_processes.load(Ordering::Relaxed) < rlimits::most_processes()
    }

    /// Tells whether this thread has the same privileges as the keeper.
    pub fn has_our_privileges(&self) -> bool {
        self.privileges.load(Ordering::Relaxed) == Privileges::look().digest()
    }

    /// Returns one bit for each standard stream of this process that differs from the spares'.
    pub fn redirected(&self) -> u32 {
        let now = streams::digests();
        (0..)
            .zip(self.streams.iter().zip(now))
            .filter(|(_, (then, now))| then.load(Ordering::Relaxed) != *now)
            .fold(0, |set, (number, _)| set | 1 << number)
    }

    /// Returns the keeper's stamp.
    pub fn keeper(&self) -> Stamp {
        // Acquire pairs with the Release in `set_keeper`.
        Stamp::from_raw(self.keeper.load(Ordering::Acquire))
    }

    /// Sets the keeper.
    pub fn set_keeper(&self, stamp: Stamp) {
        self.keeper.store(stamp.raw(), Ordering::Release);
    }

    /// Takes a slot for a spare that is about to be started: an empty one, or one whose spare
    /// has ended. Only the keeper may call it.
    pub fn open_slot(&self, family: &Family) -> Option<usize> {
        self.slots.iter().position(|slot| slot.open(family))
    }

    /// Returns how many spares may be claimed, or soon may.
    pub fn free_count(&self) -> usize {
        self.slots.iter().filter(|c| c.word().is_free()).count()
    }

    /// Reports why no spare could be started, when `seen` requests had been handled.
    pub fn report(&self, trouble: &str, seen: u32) {
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
        self.troubles.fetch_add(1, Ordering::Relaxed);
        // Release pairs with the Acquire in `has_refused` and `has_told`.
        self.refused.store(seen, Ordering::Release);
        self.supply.announce();
    }

    /// Tells whether the last error was reported after the keeper had handled this request; an
    /// earlier error does not concern the request.
    pub fn has_refused(&self, request: u32) -> bool {
        let refused = self.refused.load(Ordering::Acquire);
        refused.wrapping_sub(request).cast_signed() >= 0
    }

    /// Tells whether anything was ever reported.
    pub fn has_told(&self) -> bool {
        // Acquire pairs with the Release in `report`.
        self.refused.load(Ordering::Acquire);
        self.troubles.load(Ordering::Relaxed) > 0
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

// SAFETY: atomics, in the order of C.
unsafe impl SharedBody for StandbyTable {
    const KIND: ObjectKind = ObjectKind::Spares;

    fn recover(view: BodyView<'_, Self>, dead: Stamp) {
        let body = view.body();
        let is_keeper = body.keeper() == dead;
        for slot in &body.slots {
            slot.clear_after(dead, is_keeper);
        }
        if is_keeper {
            body.supply.announce();
        }
    }
}
