//! The names of a pool's functions, as a trace is told them.

use std::sync::{Arc, Mutex, PoisonError};

use crate::pool::owner::tally::Labels;
use crate::trace;
use procession_shm::Family;
use procession_sys::primitive::Ordering;

/// Below so many bits of a name's number is the label, above them the number of the pool.
const LABEL_BITS: u32 = 20;

/// Knows which names the trace that is being written was told.
#[derive(Debug)]
pub(crate) struct TracedNames {
    labels: Arc<Mutex<Labels>>,
    /// A number that no other pool of the family has.
    pool: u64,
    /// The trace that was told.
    trace: u64,
    told: Vec<bool>,
}

impl TracedNames {
    pub(crate) fn new(family: &Family, labels: Arc<Mutex<Labels>>) -> Self {
        Self {
            labels,
            pool: family.next_serial(),
            trace: 0,
            told: Vec::new(),
        }
    }

    /// Returns the number by which a trace knows the name of a function, which it is told if
    /// it was not yet.
    #[cold]
    pub(crate) fn number(&mut self, family: &Family, label: u32) -> u64 {
        let trace = family.trace().load(Ordering::Relaxed);
        if self.trace != trace {
            self.trace = trace;
            self.told.clear();
        }
        let number = self.pool << LABEL_BITS | u64::from(label);
        let at = label as usize;
        if self.told.len() <= at {
            self.told.resize(at + 1, false);
        }
        if !std::mem::replace(&mut self.told[at], true) {
            let labels = self.labels.lock().unwrap_or_else(PoisonError::into_inner);
            trace::name_function(number, labels.name(label).unwrap_or_default());
        }
        number
    }
}
