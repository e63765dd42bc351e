//! Counts a pool's work, by worker and by function, as its replies are read.
//!
//! All of this runs under the pool's mutex, in the leader, which has read the reply anyway:
//! nothing is measured or sent for it.

use std::time::{Duration, Instant};

use crate::pool::api::outcome::KillReason;
use crate::pool::api::stats::WorkStats;
use crate::pool::api::task::TaskPolicy;

/// The work of a pool so far.
#[derive(Debug)]
pub(crate) struct Tally {
    pub began: Instant,
    /// The work of each function, by the label that a task's policy has.
    pub functions: Vec<WorkStats>,
    /// The work at each place in the pool.
    pub places: Vec<PlaceTally>,
    /// How many workers have died, at all places.
    pub deaths: u64,
    /// How often tasks were run again, of all functions.
    pub retries: u64,
}

/// What was done at one place of the pool, by all workers that have had it.
#[derive(Clone, Debug, Default)]
pub(crate) struct PlaceTally {
    pub starts: u32,
    pub deaths: u32,
    pub starting: Duration,
    /// How long workers that are gone were ready for tasks, together.
    pub present: Duration,
    pub work: WorkStats,
}

/// A reply, as far as it is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CountedReply {
    pub code: u8,
    pub elapsed: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            functions: Vec::new(),
            places: Vec::new(),
            deaths: 0,
            retries: 0,
        }
    }
}

impl Tally {
    /// Counts a task that was replied to.
    pub(crate) fn replied(&mut self, place: u32, policy: TaskPolicy, reply: CountedReply) {
        let calls = u64::from(policy.calls.max(1));
        for work in self.both(place, policy) {
            work.tasks += 1;
            work.calls += calls;
            work.failed += u64::from(reply.code != 0);
            work.bytes_sent += reply.bytes_sent;
            work.bytes_received += reply.bytes_received;
            work.times.add(reply.elapsed, calls);
        }
    }

    /// Counts a task in which its worker has died.
    pub(crate) fn lost(&mut self, place: u32, policy: TaskPolicy, why: Option<KillReason>) {
        for work in self.both(place, policy) {
            match why {
                None => work.deaths += 1,
                Some(KillReason::TimedOut(_)) => work.timeouts += 1,
                Some(KillReason::Cancelled) => work.cancelled += 1,
            }
        }
    }

    /// Counts a task that is run again, as its worker has died in it.
    pub(crate) fn retried(&mut self, place: u32, policy: TaskPolicy) {
        self.retries += 1;
        for work in self.both(place, policy) {
            work.retries += 1;
        }
    }

    /// Counts a worker that was started.
    pub(crate) fn started(&mut self, place: u32) {
        self.place(place).starts += 1;
    }

    /// Counts the time that a worker took to be ready.
    pub(crate) fn ready(&mut self, place: u32, starting: Duration) {
        self.place(place).starting += starting;
    }

    /// Counts the time of a worker that has ended, and whether it has died.
    pub(crate) fn ended(&mut self, place: u32, present: Duration, has_died: bool) {
        self.deaths += u64::from(has_died);
        let place = self.place(place);
        place.present += present;
        place.deaths += u32::from(has_died);
    }

    fn place(&mut self, place: u32) -> &mut PlaceTally {
        of(&mut self.places, place)
    }

    fn both(&mut self, place: u32, policy: TaskPolicy) -> [&mut WorkStats; 2] {
        [
            &mut of(&mut self.places, place).work,
            of(&mut self.functions, policy.label),
        ]
    }
}

/// Returns an entry of a list, which it makes long enough.
fn of<T: Default + Clone>(list: &mut Vec<T>, at: u32) -> &mut T {
    let at = at as usize;
    if at >= list.len() {
        list.resize(at + 1, T::default());
    }
    &mut list[at]
}
