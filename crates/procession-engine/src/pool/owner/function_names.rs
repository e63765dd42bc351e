//! The names of a pool's functions: their numbers, and who is told of them.
//!
//! Two kinds of readers are told in two ways, because they read at different times. A viewer
//! reads the memory of a pool that lives, so it finds names in the pool's summary, which has
//! room for a few. A tracer reads what a pool did when that memory may be gone, so a name goes,
//! whole, into the rings of the trace before the first task that has it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::pool::shm::summary::PoolSummary;
use crate::trace;
use procession_shm::Family;
use procession_sys::primitive::Ordering;

/// How many names are told apart; a program that makes functions makes new names.
const MOST_LABELS: usize = 1_000;

/// The name of all others.
const OTHERS: &str = "other functions";

/// Below so many bits of a name's number in a trace is the label, above them the number of the
/// pool.
const LABEL_BITS: u32 = 20;

/// The names of the functions that a pool was given tasks of.
#[derive(Debug)]
pub(crate) struct FunctionNames {
    /// Where viewers find names.
    summary: Arc<PoolSummary>,
    /// A number that no other pool of the family has.
    pool: u64,
    known: Mutex<KnownNames>,
}

#[derive(Debug, Default)]
struct KnownNames {
    labels: HashMap<Arc<str>, u32>,
    /// By their labels.
    names: Vec<Arc<str>>,
    /// The trace that was told names last.
    trace: u64,
    /// Which names it was told, by their labels.
    told: Vec<bool>,
}

impl FunctionNames {
    pub(crate) fn new(family: &Family, summary: Arc<PoolSummary>) -> Self {
        Self {
            summary,
            pool: family.next_serial(),
            known: Mutex::default(),
        }
    }

    /// Returns the label of a name, which viewers are told if it is new.
    pub(crate) fn label(&self, name: &str) -> u32 {
        let mut known = self.known();
        if let Some(label) = known.labels.get(name) {
            return *label;
        }
        let name = match known.names.len() {
            0..MOST_LABELS => name,
            _ => OTHERS,
        };
        if let Some(label) = known.labels.get(name) {
            return *label;
        }
        let (name, label) = (Arc::<str>::from(name), known.names.len() as u32);
        self.summary.name(label, &name);
        known.labels.insert(Arc::clone(&name), label);
        known.names.push(name);
        label
    }

    /// Returns the number by which the trace that is being written knows the name of a label,
    /// which it is told if it was not yet.
    #[cold]
    pub(crate) fn number_in_trace(&self, family: &Family, label: u32) -> u64 {
        let mut known = self.known();
        let trace = family.trace().load(Ordering::Relaxed);
        if known.trace != trace {
            known.trace = trace;
            known.told.clear();
        }
        let number = self.pool << LABEL_BITS | u64::from(label);
        let at = label as usize;
        if known.told.len() <= at {
            known.told.resize(at + 1, false);
        }
        if !std::mem::replace(&mut known.told[at], true) {
            let name = known.names.get(at).map_or("", |name| name);
            trace::name_function(number, name);
        }
        number
    }

    /// Returns the names, by their labels.
    pub(crate) fn all(&self) -> Vec<Arc<str>> {
        self.known().names.clone()
    }

    fn known(&self) -> MutexGuard<'_, KnownNames> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
