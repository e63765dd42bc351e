//! Counts a pool's work, by worker and by function, as its replies are read.
//!
//! All of this runs under the pool's mutex, in the leader, which has read the reply anyway:
//! nothing is measured or sent for it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::pool::api::outcome::KillReason;
use crate::pool::api::stats::WorkStats;
use crate::pool::api::task::TaskPolicy;

/// What a pool's work was so far.
#[derive(Debug)]
pub(crate) struct Tally {
    pub began: Instant,
    /// By the label that a task's policy has.
    pub functions: Vec<WorkStats>,
    /// By the place of the worker.
    pub places: Vec<PlaceTally>,
    /// How many workers have died, at all places.
    pub deaths: u64,
    /// How often tasks were run again, of all functions.
    pub retries: u64,
}

/// The names of the functions that were called.
#[derive(Debug, Default)]
pub(crate) struct Labels(HashMap<String, u32>);

/// How many names are told apart; a program that makes functions makes new names.
const MOST_LABELS: usize = 1_000;

impl Labels {
    /// Returns the number of a name.
    pub(crate) fn of(&mut self, name: &str) -> u32 {
        if let Some(label) = self.0.get(name) {
            return *label;
        }
        let name = match self.0.len() {
            0..MOST_LABELS => name,
            _ => "other functions",
        };
        let next = self.0.len() as u32;
        *self.0.entry(name.to_owned()).or_insert(next)
    }

    /// Returns how many names there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the name that has a number.
    pub(crate) fn name(&self, label: u32) -> Option<&str> {
        let mut all = self.0.iter();
        all.find(|(_, of)| **of == label)
            .map(|(name, _)| name.as_str())
    }

    /// Returns the names, by number.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names = vec![String::new(); self.0.len()];
        for (name, label) in &self.0 {
            names[*label as usize].clone_from(name);
        }
        names
    }
}

/// What the workers did that had one place.
#[derive(Clone, Debug, Default)]
pub(crate) struct PlaceTally {
    pub starts: u32,
    pub deaths: u32,
    pub starting: Duration,
    /// How long those that are gone were there to take tasks.
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
