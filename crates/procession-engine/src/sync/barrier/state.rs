//! The state of a barrier: its generation, how many have come, and who leads it.
//!
//! `README.md` beside this file tells how it stays sound; `sync/barrier.rs` is what
//! callers see.
//!
//! # Safety
//! The shared part is made of atomics, and any bytes are a value of it.

#![expect(unsafe_code, reason = "the form of what is shared")]

use crate::sync::notify::NotifyList;
use procession_shm::{BodyView, Family, ObjectKind, RawLock, SharedBody, Stamp};
use procession_sys::primitive::{AtomicU32, AtomicU64, Ordering, futex_wait, futex_wake};
use procession_sys::wait::futex::Woken;
use procession_sys::wait::time::Deadline;

/// Generations whose end is remembered; bits of [`Body::broken`].
const REMEMBERED: u32 = 64;

#[repr(C)]
#[derive(Debug)]
pub(crate) struct BarrierLayout {
    guard: RawLock,
    /// Generation and status, packed by [`Gate`]; followers park on it.
    gate: AtomicU32,
    parties: AtomicU32,
    /// The process that runs the action while the gate says acting.
    leader: AtomicU32,
    /// How many have come (low half), if the high half is the gate's generation.
    arrived: AtomicU64,
    /// One bit per generation, by its number: it ended broken.
    broken: AtomicU64,
    /// Why the latest of them was broken, packed by [`Break`].
    cause: AtomicU64,
    /// The processes that wait by descriptor until the gate changes.
    awaiting: NotifyList,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gate {
    pub(crate) generation: u32,
    pub(crate) status: Status,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Some processes have yet to come.
    Filling,
    /// All have come; the leader runs its action.
    Acting,
    /// Nobody gets through until a reset.
    Broken,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct BarrierState<'a> {
    family: &'a Family,
    body: &'a BarrierLayout,
}

/// Why a generation was broken, and which process broke it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Break {
    pub(crate) cause: Cause,
    pub(crate) pid: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Aborted,
    Reset,
    TimedOut,
    ActionFailed,
    LeaderDied,
}

pub(crate) enum Arrival {
    Leader(u32, u32),
    Follower(u32, u32),
    Broken(u32),
    /// The generation before is not over.
    Early(Gate),
}

impl<'a> BarrierState<'a> {
    pub(crate) fn of(view: BodyView<'a, BarrierLayout>) -> Self {
        Self {
            family: view.family(),
            body: view.body(),
        }
    }

    pub(crate) fn parties(&self) -> u32 {
        self.body.parties.load(Ordering::Relaxed)
    }

    pub(crate) fn set_parties(&self, parties: u32) {
        // Relaxed: a process gets the handle only after this.
        self.body.parties.store(parties, Ordering::Relaxed);
    }

