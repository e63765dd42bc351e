//! Where a barrier stands: which generation, how far, who leads it.
//!
//! `README.md` beside this file tells how it stays sound; `barrier.rs` is what
//! callers see.

use crate::arena::{Hooks, RawLock, Stamp, View};
use crate::os::futex::Woken;
use crate::os::time::Deadline;
use crate::primitive::{AtomicU32, AtomicU64, Ordering, futex_wait, futex_wake};

/// Generations whose end is remembered; bits of [`Body::broken`].
const REMEMBERED: u32 = 64;

#[repr(C)]
#[derive(Debug)]
pub(super) struct Body {
    guard: RawLock,
    /// Generation and status, packed by [`Gate`]; followers park on it.
    gate: AtomicU32,
    parties: AtomicU32,
    /// Who runs the action while the gate says acting.
    leader: AtomicU32,
    /// How many have come (low half), if the high half is the gate's generation.
    arrived: AtomicU64,
    /// One bit per generation, by its number: it ended broken.
    broken: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Gate {
    pub(super) generation: u32,
    pub(super) status: Status,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// Some have yet to come.
    Filling,
    /// All have come; the leader runs its action.
    Acting,
    /// Nobody gets through until a reset.
    Broken,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Inner<'a> {
    view: View<'a>,
    body: &'a Body,
}

pub(super) enum Arrival {
    Leader(u32, u32),
    Follower(u32, u32),
    Broken,
    /// The generation before is not over.
    Early(Gate),
}

impl<'a> Inner<'a> {
    pub(super) fn of(view: View<'a>) -> Self {
        Self {
            view,
            body: view.body(),
        }
    }

    pub(super) fn parties(&self) -> u32 {
        self.body.parties.load(Ordering::Relaxed)
    }

    pub(super) fn set_parties(&self, parties: u32) {
        // Relaxed: whoever gets the handle gets it after this.
        self.body.parties.store(parties, Ordering::Relaxed);
    }

    /// Blocks while the gate stands as given.
    pub(super) fn park(&self, gate: Gate, deadline: Deadline) -> Woken {
        futex_wait(&self.body.gate, gate.pack(), deadline)
    }

    /// Takes the guard. There is nothing to set right after a dead owner: all
    /// that counts is the gate, one word.
    fn lock(&self, me: Stamp) {
        self.body.guard.lock(me, self.view.family());
    }

    pub(super) fn gate(&self) -> Gate {
        // Acquire pairs with the Release of `set_gate`.
        Gate::unpack(self.body.gate.load(Ordering::Acquire))
    }

    fn set_gate(&self, gate: Gate) {
        // Release: who goes on sees what the others did before they came.
        self.body.gate.store(gate.pack(), Ordering::Release);
    }

    pub(super) fn arrived(&self, generation: u32) -> u32 {
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

    pub(super) fn arrive(&self, me: Stamp) -> Arrival {
        self.lock(me);
        let gate = self.gate();
        let generation = gate.generation;
        let arrival = match gate.status {
            Status::Broken => Arrival::Broken,
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
    pub(super) fn leave(&self, me: Stamp, generation: u32) {
        self.lock(me);
        let gate = self.gate();
        let filling = gate.generation == generation && gate.status == Status::Filling;
        if filling {
            let arrived = self.arrived(generation);
            self.set_arrived(generation, arrived.saturating_sub(1));
        }
        self.body.guard.unlock();
    }

    /// Ends the generation, not well, if `to` says where to go from here.
    pub(super) fn change(&self, me: Stamp, to: impl FnOnce(Gate, u32) -> Option<Gate>) -> bool {
        self.change_to(me, false, to)
    }

    /// Ends the generation, if `to` says where to go from here and how many
    /// have come; tells whether it did.
    pub(super) fn change_to(
        &self,
        me: Stamp,
        well: bool,
        to: impl FnOnce(Gate, u32) -> Option<Gate>,
    ) -> bool {
        self.lock(me);
        let gate = self.gate();
        let next = to(gate, self.arrived(gate.generation));
        if let Some(next) = next {
            let bit = 1 << (gate.generation % REMEMBERED);
            let broken = self.body.broken.load(Ordering::Relaxed);
            let broken = if well { broken & !bit } else { broken | bit };
            // Release, and before the gate: see README.md.
            self.body.broken.store(broken, Ordering::Release);
            self.set_gate(next);
        }
        self.body.guard.unlock();
        if next.is_some() {
            futex_wake(&self.body.gate, u32::MAX);
        }
        next.is_some()
    }

    /// Tells whether a generation ended well; none while it goes on.
    pub(super) fn end_of(&self, generation: u32, gate: Gate) -> Option<bool> {
        if gate.generation == generation {
            return (gate.status == Status::Broken).then_some(false);
        }
        let broken = self.body.broken.load(Ordering::Acquire);
        // Looked at after the mask: the bit was ours until then.
        let ago = self.gate().generation.wrapping_sub(generation) & Gate::GENERATIONS;
        Some(ago < REMEMBERED && broken & 1 << (generation % REMEMBERED) == 0)
    }

    /// Buries the leader if it has died, which breaks the barrier.
    pub(super) fn bury_leader(&self) {
        let leader = Stamp::from_raw(self.body.leader.load(Ordering::Relaxed));
        let family = self.view.family();
        if family.is_dead(leader) {
            family.bury(leader);
        }
    }

    /// Breaks the barrier if the dead member led it.
    fn bury(&self, dead: Stamp) {
        self.change(self.view.family().me(), |gate, _| {
            let leader = self.body.leader.load(Ordering::Relaxed);
            (gate.status == Status::Acting && leader == dead.raw()).then(|| gate.broken())
        });
        // The dead member may have changed the gate and woken nobody.
        futex_wake(&self.body.gate, u32::MAX);
    }
}

impl Gate {
    /// Mask of a generation's number.
    const GENERATIONS: u32 = u32::MAX >> 2;

    pub(super) fn next(self) -> Self {
        Self {
            generation: self.generation.wrapping_add(1) & Self::GENERATIONS,
            status: Status::Filling,
        }
    }

    pub(super) fn broken(self) -> Self {
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

/// Bytes of the barrier's body.
pub(super) const LEN: u64 = size_of::<Body>() as u64;

pub(crate) const HOOKS: Hooks = Hooks {
    on_death: |view, dead| Inner::of(view).bury(dead),
    on_destroy: |_| {},
};
