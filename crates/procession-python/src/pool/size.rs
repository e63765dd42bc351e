//! How many workers a pool is to have.
//!
//! A thread that waits for the number stays attached to the interpreter. So the number is
//! never locked while Python is called: workers are started afterwards.

use std::sync::{Mutex, PoisonError};

use procession_engine::{ErrorKind, Result};
use pyo3::prelude::*;

use crate::error::IntoPython;
use crate::pool::core::Core;
use crate::pool::starter::Failure;

/// How many workers a pool has been told to have, and how many it may have.
pub struct Size {
    now: Mutex<usize>,
    /// The most that it may have; it has fewer until there is enough to do.
    most: usize,
}

impl Size {
    /// Returns the size of a pool that begins with `now` workers.
    pub fn new(now: usize, most: usize) -> Self {
        Self {
            now: Mutex::new(now),
            most,
        }
    }

    /// Changes the number of workers, and starts those that are missing; raises why one could
    /// not be started, which is tried again later.
    pub fn change(
        &self,
        py: Python<'_>,
        core: &Core,
        failure: &Failure,
        size: usize,
    ) -> PyResult<Result<()>> {
        if let Err(error) = self.set(core, |_| Some(size)) {
            return Ok(Err(error));
        }
        match failure.of(|| core.start(py)) {
            (Err(put_off), _) => Err(put_off),
            (_, Some(failure)) => Err(failure),
            (Ok(started), None) => Ok(started),
        }
    }

    /// Starts more workers, as many as there are tasks, within the bounds.
    pub fn grow(&self, py: Python<'_>, core: &Core, tasks: usize) -> PyResult<()> {
        let wanted = tasks.min(self.most);
        match self.set(core, |now| (wanted > now).then_some(wanted)) {
            // A start that fails now is tried again while the other workers work.
            Ok(true) => core.start(py).map(drop),
            Ok(false) => Ok(()),
            // The pool was closed meanwhile: the workers that it has do the tasks.
            Err(error) if error.kind() == ErrorKind::Closed => Ok(()),
            Err(error) => Err(error).or_raise(),
        }
    }

    /// Sets the number to what `next` makes of it, if that is another; tells whether it is.
    fn set(&self, core: &Core, next: impl Fn(usize) -> Option<usize>) -> Result<bool> {
        // Held until the engine knows the number, so that two threads do not undo each other's
        // change.
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(next) = next(*now) else {
            return Ok(false);
        };
        core.engine.resize(next)?;
        *now = next;
        Ok(true)
    }
}
