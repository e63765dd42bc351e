//! The moves of keeper, spare and claimers, tried by loom.
//!
//! Waits never end by the clock, so that a spare or a claimer that nobody wakes
//! is a deadlock, which loom reports. A process that dies is a thread that
//! stops, or a number in [`Kernel`] that is another's afterwards.

use std::convert::Infallible;

use loom::sync::atomic::AtomicBool;
use loom::sync::{Arc, Mutex};
use loom::thread;

use super::*;
use crate::standby::availability::Availability;
use procession_sys::primitive::model::{at_each_step, dies_after, end_slices};

/// The pid that all processes of a model have, one after another.
const PID: u32 = 7;

/// Which process it is that has the pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Process {
    Spare,
    Stranger,
    NextSpare,
}

/// What the kernel knows.
struct Kernel {
    /// Who has the pid, and whether it has ended but was not reaped.
    process: Mutex<(Process, bool)>,
    keeper_died: AtomicBool,
}

impl Kernel {
    fn new() -> Self {
        Self {
            process: Mutex::new((Process::Spare, false)),
            keeper_died: AtomicBool::new(false),
        }
    }

    fn open(&self, pid: u32) -> Result<Option<Process>, Infallible> {
        let (process, ended) = *self.process.lock().unwrap();
        Ok((pid == PID && !ended).then_some(process))
    }

    fn end(&self) {
        self.process.lock().unwrap().1 = true;
    }

    /// Forgets the process, and gives its number to another.
    fn reap(&self, next: Process) {
        *self.process.lock().unwrap() = (next, false);
    }
}

/// A family whose members have all died but those that keep and claim.
struct Survivors;

impl Liveness for Survivors {
    fn is_dead(&self, stamp: Stamp) -> bool {
        ![keeper(), claimer(), rival()].contains(&stamp)
    }
}

fn keeper() -> Stamp {
    Stamp::new(1, 1)
}

fn claimer() -> Stamp {
    Stamp::new(2, 1)
}

fn rival() -> Stamp {
    Stamp::new(3, 1)
}

fn spare() -> Stamp {
    Stamp::new(4, 1)
}

fn next_spare() -> Stamp {
    Stamp::new(4, 2)
}

struct Shared {
    slot: StandbySlot,
    supply: Availability,
    kernel: Kernel,
    /// Whether the end of the spare was recorded, and which member has reclaimed the spare after
    /// that, if one has.
    recorded: AtomicBool,
    cleared: AtomicBool,
}

impl Shared {
    fn new() -> Arc<Self> {
        let shared = Self {
            slot: StandbySlot::default(),
            supply: Availability::default(),
            kernel: Kernel::new(),
            recorded: AtomicBool::new(false),
            cleared: AtomicBool::new(false),
        };
        assert!(shared.slot.open(&Survivors));
        Arc::new(shared)
    }

    /// Makes a model whose spare is parked already, and never wakes.
    fn parked() -> Arc<Self> {
        let shared = Self::new();
        shared.slot.introduce(spare(), PID);
        let word = shared.slot.word();
        shared.slot.advance(word, SlotState::Parked, Stamp::NOBODY);
        shared
    }

    /// Looks at the slot as a claimer does, and claims what is to be had.
    fn claim(&self, me: Stamp) -> Option<Claimed<Process>> {
        let word = self.slot.word();
        if !self.slot.can_be_claimed(word, false) {
            return None;
        }
        let open = |pid| self.kernel.open(pid);
        self.slot.claim(word, me, open).unwrap()
    }

    fn hand_over(&self, claimed: SlotWord) {
        let orders = u64::from(claimed.claimer.raw());
        self.slot.payload.store(orders, Ordering::Relaxed);
        self.slot.hand_over(claimed);
    }

    /// The spare's life, until it has orders; returns whose.
    fn park(&self, patience: Option<Duration>) -> Option<Stamp> {
        if !self.slot.park(patience, || self.supply.announce()) {
            return None;
        }
        let orders = self.slot.payload.load(Ordering::Relaxed);
        self.slot.vacate();
        Some(Stamp::from_raw(orders as u32))
    }

    /// What the keeper does when the spare has ended; returns how far it was.
    fn reap(&self, uses: u32, next: Process) -> Option<SlotState> {
        let state = self.slot.close(uses);
        self.kernel.reap(next);
        self.recorded.store(true, Ordering::Release);
        if self.slot.claimer(uses).is_none() {
            self.cleared.store(true, Ordering::Release);
        }
        state
    }
}

