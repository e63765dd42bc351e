//! How long to spin before parking, learnt from how it went lately.
//!
//! Waking a parked peer takes 40 to 60 microseconds; a peer that spins answers in one.
//! But spinning on a processor that other threads want costs more than it gains. So
//! there is no spinning with a single processor, less of it where it has not paid off,
//! and an end of it once a yield shows that another thread wanted to run.
//!
//! Numbers are remembered for hints alone: several threads may share one, and
//! an update that is lost does no harm.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::limits::cpu::usable_cpus_at_first;
use crate::primitive::relax;

/// A yield that takes longer than this has let another thread run.
const SHARED: Duration = Duration::from_micros(15);

/// Looks before the first yield: about a microsecond's worth.
const LOOKS: u32 = 32;

/// Looks of [`spin_briefly`]. Found by trial on a two-core machine, with two
/// processes that hand one permit to and fro.
const BRIEF: u32 = 100;

/// Looks of [`spin_for_wakeup`]: 30 to 120 microseconds' worth, depending on how long a pause of
/// the processor is. With a tenth of them, to start a process and wait for its end takes a tenth
/// longer.
const WAKEUP: u32 = 2_000;

/// Decides how long its owner spins.
#[derive(Debug)]
pub struct AdaptiveSpin {
    memory: Memory,
}

#[derive(Debug)]
enum Memory {
    Spins(SpinMemory),
    Waits(WaitMemory),
}

impl Default for AdaptiveSpin {
    fn default() -> Self {
        Self::new()
    }
}

impl AdaptiveSpin {
    /// Knows nothing yet, and learns from whether spins have paid off.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            memory: Memory::Spins(SpinMemory::new()),
        }
    }

    /// The same, for two processes that ask and answer in turn: learns from how long
    /// waits last, parked or not, and has to be [told](Self::learn).
    ///
    /// Learning from whether spins paid off has a trap for such a pair: once both
    /// sleep, each waits for two wake-ups, which last longer than it spins; so each
    /// spins in vain, and neither ever spins again. Here each spins if its waits are
    /// usually short enough, so a pair whose waits are mostly wake-ups begins to spin
    /// again. A process sleeps while it waits for a peer that is asked seldom or has
    /// much to do.
    #[must_use]
    pub const fn in_turns() -> Self {
        Self {
            memory: Memory::Waits(WaitMemory::new()),
        }
    }

    /// Spins until `ready`, for as long as it has learnt to; tells whether it became
    /// so.
    pub fn spin(&self, mut ready: impl FnMut() -> bool) -> bool {
        ready() || self.allowed().is_some_and(|spin| spin.until(ready))
    }

    /// The same, but does not spin before it has learnt that waits are short. For what most processes
    /// wait for once, and long: a thousand that are started to wait for one event would keep the
    /// processors from the start of the next.
    #[must_use]
    pub const fn in_turns_once_known() -> Self {
        let mut waits = WaitMemory::new();
        waits.usual = AtomicU32::new(WaitMemory::IDLE);
        Self {
            memory: Memory::Waits(waits),
        }
    }

    /// Returns the spin that it has learnt to do, for a caller that has something to prepare for
    /// one; `None` when there had better be none. It is to be done, or what it teaches is lost.
    #[must_use]
    pub fn allowed(&self) -> Option<AllowedSpin<'_>> {
        // A model has no time to lose.
        if cfg!(loom) || !several_processors() {
            return None;
        }
        let budget = match &self.memory {
            Memory::Spins(spins) => spins.budget(),
            Memory::Waits(waits) => waits.budget(),
        }?;
        Some(AllowedSpin {
            memory: &self.memory,
            budget,
        })
    }

    /// Notes how long a wait was, from before the spin to its end; only a spin
    /// [`in_turns`](Self::in_turns) learns from it.
    pub fn learn(&self, waited: Duration) {
        if let Memory::Waits(waits) = &self.memory {
            waits.learn(waited);
        }
    }
}

/// One spin that is worth its time.
#[derive(Debug)]
pub struct AllowedSpin<'a> {
    memory: &'a Memory,
    budget: Duration,
}

impl AllowedSpin<'_> {
    /// Returns how long it lasts at the most.
    #[must_use]
    pub fn budget(&self) -> Duration {
        self.budget
    }

    /// Spins until `ready`; tells whether it became so.
    #[must_use]
    pub fn until(self, ready: impl FnMut() -> bool) -> bool {
        let spun = spin_for(self.budget, ready);
        match self.memory {
            Memory::Spins(spins) => spins.learn(&spun),
            Memory::Waits(waits) => waits.learn_spin(&spun),
        }
        matches!(spun, Spun::Ready)
    }
}

/// Looks until `ready` some hundred times; tells whether it became so.
///
/// For a thing that another process has for well under a microsecond, such as a lock of
/// the engine: there is no time to learn anything, nor to ask the clock.
#[inline]
pub fn spin_briefly(mut ready: impl FnMut() -> bool) -> bool {
    !cfg!(loom) && looks(BRIEF, &mut ready)
}

