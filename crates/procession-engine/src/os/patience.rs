//! How long to spin before parking, learnt from how it went lately.
//!
//! Waking a parked peer takes 40 to 60 microseconds; one that spins answers in
//! one. But a spinner on a processor that others want costs more than it
//! gains. So: no spinning with a single processor, less after each failure,
//! and an end of it when a yield shows that somebody else wanted to run.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The longest spin: twice what waking a parked peer costs.
const LONGEST: Duration = Duration::from_micros(100);

/// The first spin, and the shortest that is worth it.
const SHORTEST: Duration = Duration::from_micros(10);

/// A yield that takes longer than this has let somebody else run.
const SHARED: Duration = Duration::from_micros(15);

/// Looks before the first yield: about a microsecond's worth.
const LOOKS: u32 = 32;

/// Once spinning does not pay, it is tried again every so many times.
const PROBE: u32 = 32;

/// Decides how long its owner spins.
#[derive(Debug)]
pub struct Patience {
    budget: Duration,
    refused: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            budget: LONGEST / 2,
            refused: 0,
        }
    }
}

impl Patience {
    /// Spins until `ready`, for as long as seems wise; tells whether it became so.
    pub fn spin(&mut self, mut ready: impl FnMut() -> bool) -> bool {
        if ready() {
            return true;
        }
        if !several_processors() {
            return false;
        }
        let mut budget = self.budget;
        if budget.is_zero() {
            self.refused += 1;
            if !self.refused.is_multiple_of(PROBE) {
                return false;
            }
            budget = SHORTEST;
        }
        match spin(budget, ready) {
            Spun::Ready => self.paid(),
            Spun::InVain => {
                self.budget = if self.budget > SHORTEST {
                    self.budget / 2
                } else {
                    Duration::ZERO
                };
                false
            }
            // Stop for now.
            Spun::Disturbed => {
                self.budget = Duration::ZERO;
                false
            }
        }
    }

    fn paid(&mut self) -> bool {
        self.budget = (self.budget * 2).clamp(SHORTEST, LONGEST);
        true
    }
}

/// How a spin ended.
pub(super) enum Spun {
    Ready,
    InVain,
    /// Others want this processor.
    Disturbed,
}

/// Spins until `ready`, for no longer than `budget`.
pub(super) fn spin(budget: Duration, mut ready: impl FnMut() -> bool) -> Spun {
    for _ in 0..LOOKS {
        std::hint::spin_loop();
        if ready() {
            return Spun::Ready;
        }
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
pub(super) fn several_processors() -> bool {
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from)) > 1
}
