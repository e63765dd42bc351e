//! The engine's pool, driven by threads of Python.

use std::sync::Arc;

use procession_engine::ErrorKind;
use procession_engine::pool as engine;
use procession_engine::sys::wait::time::Deadline;
use pyo3::prelude::*;

use crate::blocking::Breaks;
use crate::error::{IntoPython, to_python};
use crate::pool::callback::{calling_back, is_put_off};
use crate::pool::driver::Driver;
use crate::pool::sink::{Deliver, Token};

/// What the owner of a pool and its results share.
pub struct Core {
    pub engine: engine::Pool<Deliver>,
}

impl Driver for Core {
    fn drive(
        &self,
        py: Python<'_>,
        done: &(dyn Fn() -> bool + Sync),
        deadline: Deadline,
    ) -> PyResult<bool> {
        let mut breaks = Breaks::new();
        loop {
            let until = breaks.next(deadline);
            let enough = || done() || is_put_off();
            let result = calling_back(|| py.detach(|| self.engine.drive(&enough, until)))?;
            match result {
                Ok(()) => return Ok(true),
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => py.check_signals()?,
                    ErrorKind::TimedOut if !deadline.has_passed() => py.check_signals()?,
                    ErrorKind::TimedOut | ErrorKind::Closed => return Ok(done()),
                    // The pool could not go on, and its end was delivered to all calls.
                    _ if self.engine.end().is_some() => return Ok(done()),
                    _ => return Err(to_python(error)),
                },
            }
        }
    }

    fn resume(&self) -> PyResult<()> {
        match self.engine.resume_sources() {
            // A forked copy of the process has no pool to resume.
            Err(error) if error.kind() == ErrorKind::NotOwner => return Ok(()),
            result => result.or_raise()?,
        }
        self.engine.deliver_in_background().or_raise()
    }

    fn notify(&self) {
        self.engine.notify();
    }

    fn cancel(&self, py: Python<'_>, call: usize, kill: bool) -> PyResult<usize> {
        let running = match kill {
            true => engine::RunningTasks::Killed,
            false => engine::RunningTasks::Spared,
        };
        let which = |token: &Token| token.call.is(call);
        let count = calling_back(|| py.detach(|| self.engine.cancel(&which, running)))?;
        // Somebody has to deliver the outcomes of the tasks that were killed.
        self.engine.deliver_in_background().or_raise()?;
        count.or_raise()
    }

    fn is_running(&self, py: Python<'_>, call: usize) -> bool {
        py.detach(|| self.engine.is_running(&|token: &Token| token.call.is(call)))
    }

    fn errors(&self) -> Option<&Py<PyAny>> {
        self.engine.sink().errors.as_ref()
    }
}

impl Core {
    /// Returns the pool as its results know it.
    pub fn driver(self: &Arc<Self>) -> Arc<dyn Driver> {
        Arc::<Self>::clone(self)
    }

    /// Starts the workers that are missing.
    pub fn start(&self, py: Python<'_>) -> PyResult<procession_engine::Result<()>> {
        calling_back(|| py.detach(|| self.engine.start()))
    }

    /// Waits until all workers have ended.
    pub fn join(&self, py: Python<'_>) -> PyResult<()> {
        let mut breaks = Breaks::new();
        loop {
            let until = breaks.next(Deadline::NEVER);
            let result = calling_back(|| py.detach(|| self.engine.join(until)))?;
            match result {
                Err(error)
                    if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::TimedOut) =>
                {
                    py.check_signals()?;
                }
                result => return result.map_err(to_python),
            }
        }
    }

    /// Cancels all tasks that have not begun.
    pub fn cancel_all(&self, py: Python<'_>) -> PyResult<()> {
        let spared = engine::RunningTasks::Spared;
        let cancelled = calling_back(|| py.detach(|| self.engine.cancel(&|_| true, spared)))?;
        cancelled.map(drop).or_raise()
    }

    /// Ends the workers, busy or not.
    pub fn terminate(&self, py: Python<'_>) -> PyResult<()> {
        calling_back(|| py.detach(|| self.engine.terminate()))
    }
}
