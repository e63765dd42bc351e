//! The table of the family's members: who lives, whose child, how it ended.
//!
//! A slot goes free, claimed, reserved, alive, dying, dead, free. Each step is one
//! compare-exchange of `state`, which also names who answers for it, so that a
//! member that dies in mid-step leaves a state that others can take over:
//! claimed, reserved and dead belong to the parent, dying to the one that buries.
//! The word counts how often the slot was used, too: a step that was decided upon by an
//! old look fails, and cannot hit the slot's next member.

use crate::arena::exit::Exit;
use crate::arena::stamp::Stamp;
use crate::primitive::{AtomicU32, AtomicU64, Ordering};

/// Ends with its parent.
pub const DAEMON: u32 = 1;
/// Is parked, waiting to become somebody's child.
pub const SPARE: u32 = 2;
/// Has got through its start to what it was started for.
pub const BOOTED: u32 = 4;
/// Its parent is waiting for its end right now.
pub const WATCHED: u32 = 8;

/// Bytes of a name that the table keeps.
const NAME_BYTES: usize = 32;

/// One entry of the member table.
#[repr(C)]
#[derive(Debug)]
pub struct Member {
    /// Stage (lowest byte), generation, and the stamp that answers for it (high half).
    state: AtomicU64,
    /// Generation, and the boot time in milliseconds when the process joined.
    seen: AtomicU64,
    /// What is known of its end.
    pub exit: Exit,
    /// Offset of the block with the outcome of the process's function, or 0.
    pub outcome: AtomicU64,
    /// How many bytes of that block are the outcome.
    pub outcome_len: AtomicU64,
    /// What the process is parked on: kind in the top byte, serial below.
    pub waiting_on: AtomicU64,
    /// Generation (high half) and process id, 0 until known.
    pid: AtomicU64,
    /// Stamp of the process that asked for this one.
    pub parent: AtomicU32,
    /// Stamp of the process that reaps this one, where that is not the parent.
    pub keeper: AtomicU32,
    /// [`DAEMON`], [`SPARE`], [`BOOTED`], [`WATCHED`].
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
    /// Being made ready for its next process.
    Claimed,
    /// Set aside for a process that is about to start.
    Reserved,
    /// In use by a process that has joined.
    Alive,
    /// Being cleared away after.
    Dying,
    /// Cleared away; the exit status may still be read.
    Dead,
}

/// What a slot's one word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How far the slot has come.
    pub stage: Stage,
    /// How often it was used.
    pub generation: u32,
    /// Who answers for it.
    pub holder: Stamp,
}

impl Member {
    /// Returns how things stand.
    pub fn standing(&self) -> Standing {
        Standing::unpack(self.state.load(Ordering::Acquire))
    }

    /// Returns the stage.
    pub fn stage(&self) -> Stage {
        self.standing().stage
    }

    /// Returns how often the slot was used.
    pub fn generation(&self) -> u32 {
        self.standing().generation
    }

    /// Moves from where things stood to another stage, if nobody was faster.
    pub fn advance(&self, from: Standing, stage: Stage, holder: Stamp) -> bool {
        let to = Standing {
            stage,
            holder,
            ..from
        };
        self.change(from, to)
    }

    fn change(&self, from: Standing, to: Standing) -> bool {
        self.state
            .compare_exchange(from.pack(), to.pack(), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Sets the slot aside for a child of `parent`, if it is free; returns the new
    /// generation.
    pub fn claim(&self, parent: Stamp) -> Option<u32> {
        let free = self.standing();
        let claimed = Standing {
            stage: Stage::Claimed,
            generation: free.generation.wrapping_add(1) & GENERATIONS,
            holder: parent,
        };
        // Killed before the last step, we leave a slot that any burial clears.
        if free.stage != Stage::Free || !self.change(free, claimed) {
            return None;
        }
        self.clear(parent, claimed.generation);
        self.advance(claimed, Stage::Reserved, parent)
            .then_some(claimed.generation)
    }

    /// Makes the slot this process's, if it still waits for the process that `generation`
    /// means.
    pub fn join(&self, generation: u32, pid: u32, seen: u64) -> bool {
        let reserved = self.standing();
        let is_ours = reserved.stage == Stage::Reserved && reserved.generation == generation;
        // A process that comes too late finds another's, and changes nothing.
        let set = |word: &AtomicU64, empty, value| {
            word.compare_exchange(empty, value, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        };
        let parent = Stamp::from_raw(self.parent.load(Ordering::Relaxed));
        let (no_pid, never) = (pid_word(generation, 0), seen_word(generation, 0));
        is_ours
            && set(&self.pid, no_pid, pid_word(generation, pid))
            && set(&self.seen, never, seen_word(generation, seen))
            && self.advance(reserved, Stage::Alive, parent)
    }

    /// Returns the process id, 0 until known.
    pub fn pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed) as u32
    }

    /// Returns the boot time in nanoseconds by which the process had joined.
    pub fn seen(&self) -> u64 {
        (self.seen.load(Ordering::Relaxed) & TIMES) * MILLISECOND
    }

    /// Clears the entry for its next process.
    fn clear(&self, parent: Stamp, generation: u32) {
        self.pid.store(pid_word(generation, 0), Ordering::Relaxed);
        self.seen.store(seen_word(generation, 0), Ordering::Relaxed);
        self.outcome.store(0, Ordering::Relaxed);
        self.outcome_len.store(0, Ordering::Relaxed);
        self.waiting_on.store(0, Ordering::Relaxed);
        self.parent.store(parent.raw(), Ordering::Relaxed);
        self.keeper.store(0, Ordering::Relaxed);
        self.flags.store(0, Ordering::Relaxed);
        self.stop.store(0, Ordering::Relaxed);
        self.exit.renew(generation);
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

impl Standing {
    /// Tells whether the process that `stamp` names was buried, or is being buried.
    pub fn is_past(self, stamp: Stamp) -> bool {
        self.generation != stamp.generation()
            || matches!(self.stage, Stage::Free | Stage::Dying | Stage::Dead)
    }

    fn pack(self) -> u64 {
        let kind = match self.stage {
            Stage::Free => 0,
            Stage::Claimed => 1,
            Stage::Reserved => 2,
            Stage::Alive => 3,
            Stage::Dying => 4,
            Stage::Dead => 5,
        };
        kind | u64::from(self.generation) << 8 | u64::from(self.holder.raw()) << 32
    }

    fn unpack(raw: u64) -> Self {
        Self {
            stage: match raw & 0xff {
                0 => Stage::Free,
                1 => Stage::Claimed,
                2 => Stage::Reserved,
                3 => Stage::Alive,
                4 => Stage::Dying,
                _ => Stage::Dead,
            },
            generation: (raw >> 8) as u32 & GENERATIONS,
            holder: Stamp::from_raw((raw >> 32) as u32),
        }
    }
}

/// What a generation counts up to: the bits that a stamp has for it.
const GENERATIONS: u32 = 0x7_ffff;

/// What the word of the time has for it; the rest is the generation.
const TIMES: u64 = (1 << 45) - 1;

/// In nanoseconds. The kernel dates starts by hundredths of a second.
const MILLISECOND: u64 = 1_000_000;

fn pid_word(generation: u32, pid: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(pid)
}

fn seen_word(generation: u32, nanoseconds: u64) -> u64 {
    u64::from(generation) << 45 | nanoseconds.div_ceil(MILLISECOND) & TIMES
}