    pub(crate) fn awaiting(&self) -> &'a NotifyList {
        &self.body.awaiting
    }

    /// Returns who runs the action, while the gate says acting.
    pub(crate) fn leader(&self) -> Stamp {
        Stamp::from_raw(self.body.leader.load(Ordering::Relaxed))
    }

    /// Blocks while the gate stands as given.
    pub(crate) fn park(&self, gate: Gate, deadline: Deadline) -> Woken {
        futex_wait(&self.body.gate, gate.pack(), deadline)
    }

    /// Takes the guard. A dead owner leaves nothing to repair, because one word, the gate, decides
    /// everything.
    fn lock(&self, me: Stamp) {
        self.body.guard.lock(me, self.family);
    }

    pub(crate) fn gate(&self) -> Gate {
        // Acquire pairs with the Release of `set_gate`.
        Gate::unpack(self.body.gate.load(Ordering::Acquire))
    }

    fn set_gate(&self, gate: Gate) {
        // Release: a process that goes on sees what the others did before they came.
        self.body.gate.store(gate.pack(), Ordering::Release);
    }

    pub(crate) fn arrived(&self, generation: u32) -> u32 {
        let arrived = self.body.arrived.load(Ordering::Relaxed);
        if (arrived >> 32) as u32 == generation {
            arrived as u32
        } else {
            0
        }
    }

    fn set_arrived(&self, generation: u32, count: u32) {
        let arrived = u64::from(generation) << 32 | u64::from(count);
        self.body.arrived.store(arrived, Ordering::Relaxed);
    }

    pub(crate) fn arrive(&self, me: Stamp) -> Arrival {
        self.lock(me);
        let gate = self.gate();
        let generation = gate.generation;
        let arrival = match gate.status {
            Status::Broken => Arrival::Broken(generation),
            Status::Acting => Arrival::Early(gate),
            Status::Filling => {
                let index = self.arrived(generation);
                let last = index + 1 == self.parties();
                if last {
                    self.body.leader.store(me.raw(), Ordering::Relaxed);
                    // Before the count: if we are killed in between, the
                    // others find a dead leader, and not a full barrier
                    // without one.
                    self.set_gate(Gate {
                        generation,
                        status: Status::Acting,
                    });
                }
                self.set_arrived(generation, index + 1);
                if last {
                    Arrival::Leader(generation, index)
                } else {
                    Arrival::Follower(generation, index)
                }
            }
        };
        self.body.guard.unlock();
        arrival
    }

    /// Takes back an arrival, if the last has not come.
    pub(crate) fn leave(&self, me: Stamp, generation: u32) {
        self.lock(me);
        let gate = self.gate();
        let filling = gate.generation == generation && gate.status == Status::Filling;
        if filling {
            let arrived = self.arrived(generation);
            self.set_arrived(generation, arrived.saturating_sub(1));
        }
        self.body.guard.unlock();
    }

    /// Breaks the generation, if `to` returns the gate that follows the present one.
    pub(crate) fn change(
        &self,
        me: Stamp,
        cause: Cause,
        to: impl FnOnce(Gate, u32) -> Option<Gate>,
    ) -> bool {
        self.change_to(me, Some((cause, me)), to)
    }

    /// Ends the generation, if `to`, given the gate and how many have come, returns the gate that
    /// follows; tells whether it did. The generation ends well if `broken_by` is `None`.
    pub(crate) fn change_to(
        &self,
        me: Stamp,
        broken_by: Option<(Cause, Stamp)>,
        to: impl FnOnce(Gate, u32) -> Option<Gate>,
    ) -> bool {
        self.lock(me);
        let gate = self.gate();
        let next = to(gate, self.arrived(gate.generation));
        if let Some(next) = next {
            let bit = 1 << (gate.generation % REMEMBERED);
            let broken = self.body.broken.load(Ordering::Relaxed);
            let broken = match broken_by {
                None => broken & !bit,
                Some(_) => broken | bit,
            };
            // A gate that is broken already keeps its first reason.
            if let Some((cause, by)) = broken_by.filter(|_| gate.status != Status::Broken) {
                let pid = self.family.member(by).pid();
                let why = Break { cause, pid }.pack(gate.generation);
                // Relaxed: the store of the gate that follows publishes it; the word
                // names its generation, so a reader of another one ignores it.
                self.body.cause.store(why, Ordering::Relaxed);
            }
            // Release, and before the gate: see README.md.
            self.body.broken.store(broken, Ordering::Release);
            self.set_gate(next);
        }
        self.body.guard.unlock();
        if next.is_some() {
            futex_wake(&self.body.gate, u32::MAX);
            self.body.awaiting.ring_armed(self.family);
        }
        next.is_some()
    }

    /// Tells whether a generation ended well; none while it goes on.
    pub(crate) fn end_of(&self, generation: u32, gate: Gate) -> Option<bool> {
        if gate.generation == generation {
            return (gate.status == Status::Broken).then_some(false);
        }
        let broken = self.body.broken.load(Ordering::Acquire);
        // Looked at after the mask: the bit was ours until then.
        let ago = self.gate().generation.wrapping_sub(generation) & Gate::GENERATIONS;
        Some(ago < REMEMBERED && broken & 1 << (generation % REMEMBERED) == 0)
    }

    /// Returns why a generation ended broken, unless a later one has since.
    pub(crate) fn why(&self, generation: u32) -> Option<Break> {
        Break::unpack(self.body.cause.load(Ordering::Relaxed), generation)
    }

    /// Reclaims the leader if it has died, which breaks the barrier.
    pub(crate) fn reclaim_leader(&self) {
        let leader = self.leader();
        let family = self.family;
        if family.is_dead(leader) {
            family.reclaim(leader);
        }
    }

    /// Breaks the barrier if the dead member led it.
    fn reclaim(&self, dead: Stamp) {
        let by = Some((Cause::LeaderDied, dead));
        self.change_to(self.family.me(), by, |gate, _| {
            let leader = self.body.leader.load(Ordering::Relaxed);
            (gate.status == Status::Acting && leader == dead.raw()).then(|| gate.broken())
        });
        // The dead member may have changed the gate without waking anybody.
        futex_wake(&self.body.gate, u32::MAX);
        self.body.awaiting.forget_and_ring(self.family, dead);
    }
}

