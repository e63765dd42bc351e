//! Limits of a worker, or of another process: memory, processors; and the time that a worker may
//! take to set itself up.

use std::sync::Arc;
use std::time::Duration;

use procession_sys::attributes::affinity::Affinity;
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::limits::rlimits::{Limit, Resource, limit, set_limit};
use procession_sys::mem::resident_size::ResidentSize;

/// Limits what a worker may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerLimits {
    /// How many bytes of private memory it may have; the system refuses it more.
    pub memory: Option<u64>,
    /// How many bytes it may have in RAM, without shared memory; above that it is replaced
    /// when its task is done.
    pub resident: Option<u64>,
    /// The numbers of the processors that it may run on.
    pub cpus: Option<Vec<usize>>,
}

impl WorkerLimits {
    /// Tells whether there is no limit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Applies the limits to this process. `who` names the process in errors.
    ///
    /// # Errors
    /// `Invalid` when the process has more memory than its limit already, or the processors do not
    /// exist.
    pub fn apply(&self, who: &str) -> Result<()> {
        if let Some(cpus) = &self.cpus {
            let apply = || Affinity::from_cpus(cpus.iter().copied()).apply();
            apply().map_err(|source| {
                let message = format!("{who} cannot run on the processors {cpus:?}: {source}");
                let error = Error::new(ErrorKind::Invalid, message);
                match source.errno() {
                    Some(errno) => error.with_errno(errno),
                    None => error,
                }
            })?;
        }
        let has = ResidentSize::own();
        let limits = [
            (self.memory, has.map(|has| has.data), "of private memory"),
            (self.resident, has.map(|has| has.resident), "in memory"),
        ];
        for (limit, has, what) in limits {
            if let (Some(limit), Some(has)) = (limit, has)
                && has >= limit
            {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    format!(
                        "{who} has {has} bytes {what} before its first task, \
                         more than the {limit} that it may have"
                    ),
                ));
            }
        }
        self.restrict()
    }

    /// Sets the memory limit.
    pub(crate) fn restrict(&self) -> Result<()> {
        let Some(memory) = self.memory else {
            return Ok(());
        };
        let Limit { maximum, .. } = limit(Resource::Data);
        let current = Some(maximum.map_or(memory, |maximum| memory.min(maximum)));
        set_limit(Resource::Data, Limit { current, maximum })
    }

    /// Lifts the memory limit.
    ///
    /// # Errors
    /// When the kernel does not change it.
    pub fn relax(&self) -> Result<()> {
        if self.memory.is_none() {
            return Ok(());
        }
        let Limit { maximum, .. } = limit(Resource::Data);
        let current = maximum;
        set_limit(Resource::Data, Limit { current, maximum })
    }

    /// Tells whether this process has grown so large that it is to be replaced.
    pub(crate) fn is_outgrown(&self) -> bool {
        self.resident.is_some_and(|most| {
            let has = ResidentSize::own();
            has.is_some_and(|has| has.resident > most)
        })
    }
}

/// Limits how long a worker may take to set itself up, from
/// [`Worker::begin_setup`](crate::pool::Worker::begin_setup) on.
#[derive(Clone, Debug)]
pub struct SetupLimit {
    /// The longest time.
    pub time: Duration,
    /// What sets a worker up, for the error.
    pub name: Arc<str>,
}
