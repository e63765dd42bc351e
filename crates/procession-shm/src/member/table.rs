//! The table of the family's members: which are alive, whose children, how they ended.
//!
//! A slot goes free, claimed, reserved, alive, dying, dead, free; that of a forked child is
//! *forking* between reserved and alive (`unborn.rs`). Each step is one
//! compare-exchange of `state`, which also names the member that has to take the next step
//! (the holder): the parent for claimed, reserved, forking and dead, the member that reclaims
//! for dying. If the holder dies, others can see that and take the step instead.
//! The word also counts how often the slot was used, so a step that was decided by an
//! outdated look fails, and cannot hit the slot's next member.

use crate::member::exit::ExitWord;
use crate::member::stamp::Stamp;
use procession_sys::primitive::{AtomicU32, AtomicU64, Ordering};

/// The process ends with its parent.
pub const DAEMON: u32 = 1;
/// The process is a spare: parked until another process claims it as a child.
pub const SPARE: u32 = 2;
/// The process has finished its startup and runs what it was started for.
pub const BOOTED: u32 = 4;
/// Bytes of a name that the table keeps.
const NAME_BYTES: usize = 32;

/// One entry of the member table.
#[repr(C)]
#[derive(Debug)]
pub struct Member {
    /// Stage (lowest byte), generation, and the holder's stamp (high half).
    state: AtomicU64,
    /// Generation, and the boot time in milliseconds when the process joined, or, before it
    /// has, when its fork began.
    seen: AtomicU64,
    /// The reap handshake.
    pub exit: ExitWord,
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
    /// [`DAEMON`], [`SPARE`], [`BOOTED`].
    pub flags: AtomicU32,
    /// 1 once the process was asked to stop; a futex.
    pub stop: AtomicU32,
    name: [AtomicU64; NAME_BYTES / 8],
    /// Generation (high half) and the pid namespace that the id belongs to, 0 where it is
    /// unknown.
    namespace: AtomicU64,
}

const _: () = assert!(size_of::<Member>() as u64 <= crate::alloc::layout::MEMBER_SIZE);

/// How far a slot has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Not in use.
    Free,
    /// Being cleared for its next process.
    Claimed,
    /// Reserved for a process that is about to start.
    Reserved,
    /// Reserved for a process whose fork has begun: it may exist already, whoever is dead.
    Forking,
    /// In use by a process that has joined.
    Alive,
    /// Being reclaimed.
    Dying,
    /// Reclaimed; the exit status may still be read.
    Dead,
}

/// What the state word of a slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberState {
    /// How far the slot has come.
    pub stage: Stage,
    /// How often the slot was used.
    pub generation: u32,
    /// The member that has to take the slot's next step.
    pub holder: Stamp,
}

impl Member {
    /// Returns the state.
    pub fn state(&self) -> MemberState {
        MemberState::unpack(self.state.load(Ordering::Acquire))
    }

    /// Returns the stage.
    pub fn stage(&self) -> Stage {
        self.state().stage
    }

    /// Returns how often the slot was used.
    pub fn generation(&self) -> u32 {
        self.state().generation
    }

    /// Moves the slot from a state to another stage, if it still is in that state; tells
    /// whether it was.
    pub fn advance(&self, from: MemberState, stage: Stage, holder: Stamp) -> bool {
        let to = MemberState {
            stage,
            holder,
            ..from
        };
        self.change(from, to)
    }