fn model(preemptions: usize, run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(run);
}

fn spawn<T: 'static>(
    shared: &Arc<Shared>,
    run: impl FnOnce(&Shared) -> T + 'static,
) -> thread::JoinHandle<T> {
    let shared = Arc::clone(shared);
    thread::spawn(move || run(&shared))
}

#[test]
fn loom_of_two_claimers_one_gets_the_spare_and_the_spare_its_orders() {
    model(2, || {
        let shared = Shared::new();
        let spare_runs = spawn(&shared, |shared| shared.park(None));
        let rival_claims = spawn(&shared, |shared| {
            let claim = shared.claim(rival());
            claim
                .inspect(|claim| shared.hand_over(claim.word))
                .is_some()
        });
        shared.slot.introduce(spare(), PID);
        let ours = shared.claim(claimer()).inspect(|claim| {
            assert_eq!(claim.stamp, spare());
            shared.hand_over(claim.word);
        });
        let theirs = rival_claims.join().unwrap();
        assert!(!(ours.is_some() && theirs), "two have claimed one spare");
        // A claim that came too early is not made again.
        shared.slot.dismiss();
        let expected = match (ours, theirs) {
            (Some(_), _) => Some(claimer()),
            (None, true) => Some(rival()),
            (None, false) => None,
        };
        assert_eq!(spare_runs.join().unwrap(), expected);
    });
}

#[test]
fn loom_who_waits_for_a_spare_hears_of_it() {
    model(3, || {
        let shared = Shared::new();
        let spare_runs = spawn(&shared, |shared| {
            shared.slot.introduce(spare(), PID);
            shared.park(None)
        });
        let claim = loop {
            let count = shared.supply.count();
            match shared.claim(claimer()) {
                Some(claim) => break claim,
                None => shared.supply.wait(count, Deadline::NEVER),
            };
        };
        shared.hand_over(claim.word);
        assert_eq!(spare_runs.join().unwrap(), Some(claimer()));
    });
}

#[test]
fn loom_a_claimer_that_dies_at_any_step_leaves_no_spare_waiting() {
    at_each_step(2, |steps| {
        let shared = Shared::parked();
        let spare_runs = spawn(&shared, |shared| shared.park(None));
        let rival_dies = spawn(&shared, move |shared| {
            let done = dies_after(steps, || {
                let claim = shared.claim(rival());
                claim
                    .inspect(|claim| shared.hand_over(claim.word))
                    .is_some()
            });
            shared.slot.clear_after(rival(), false);
            done
        });
        let ours = shared.claim(claimer());
        if let Some(claim) = &ours {
            // A third member reclaims the other claimer, too, which must not touch our claim.
            shared.slot.clear_after(rival(), false);
            shared.hand_over(claim.word);
        }
        let theirs = rival_dies.join().unwrap();
        assert!(!(ours.is_some() && theirs == Some(true)));
        shared.slot.dismiss();
        let orders = spare_runs.join().unwrap();
        match (&ours, theirs) {
            (Some(_), _) => assert_eq!(orders, Some(claimer())),
            (None, Some(true)) => assert_eq!(orders, Some(rival())),
            // Killed after it had handed over, or before.
            (None, None) => assert!(orders.is_none_or(|whose| whose == rival())),
            (None, Some(false)) => assert_eq!(orders, None),
        }
        theirs.is_none()
    });
}

#[test]
fn loom_a_claimer_that_dies_letting_go_leaves_no_spare_waiting() {
    at_each_step(3, |steps| {
        let shared = Shared::parked();
        let spare_runs = spawn(&shared, |shared| shared.park(None));
        let claim = shared.claim(rival()).unwrap();
        let done = dies_after(steps, || shared.slot.let_go(claim.word));
        shared.slot.clear_after(rival(), false);
        assert_eq!(spare_runs.join().unwrap(), None);
        done.is_none()
    });
}

