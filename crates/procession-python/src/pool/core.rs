//! The engine's pool, driven by threads of Python.
//!
//! Whoever drives calls back into Python: results are unpickled, callbacks called,
//! inputs asked for. None of that may raise into the middle of the engine. What
//! must not be lost, a KeyboardInterrupt, is put off until the drive is over.

use std::cell::{Cell, RefCell};

use procession_engine::ErrorKind;
use procession_engine::os::time::Deadline;
use procession_engine::pool as engine;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

use crate::error::{IntoPython, to_python};
use crate::pool::sink::{Deliver, Token};
use crate::wait::Breaks;

/// What the owner of a pool and its results share.
pub struct Core {
    pub engine: engine::Pool<Deliver>,
}

impl Core {
    /// Drives the pool until `done`, without the GIL; false when the time is
    /// over or the pool has ended.
    pub fn drive(
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
                    // It could not go on, and has told everybody.
                    _ if self.engine.end().is_some() => return Ok(done()),
                    _ => return Err(to_python(error)),
                },
            }
        }
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

    /// Has sources asked again that had nothing for a while.
    pub fn resume(&self) -> PyResult<()> {
        match self.engine.resume_sources() {
            // A forked copy of the process has no pool to resume.
            Err(error) if error.kind() == ErrorKind::NotOwner => return Ok(()),
            result => result.or_raise()?,
        }
        self.engine.attend().or_raise()
    }

    /// Cancels the tasks of the call at an address; returns how many it was.
    pub fn cancel(&self, py: Python<'_>, call: usize, kill: bool) -> PyResult<usize> {
        let running = match kill {
            true => engine::Running::Killed,
            false => engine::Running::Spared,
        };
        let which = |token: &Token| token.call.is(call);
        let count = calling_back(|| py.detach(|| self.engine.cancel(&which, running)))?;
        // The deaths of those that were killed are to be told.
        self.engine.attend().or_raise()?;
        count.or_raise()
    }

    /// Ends the workers, busy or not.
    pub fn terminate(&self, py: Python<'_>) -> PyResult<()> {
        calling_back(|| py.detach(|| self.engine.terminate()))
    }
}

thread_local! {
    /// How many calls of the engine this thread is in that Python waits for.
    static WAITING: Cell<u32> = const { Cell::new(0) };
    static PUT_OFF: RefCell<Option<PyErr>> = const { RefCell::new(None) };
}

/// Runs a call of the engine that may call Python back; raises what was put off.
fn calling_back<T>(call: impl FnOnce() -> T) -> PyResult<T> {
    WAITING.set(WAITING.get() + 1);
    let result = call();
    WAITING.set(WAITING.get() - 1);
    match PUT_OFF.take() {
        Some(error) => Err(error),
        None => Ok(result),
    }
}

/// Tells whether something waits to be raised in this thread.
fn is_put_off() -> bool {
    PUT_OFF.with_borrow(Option::is_some)
}

/// Deals with an error that Python raised when it was called back: one that is to
/// end the program is raised where Python waits, any other is reported.
pub fn put_off(py: Python<'_>, error: PyErr, context: &Bound<'_, PyAny>) {
    if WAITING.get() > 0 && !error.is_instance_of::<PyException>(py) {
        PUT_OFF.set(Some(error));
    } else {
        error.write_unraisable(py, Some(context));
    }
}

/// Tells whether an error came from a signal rather than from what was called; it
/// is put off then.
pub fn was_interrupted(py: Python<'_>, error: &PyErr) -> bool {
    let interrupted =
        WAITING.get() > 0 && error.is_instance_of::<pyo3::exceptions::PyKeyboardInterrupt>(py);
    if interrupted {
        PUT_OFF.set(Some(error.clone_ref(py)));
    }
    interrupted
}

/// Runs what Python does for an outcome; once more, if a signal came between: that is
/// put off, and the outcome must not be lost for it.
pub fn uninterrupted<T>(py: Python<'_>, work: impl Fn() -> PyResult<T>) -> PyResult<T> {
    match work() {
        Err(error) if was_interrupted(py, &error) => work(),
        result => result,
    }
}