/// Spins until `ready`, for about as long as a process takes to wake up; tells whether it became so.
///
/// For a change that is the first thing another process makes when it wakes up, where that process
/// and this one were woken at the same instant. If both were woken on one processor, the other one
/// would wait for this one to end its spin: so there is one yield, at the beginning. Later ones
/// might let a third process run, one that has just been started.
pub fn spin_for_wakeup(mut ready: impl FnMut() -> bool) -> bool {
    if ready() {
        return true;
    }
    if cfg!(loom) || !several_processors() {
        return false;
    }
    std::thread::yield_now();
    looks(WAKEUP, &mut ready)
}

#[inline]
fn looks(count: u32, ready: &mut impl FnMut() -> bool) -> bool {
    for _ in 0..count {
        if ready() {
            return true;
        }
        relax();
    }
    false
}

/// How a spin ended.
#[derive(Debug)]
enum Spun {
    Ready,
    InVain,
    /// Others want this processor.
    Disturbed,
}

/// Spins until `ready`, for no longer than `budget`.
fn spin_for(budget: Duration, mut ready: impl FnMut() -> bool) -> Spun {
    relax();
    if looks(LOOKS, &mut ready) {
        return Spun::Ready;
    }
    let begin = Instant::now();
    let mut before = begin;
    loop {
        std::thread::yield_now();
        if ready() {
            return Spun::Ready;
        }
        let now = Instant::now();
        if now - before > SHARED {
            return Spun::Disturbed;
        }
        if now - begin > budget {
            return Spun::InVain;
        }
        before = now;
    }
}

/// Tells whether a peer could run while this thread spins.
fn several_processors() -> bool {
    usable_cpus_at_first() > 1
}

/// Remembers whether spins have paid off: more time after each that has, less after
/// each that has not.
#[derive(Debug)]
struct SpinMemory {
    /// How long the next spin lasts, in nanoseconds.
    budget: AtomicU32,
    /// Waits without a spin since it is 0.
    refused: AtomicU32,
}

impl SpinMemory {
    /// The longest spin: twice what waking a parked peer costs.
    const LONGEST: u32 = 100_000;

    /// The shortest spin that is worth it.
    const SHORTEST: u32 = 10_000;

    /// Where spinning does not pay off, it is tried again after so many waits, for as long as a
    /// wake-up takes. A shorter try is a trap for two that answer each other: once both sleep,
    /// each waits for the other's wake-up, and neither would ever find that spinning pays off.
    const PROBE: u32 = 32;

    const fn new() -> Self {
        Self {
            budget: AtomicU32::new(Self::LONGEST / 2),
            refused: AtomicU32::new(0),
        }
    }

    fn budget(&self) -> Option<Duration> {
        let mut budget = self.budget.load(Ordering::Relaxed);
        if budget == 0 {
            let refused = self.refused.load(Ordering::Relaxed).wrapping_add(1);
            self.refused.store(refused, Ordering::Relaxed);
            if !refused.is_multiple_of(Self::PROBE) {
                return None;
            }
            budget = Self::LONGEST / 2;
        }
        Some(Duration::from_nanos(budget.into()))
    }

    fn learn(&self, spun: &Spun) {
        let budget = self.budget.load(Ordering::Relaxed);
        let next = match spun {
            Spun::Ready if budget == 0 => Self::LONGEST / 2,
            Spun::Ready => (budget * 2).min(Self::LONGEST),
            Spun::InVain if budget > Self::SHORTEST => budget / 2,
            // Stop for now.
            Spun::InVain | Spun::Disturbed => 0,
        };
        if next != budget {
            self.budget.store(next, Ordering::Relaxed);
        }
    }
}

/// Remembers how long waits usually are, and rests after a disturbance: twice as
/// long each time.
#[derive(Debug)]
struct WaitMemory {
    /// How long a wait usually is, in nanoseconds.
    usual: AtomicU32,
    /// How many waits are to pass without a spin.
    resting: AtomicU32,
    /// How many after the next disturbance.
    rest: AtomicU32,
}

impl WaitMemory {
    /// The longest spin: twice what the wake-ups of both peers cost.
    const LONGEST: u32 = 200_000;

    /// A longer wait counts as this: one idle hour is forgotten as fast as another.
    const IDLE: u32 = 2 * Self::LONGEST;

    /// The weight of the latest wait is one of so many.
    const WEIGHT: u32 = 4;

    /// Waits without a spin, after the first disturbance.
    const SHORTEST_REST: u32 = 4;

    /// And at the most: a disturbance may cost some milliseconds.
    const LONGEST_REST: u32 = 1024;

    const fn new() -> Self {
        Self {
            usual: AtomicU32::new(Self::LONGEST / 2),
            resting: AtomicU32::new(0),
            rest: AtomicU32::new(Self::SHORTEST_REST),
        }
    }