impl Break {
    const CAUSES: [Cause; 5] = [
        Cause::Aborted,
        Cause::Reset,
        Cause::TimedOut,
        Cause::ActionFailed,
        Cause::LeaderDied,
    ];

    /// The generation in the upper half, the cause in the lowest three bits, counted
    /// from 1, and the pid above them, which has 22.
    fn pack(self, generation: u32) -> u64 {
        u64::from(generation) << 32 | u64::from(self.pid) << 3 | (self.cause as u64 + 1)
    }

    fn unpack(raw: u64, generation: u32) -> Option<Self> {
        if (raw >> 32) as u32 != generation {
            return None;
        }
        let index = (raw as usize & 7).checked_sub(1)?;
        Some(Self {
            cause: *Self::CAUSES.get(index)?,
            pid: raw as u32 >> 3,
        })
    }
}

impl Gate {
    /// Mask of a generation's number.
    const GENERATIONS: u32 = u32::MAX >> 2;

    pub(crate) fn next(self) -> Self {
        Self {
            generation: self.generation.wrapping_add(1) & Self::GENERATIONS,
            status: Status::Filling,
        }
    }

    pub(crate) fn broken(self) -> Self {
        Self {
            status: Status::Broken,
            ..self
        }
    }

    fn pack(self) -> u32 {
        let status = match self.status {
            Status::Filling => 0,
            Status::Acting => 1,
            Status::Broken => 2,
        };
        self.generation << 2 | status
    }

    fn unpack(raw: u32) -> Self {
        let status = match raw & 3 {
            0 => Status::Filling,
            1 => Status::Acting,
            _ => Status::Broken,
        };
        Self {
            generation: raw >> 2,
            status,
        }
    }
}

impl BarrierLayout {
    /// Returns the process for whose action the others wait, if they do.
    pub(crate) fn acting(&self) -> Option<Stamp> {
        let gate = Gate::unpack(self.gate.load(Ordering::Acquire));
        let leader = Stamp::from_raw(self.leader.load(Ordering::Relaxed));
        (gate.status == Status::Acting).then_some(leader)
    }
}

// SAFETY: a lock word and atomics, in the order of C.
unsafe impl SharedBody for BarrierLayout {
    const KIND: ObjectKind = ObjectKind::Barrier;

    fn recover(view: BodyView<'_, Self>, dead: Stamp) {
        BarrierState::of(view).reclaim(dead);
    }

    fn destroy(view: BodyView<'_, Self>) {
        view.body().awaiting.destroy(view.family());
    }
}