#[test]
fn loom_a_spare_that_ended_is_never_mistaken_for_who_has_its_pid() {
    model(3, || {
        let shared = Shared::parked();
        let uses = shared.slot.word().uses;
        let keeper_runs = spawn(&shared, move |shared| {
            shared.kernel.end();
            shared.reap(uses, Process::Stranger)
        });
        let claim = shared.claim(claimer());
        if let Some(claim) = &claim {
            assert_eq!(claim.process, Process::Spare);
            let cleared = shared.cleared.load(Ordering::Acquire);
            assert!(!cleared, "its place is another's, and we still hold it");
        }
        let was_free = keeper_runs.join().unwrap().is_some();
        assert!(claim.is_some() != was_free);
        assert_eq!(shared.cleared.load(Ordering::Relaxed), was_free);
    });
}

#[test]
fn loom_somebody_clears_away_after_a_spare_whose_claim_is_let_go_of() {
    model(3, || {
        let shared = Shared::parked();
        let uses = shared.slot.word().uses;
        let claim = shared.claim(claimer()).unwrap();
        let keeper_runs = spawn(&shared, move |shared| {
            shared.kernel.end();
            shared.reap(uses, Process::Stranger);
        });
        assert!(shared.slot.let_go(claim.word));
        if shared.recorded.load(Ordering::Acquire) {
            shared.cleared.store(true, Ordering::Release);
        }
        keeper_runs.join().unwrap();
        assert!(shared.cleared.load(Ordering::Relaxed));
    });
}

#[test]
fn loom_a_cell_that_is_used_anew_is_another() {
    model(3, || {
        let shared = Shared::parked();
        let uses = shared.slot.word().uses;
        shared.kernel.end();
        let keeper_runs = spawn(&shared, move |shared| {
            shared.reap(uses, Process::NextSpare);
            if shared.slot.open(&Survivors) {
                shared.slot.introduce(next_spare(), PID);
                let word = shared.slot.word();
                shared.slot.advance(word, SlotState::Parked, Stamp::NOBODY);
            }
        });
        if let Some(claim) = shared.claim(claimer()) {
            assert_eq!(claim.process, Process::NextSpare);
            assert_eq!(claim.stamp, next_spare());
            assert!(claim.word.uses != uses);
            // The end of the one before is not ours to see to.
            assert_eq!(shared.slot.claimer(uses), None);
        }
        keeper_runs.join().unwrap();
    });
}

#[test]
fn loom_no_start_is_lost_with_the_keeper_and_no_spare_stays() {
    model(2, || {
        let shared = Shared::parked();
        let spare_runs = spawn(&shared, |shared| {
            let orders = shared.park(None);
            if orders.is_none() {
                shared.kernel.end();
                shared.kernel.reap(Process::Stranger);
            }
            orders
        });
        let keeper_dies = spawn(&shared, |shared| {
            shared.kernel.keeper_died.store(true, Ordering::SeqCst);
            // The signal to the spare interrupts its sleep, too.
            shared.slot.leave();
            shared.slot.wake();
            shared.slot.clear_after(keeper(), true);
        });
        let mut started = None;
        if let Some(claim) = shared.claim(claimer()) {
            if shared.kernel.keeper_died.load(Ordering::SeqCst) {
                shared.slot.let_go(claim.word);
            } else {
                assert_eq!(claim.process, Process::Spare);
                shared.hand_over(claim.word);
                started = Some(claimer());
            }
        }
        keeper_dies.join().unwrap();
        assert_eq!(spare_runs.join().unwrap(), started);
    });
}

#[test]
fn loom_a_spare_that_is_killed_with_its_keeper_is_not_claimed() {
    model(3, || {
        let shared = Shared::parked();
        let all_die = spawn(&shared, |shared| {
            shared.kernel.keeper_died.store(true, Ordering::SeqCst);
            // Nobody is left to tell the slot.
            shared.kernel.end();
            shared.kernel.reap(Process::Stranger);
        });
        if let Some(claim) = shared.claim(claimer())
            && !shared.kernel.keeper_died.load(Ordering::SeqCst)
        {
            assert_eq!(claim.process, Process::Spare);
        }
        all_die.join().unwrap();
    });
}

#[test]
fn loom_a_spare_that_gives_up_was_not_claimed() {
    model(3, || {
        end_slices();
        let shared = Shared::parked();
        let patience = Some(Duration::from_secs(1));
        let spare_runs = spawn(&shared, move |shared| shared.park(patience));
        let claim = shared.claim(claimer());
        let started = claim.map(|claim| {
            shared.hand_over(claim.word);
            claimer()
        });
        assert_eq!(spare_runs.join().unwrap(), started);
    });
}
