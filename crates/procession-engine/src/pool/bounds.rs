//! What a worker may use: memory, and processors.

use crate::error::{Error, ErrorKind, Result};
use crate::os::affinity::Affinity;
use crate::os::footprint::Footprint;
use crate::os::limits::{Limit, Resource, limit, set_limit};

/// What a worker may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of private memory that it is refused to have more of.
    pub memory: Option<u64>,
    /// Bytes in RAM, without what it shares, above which it is replaced when
    /// its task is done.
    pub resident: Option<u64>,
    /// The processors that it runs on, by number.
    pub cpus: Option<Vec<usize>>,
}

impl Bounds {
    /// Tells whether nothing is bounded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Binds this process.
    ///
    /// # Errors
    /// `Invalid` when it has more memory than that already, or the processors
    /// are not there.
    pub(super) fn apply(&self) -> Result<()> {
        if let Some(cpus) = &self.cpus {
            let apply = || Affinity::from_cpus(cpus.iter().copied()).apply();
            apply().map_err(|source| {
                let message = format!("a worker cannot run on the processors {cpus:?}: {source}");
                let error = Error::new(ErrorKind::Invalid, message);
                match source.errno() {
                    Some(errno) => error.with_errno(errno),
                    None => error,
                }
            })?;
        }
        let has = Footprint::own();
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
                        "a worker has {has} bytes {what} before its first task, \
                         more than the {limit} that it may have"
                    ),
                ));
            }
        }
        self.restrict()
    }

    /// Refuses this process more memory than its limit.
    pub(super) fn restrict(&self) -> Result<()> {
        let Some(memory) = self.memory else {
            return Ok(());
        };
        let Limit { maximum, .. } = limit(Resource::Data);
        let current = Some(maximum.map_or(memory, |maximum| memory.min(maximum)));
        set_limit(Resource::Data, Limit { current, maximum })
    }

    /// Lets this process have what memory there is.
    pub(super) fn relax(&self) -> Result<()> {
        if self.memory.is_none() {
            return Ok(());
        }
        let Limit { maximum, .. } = limit(Resource::Data);
        let current = maximum;
        set_limit(Resource::Data, Limit { current, maximum })
    }

    /// Tells whether this process has grown so large that it is to be replaced.
    pub(super) fn is_outgrown(&self) -> bool {
        self.resident.is_some_and(|most| {
            let has = Footprint::own();
            has.is_some_and(|has| has.resident > most)
        })
    }
}
