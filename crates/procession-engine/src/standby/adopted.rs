//! A process that was forked as a spare and got something to do.

use crate::launch::spec::Inherited;
use crate::standby::claim::Spares;
use procession_shm::Stamp;
use procession_sys::mem::working_set::{PageRange, own_pages};
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
    /// The pages that it had for itself when it was adopted.
    parked: Vec<PageRange>,
}

impl Adopted {
    pub(crate) fn new(inherited: Inherited, spares: Spares) -> Self {
        let learner = match spares.body().working_set.is_to_learn() {
            false => None,
            true => own_pages().map(|parked| WorkingSetLearner {
                owner: spares.family().me(),
                spares,
                parked,
            }),
        };
        Self { inherited, learner }
    }
}

impl WorkingSetLearner {
    /// Says that the start of this process is done, and the user's function comes next.
    pub fn start_is_done(self) {
        let family = self.spares.family();
        // Files are read: another thread could close one and open its own under the same number.
        if family.me() == self.owner && thread_count() == Some(1) {
            let working_set = &self.spares.body().working_set;
            working_set.learn(&self.parked, family);
        }
    }
}