    fn change(&self, from: MemberState, to: MemberState) -> bool {
        self.state
            .compare_exchange(from.pack(), to.pack(), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Reserves the slot for a child of `parent`, if it is free; returns the new
    /// generation.
    pub fn claim(&self, parent: Stamp) -> Option<u32> {
        let free = self.state();
        let claimed = MemberState {
            stage: Stage::Claimed,
            generation: free.generation.wrapping_add(1) & GENERATIONS,
            holder: parent,
        };
        // If this process is killed before the last step, the slot stays claimed, and
        // reclaim clears it.
        if free.stage != Stage::Free || !self.change(free, claimed) {
            return None;
        }
        self.clear(parent, claimed.generation);
        self.advance(claimed, Stage::Reserved, parent)
            .then_some(claimed.generation)
    }

    /// Marks the slot as that of a child which this process forks now, if it is reserved in
    /// `generation`; tells whether it was.
    pub fn begin_fork(&self, generation: u32, now: u64) -> bool {
        let reserved = self.state();
        let is_ours = reserved.stage == Stage::Reserved && reserved.generation == generation;
        if is_ours {
            // The child is not there yet, and nobody else writes the word of a reserved slot.
            self.seen
                .store(seen_word(generation, now), Ordering::Relaxed);
        }
        is_ours && self.advance(reserved, Stage::Forking, reserved.holder)
    }

    /// Makes this process the slot's member, if the slot is still reserved in `generation`.
    pub fn join(&self, generation: u32, (pid, namespace): (u32, u32), seen: u64) -> bool {
        let reserved = self.state();
        let is_waiting = matches!(reserved.stage, Stage::Reserved | Stage::Forking);
        let is_ours = is_waiting && reserved.generation == generation;
        // If this process comes too late, the words are of a later generation, and nothing
        // is changed.
        let set = |word: &AtomicU64, empty, value| {
            word.compare_exchange(empty, value, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        };
        let parent = Stamp::from_raw(self.parent.load(Ordering::Relaxed));
        let no_pid = pid_word(generation, 0);
        let begun = self.seen.load(Ordering::Relaxed);
        is_ours
            && begun & !TIMES == seen_word(generation, 0)
            && set(&self.namespace, no_pid, pid_word(generation, namespace))
            && set(&self.pid, no_pid, pid_word(generation, pid))
            && set(&self.seen, begun, seen_word(generation, seen))
            && self.advance(reserved, Stage::Alive, parent)
    }

    /// Returns the process id, 0 until known.
    pub fn pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed) as u32
    }

    /// Tells whether the member is known to be outside this pid namespace, where its process
    /// id means another process or none.
    pub fn is_outside_namespace(&self, namespace: u32) -> bool {
        let theirs = self.namespace.load(Ordering::Relaxed) as u32;
        theirs != 0 && namespace != 0 && theirs != namespace
    }

    /// Returns when the process joined, or, before it has, when its fork began, in nanoseconds
    /// since boot, rounded up.
    pub fn seen(&self) -> u64 {
        (self.seen.load(Ordering::Relaxed) & TIMES) * MILLISECOND
    }

    /// Clears the entry for its next process.
    fn clear(&self, parent: Stamp, generation: u32) {
        self.pid.store(pid_word(generation, 0), Ordering::Relaxed);
        self.namespace
            .store(pid_word(generation, 0), Ordering::Relaxed);
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

    /// Sets name and flags of the process, before it starts.
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

impl MemberState {
    /// Tells whether the process that `stamp` names was reclaimed, or is being reclaimed.
    pub fn is_past(self, stamp: Stamp) -> bool {
        self.generation != stamp.generation()
            || matches!(self.stage, Stage::Free | Stage::Dying | Stage::Dead)
    }

    fn pack(self) -> u64 {
        let kind = match self.stage {
            Stage::Free => 0,
            Stage::Claimed => 1,
            Stage::Reserved => 2,
            Stage::Forking => 3,
            Stage::Alive => 4,
            Stage::Dying => 5,
            Stage::Dead => 6,
        };
        kind | u64::from(self.generation) << 8 | u64::from(self.holder.raw()) << 32
    }

    fn unpack(raw: u64) -> Self {
        Self {
            stage: match raw & 0xff {
                0 => Stage::Free,
                1 => Stage::Claimed,
                2 => Stage::Reserved,
                3 => Stage::Forking,
                4 => Stage::Alive,
                5 => Stage::Dying,
                _ => Stage::Dead,
            },
            generation: (raw >> 8) as u32 & GENERATIONS,
            holder: Stamp::from_raw((raw >> 32) as u32),
        }
    }
}

/// The bits of a generation: as many as a stamp has for it.
const GENERATIONS: u32 = 0x7_ffff;

/// The bits of `seen` that hold the time; the rest is the generation.
const TIMES: u64 = (1 << 45) - 1;

/// In nanoseconds. The kernel records the start of a process in hundredths of a second, so
/// milliseconds are precise enough.
const MILLISECOND: u64 = 1_000_000;

fn pid_word(generation: u32, pid: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(pid)
}

fn seen_word(generation: u32, nanoseconds: u64) -> u64 {
    u64::from(generation) << 45 | nanoseconds.div_ceil(MILLISECOND) & TIMES
}
