//! How long to look for an answer before sleeping, learnt from how long answers take.
//!
//! For two who ask and answer in turn. [`Patience`](super::patience::Patience)
//! learns from whether spinning paid, which has a trap for such a pair: once
//! both sleep, each waits for two wake-ups, spins in vain as long as that lasts
//! longer than it spins, and so both sleep for ever. Here each remembers how
//! long its waits are, asleep or not, and looks if they are short enough for
//! that, so a pair whose waits are mostly wake-ups awakes. The answers of one
//! that is asked seldom, or that has much to do, are slept for.
//!
//! Like `Patience`: no looking with a single processor, and none for a while,
//! twice as long each time, when a yield shows that somebody else wanted to run.

use std::time::{Duration, Instant};

use super::patience::{Spun, several_processors, spin};

/// The longest look: twice what the wake-ups of both peers cost.
const LONGEST: Duration = Duration::from_micros(200);

/// A longer wait counts as this: one idle hour is forgotten as fast as another.
const IDLE: Duration = LONGEST.saturating_mul(2);

/// The weight of the latest wait is one of so many.
const MEMORY: u32 = 4;

/// Waits without looking, after the first disturbance.
const SHORTEST_REST: u32 = 4;

/// And at the most: a disturbance may cost some milliseconds.
const LONGEST_REST: u32 = 1024;

/// Remembers how long its owner usually waits.
#[derive(Debug)]
pub struct Cadence {
    usual: Duration,
    /// When this wait began, if it did not end at once.
    since: Option<Instant>,
    /// How many waits are to pass without looking.
    resting: u32,
    /// How many after the next disturbance.
    rest: u32,
}

impl Default for Cadence {
    fn default() -> Self {
        Self {
            usual: LONGEST / 2,
            since: None,
            resting: 0,
            rest: SHORTEST_REST,
        }
    }
}

impl Cadence {
    /// Looks until `ready`, for as long as seems wise; tells whether it became so.
    ///
    /// Begins a wait, unless one has begun; [`ended`](Self::ended) ends it.
    pub fn look(&mut self, mut ready: impl FnMut() -> bool) -> bool {
        if ready() {
            return true;
        }
        if self.since.is_some() {
            return false;
        }
        self.since = Some(Instant::now());
        if !self.is_worth_a_look() || !several_processors() {
            return false;
        }
        match spin(LONGEST, ready) {
            Spun::Ready => {
                self.rest = (self.rest / 2).max(SHORTEST_REST);
                true
            }
            Spun::InVain => false,
            Spun::Disturbed => {
                self.disturbed();
                false
            }
        }
    }

    /// Notes that what was waited for is here.
    pub fn ended(&mut self) {
        let waited = self.since.take().map(|since| since.elapsed());
        self.learn(waited.unwrap_or_default());
    }

    fn is_worth_a_look(&mut self) -> bool {
        if self.resting > 0 {
            self.resting -= 1;
            return false;
        }
        self.usual <= LONGEST
    }

    fn disturbed(&mut self) {
        self.resting = self.rest;
        self.rest = (self.rest * 2).min(LONGEST_REST);
    }

    fn learn(&mut self, waited: Duration) {
        self.usual = (self.usual * (MEMORY - 1) + waited.min(IDLE)) / MEMORY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(cadence: &mut Cadence, count: u32, each: Duration) {
        for _ in 0..count {
            cadence.learn(each);
        }
    }

    #[test]
    fn a_pair_that_only_waits_for_wake_ups_looks_again() {
        let mut cadence = Cadence::default();
        waits(&mut cadence, 100, Duration::from_secs(10));
        assert!(!cadence.is_worth_a_look());
        // Two wake-ups of 50 microseconds and some work.
        waits(&mut cadence, 10, Duration::from_micros(120));
        assert!(cadence.is_worth_a_look());
    }

    #[test]
    fn one_that_is_asked_seldom_does_not_look() {
        let mut cadence = Cadence::default();
        waits(&mut cadence, 10, Duration::from_millis(1));
        assert!((0..1000).all(|_| !cadence.is_worth_a_look()));
    }

    #[test]
    fn a_single_long_wait_is_forgiven() {
        let mut cadence = Cadence::default();
        waits(&mut cadence, 10, Duration::from_micros(5));
        waits(&mut cadence, 1, Duration::from_secs(3600));
        assert!(cadence.is_worth_a_look());
    }

    #[test]
    fn who_is_disturbed_again_and_again_looks_less_and_less() {
        let mut cadence = Cadence::default();
        let mut looks = 0;
        for _ in 0..10_000 {
            if cadence.is_worth_a_look() {
                looks += 1;
                cadence.disturbed();
            }
            cadence.learn(Duration::from_micros(20));
        }
        assert!((10..30).contains(&looks), "{looks} looks");
    }

    #[test]
    fn what_is_there_needs_no_look() {
        let mut cadence = Cadence::default();
        assert!(cadence.look(|| true));
        cadence.ended();
        assert!(cadence.usual < LONGEST / 2);
    }

    #[test]
    fn a_wait_is_looked_for_once() {
        let mut cadence = Cadence::default();
        cadence.look(|| false);
        let mut looks = 0;
        cadence.look(|| {
            looks += 1;
            false
        });
        assert_eq!(looks, 1);
    }
}