    fn budget(&self) -> Option<Duration> {
        let resting = self.resting.load(Ordering::Relaxed);
        if resting > 0 {
            self.resting.store(resting - 1, Ordering::Relaxed);
            return None;
        }
        let is_short = self.usual.load(Ordering::Relaxed) <= Self::LONGEST;
        is_short.then_some(Duration::from_nanos(Self::LONGEST.into()))
    }

    fn learn_spin(&self, spun: &Spun) {
        let rest = self.rest.load(Ordering::Relaxed);
        let next = match spun {
            Spun::Ready => (rest / 2).max(Self::SHORTEST_REST),
            Spun::InVain => return,
            Spun::Disturbed => {
                self.resting.store(rest, Ordering::Relaxed);
                (rest * 2).min(Self::LONGEST_REST)
            }
        };
        self.rest.store(next, Ordering::Relaxed);
    }

    fn learn(&self, waited: Duration) {
        let waited = u32::try_from(waited.as_nanos()).map_or(Self::IDLE, |ns| ns.min(Self::IDLE));
        let usual = self.usual.load(Ordering::Relaxed);
        let next = (usual * (Self::WEIGHT - 1) + waited) / Self::WEIGHT;
        self.usual.store(next, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_needs_no_spin() {
        for spin in [
            AdaptiveSpin::new(),
            AdaptiveSpin::in_turns(),
            AdaptiveSpin::in_turns_once_known(),
        ] {
            let mut looks = 0;
            let is_ready = spin.spin(|| {
                looks += 1;
                true
            });
            assert!(is_ready);
            assert_eq!(looks, 1);
        }
    }

    #[test]
    fn spins_in_vain_end_and_are_tried_again_now_and_then() {
        let memory = SpinMemory::new();
        let mut spins = 0;
        for _ in 0..320 {
            if memory.budget().is_some() {
                spins += 1;
                memory.learn(&Spun::InVain);
            }
        }
        // 50, 25, 12 and 6 microseconds, and then one of 32.
        assert!((10..16).contains(&spins), "{spins} spins");
    }

    #[test]
    fn spins_that_pay_last_longer_up_to_a_limit() {
        let memory = SpinMemory::new();
        for spun in [Spun::Disturbed, Spun::Ready] {
            memory.learn(&spun);
        }
        let begin = Duration::from_nanos((SpinMemory::LONGEST / 2).into());
        assert_eq!(memory.budget(), Some(begin));
        (0..10).for_each(|_| memory.learn(&Spun::Ready));
        let longest = Duration::from_nanos(SpinMemory::LONGEST.into());
        assert_eq!(memory.budget(), Some(longest));
    }

    #[test]
    fn a_pair_that_was_disturbed_spins_again() {
        // Each answers in 3 microseconds, and in 35 more if it slept.
        let answer = |awake: bool| Duration::from_micros(if awake { 3 } else { 38 });
        let pair = [SpinMemory::new(), SpinMemory::new()];
        pair.iter().for_each(|one| one.learn(&Spun::Disturbed));
        let mut awake = [false; 2];
        for turn in 0..200 {
            let (me, peer) = (turn % 2, 1 - turn % 2);
            awake[me] = pair[me].budget().is_some_and(|budget| {
                let is_ready = answer(awake[peer]) <= budget;
                pair[me].learn(if is_ready {
                    &Spun::Ready
                } else {
                    &Spun::InVain
                });
                is_ready
            });
        }
        assert_eq!(awake, [true; 2]);
    }

    fn waits(memory: &WaitMemory, count: u32, each: Duration) {
        (0..count).for_each(|_| memory.learn(each));
    }

    #[test]
    fn a_pair_that_only_waits_for_wake_ups_spins_again() {
        let memory = WaitMemory::new();
        waits(&memory, 100, Duration::from_secs(10));
        assert!(memory.budget().is_none());
        // Two wake-ups of 50 microseconds and some work.
        waits(&memory, 10, Duration::from_micros(120));
        assert!(memory.budget().is_some());
    }

    #[test]
    fn one_that_is_asked_seldom_does_not_spin() {
        let memory = WaitMemory::new();
        waits(&memory, 10, Duration::from_millis(1));
        assert!((0..1000).all(|_| memory.budget().is_none()));
    }

    #[test]
    fn a_single_long_wait_is_forgiven() {
        let memory = WaitMemory::new();
        waits(&memory, 10, Duration::from_micros(5));
        waits(&memory, 1, Duration::from_secs(3600));
        assert!(memory.budget().is_some());
    }

    #[test]
    fn who_is_disturbed_again_and_again_spins_less_and_less() {
        let memory = WaitMemory::new();
        let mut spins = 0;
        for _ in 0..10_000 {
            if memory.budget().is_some() {
                spins += 1;
                memory.learn_spin(&Spun::Disturbed);
            }
            memory.learn(Duration::from_micros(20));
        }
        assert!((10..30).contains(&spins), "{spins} spins");
    }
}
