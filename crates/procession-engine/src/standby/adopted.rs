//! A process that was forked as a spare and got something to do.

use crate::launch::spec::Inherited;
use crate::standby::claim::Spares;
use crate::standby::working_set::Moment;
use procession_shm::Stamp;
use procession_sys::process::fork::thread_count;

/// What a server's spare becomes.
#[derive(Debug)]
pub struct Adopted {
    /// What it is to do.
    pub inherited: Inherited,
    /// What it may tell the server's next spares, if there is anything to tell.
    pub learner: Option<WorkingSetLearner>,
}

/// Lets the next spares know which pages this process has needed.
#[derive(Debug)]
pub struct WorkingSetLearner {
    spares: Spares,
    /// This process, and not a copy that it forks.
    owner: Stamp,
}

impl Adopted {
    pub(crate) fn new(inherited: Inherited, spares: Spares) -> Self {
        let is_settled = spares.body().working_set.is_settled();
        let owner = spares.family().me();
        let learner = (!is_settled).then_some(WorkingSetLearner { spares, owner });
        Self { inherited, learner }
    }
}

impl WorkingSetLearner {
    /// Says that a moment in the life of this process has come.
    pub fn reach(&self, moment: Moment) {
        let family = self.spares.family();
        // Files are read: another thread could close one and open its own under the same number.
        if family.me() == self.owner && thread_count() == Some(1) {
            self.spares.body().working_set.learn(moment, family);
        }
    }
}
