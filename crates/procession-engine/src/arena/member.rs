//! The table of the family's members: who lives, whose child, how it ended.
//!
//! A slot goes free, reserved, alive, dying, dead, free. Each step is one
//! compare-exchange of `state`, which also names who answers for it, so that a
//! member that dies in mid-step leaves a state that others can take over:
//! reserved and dead belong to the parent, dying to the one that buries.

use crate::arena::exit::Exit;
use crate::arena::stamp::Stamp;
use crate::primitive::{AtomicU32, AtomicU64, Ordering};

/// Ends with its parent.
pub const DAEMON: u32 = 1;
/// Is a worker of a pool.
pub const WORKER: u32 = 2;
/// Is parked, waiting to become somebody's child.
pub const SPARE: u32 = 4;
/// Has got through its start to what it was started for.
pub const BOOTED: u32 = 8;
/// Its parent is waiting for its end right now.
pub const WATCHED: u32 = 16;

/// Bytes of a name that the table keeps.
const NAME_BYTES: usize = 32;

/// One entry of the member table.
#[repr(C)]
#[derive(Debug)]
pub struct Member {
    /// Kind (low half) and the stamp that answers for it (high half).
    state: AtomicU64,
    /// Boot time in nanoseconds when the process joined.
    pub seen: AtomicU64,
    /// What is known of its end.
    pub exit: Exit,
    /// Offset of the block with the outcome of the process's function, or 0.
    pub outcome: AtomicU64,
    /// How many bytes of that block are the outcome.
    pub outcome_len: AtomicU64,
    /// What the process is parked on: kind in the top byte, serial below.
    pub waiting_on: AtomicU64,
    /// Counts how often the slot was used.
    pub generation: AtomicU32,
    /// Process id, 0 until known.
    pub pid: AtomicU32,
    /// Stamp of the process that asked for this one.
    pub parent: AtomicU32,
    /// Stamp of the process that reaps this one, where that is not the parent.
    pub keeper: AtomicU32,
    /// [`DAEMON`], [`WORKER`], [`SPARE`], [`BOOTED`], [`WATCHED`].
    pub flags: AtomicU32,
    /// 1 once the process was asked to stop; a futex.
    pub stop: AtomicU32,
    name: [AtomicU64; NAME_BYTES / 8],
}

const _: () = assert!(size_of::<Member>() as u64 <= crate::arena::layout::MEMBER_SIZE);

/// How far a slot has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nobody's.
    Free,
    /// Set aside for a process that is about to start.
    Reserved,
    /// In use by a process that has joined.
    Alive,
    /// Being cleared away after.
    Dying,
    /// Cleared away; the exit status may still be read.
    Dead,
}

impl Member {
    /// Returns the stage and who answers for it.
    pub fn stage(&self) -> (Stage, Stamp) {
        unpack(self.state.load(Ordering::Acquire))
    }

    /// Moves from one stage to another, if nobody was faster.
    pub fn advance(&self, from: (Stage, Stamp), to: (Stage, Stamp)) -> bool {
        self.state
            .compare_exchange(pack(from), pack(to), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Clears the entry for its next process; returns the new generation.
    pub fn renew(&self, parent: Stamp) -> u32 {
        let generation = self.generation.load(Ordering::Relaxed).wrapping_add(1) & 0x7_ffff;
        self.pid.store(0, Ordering::Relaxed);
        self.seen.store(0, Ordering::Relaxed);
        self.outcome.store(0, Ordering::Relaxed);
        self.outcome_len.store(0, Ordering::Relaxed);
        self.waiting_on.store(0, Ordering::Relaxed);
        self.parent.store(parent.raw(), Ordering::Relaxed);
        self.keeper.store(0, Ordering::Relaxed);
        self.flags.store(0, Ordering::Relaxed);
        self.stop.store(0, Ordering::Relaxed);
        self.exit.renew(generation);
        // Release: whoever reads the generation sees the entry cleared.
        self.generation.store(generation, Ordering::Release);
        generation
    }

    /// Says what the process is to be, before it starts.
    pub fn describe(&self, name: &str, flags: u32) {
        self.set_name(name);
        self.flags.store(flags, Ordering::Relaxed);
    }

    /// Stores a name, cut to what fits.
    pub fn set_name(&self, name: &str) {
        let mut bytes = [0; NAME_BYTES];
        let mut end = name.len().min(NAME_BYTES);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        bytes[..end].copy_from_slice(&name.as_bytes()[..end]);
        for (word, chunk) in self.name.iter().zip(bytes.chunks_exact(8)) {
            let chunk = <[u8; 8]>::try_from(chunk).expect("chunks are of 8 bytes");
            word.store(u64::from_le_bytes(chunk), Ordering::Relaxed);
        }
    }

    /// Returns the name.
    pub fn name(&self) -> String {
        let bytes: Vec<u8> = self
            .name
            .iter()
            .flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes())
            .take_while(|&byte| byte != 0)
            .collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn pack((stage, stamp): (Stage, Stamp)) -> u64 {
    let kind = match stage {
        Stage::Free => 0,
        Stage::Reserved => 1,
        Stage::Alive => 2,
        Stage::Dying => 3,
        Stage::Dead => 4,
    };
    kind | u64::from(stamp.raw()) << 32
}

fn unpack(raw: u64) -> (Stage, Stamp) {
    let stage = match raw & 0xff {
        0 => Stage::Free,
        1 => Stage::Reserved,
        2 => Stage::Alive,
        3 => Stage::Dying,
        _ => Stage::Dead,
    };
    (stage, Stamp::from_raw((raw >> 32) as u32))
}
