//! Waits that Python can interrupt, and its way of giving timeouts.
//!
//! A wait lets other threads run. When a signal arrives the engine returns
//! `Interrupted`; Python's handler then runs here, and unless it raises the
//! wait goes on with what is left of the time.

use std::time::Duration;

use procession_engine::sys::attributes::thread;
use procession_engine::sys::wait::time::Deadline;
use procession_engine::{Error, ErrorKind, Result};
use pyo3::prelude::*;

use crate::error::{to_python, value_error};
use crate::interpreter::stay_when_ended;

/// Runs a call of the engine that may block, detached from the interpreter.
pub fn detached<T: Send>(py: Python<'_>, call: impl Fn() -> Result<T> + Sync) -> PyResult<T> {
    stay_when_ended();
    loop {
        match py.detach(&call) {
            Err(error) if error.kind() == ErrorKind::Interrupted => py.check_signals()?,
            result => return result.map_err(to_python),
        }
    }
}

/// Runs a wait of the engine that ends at a deadline and may be begun anew,
/// without holding the GIL; `None` when the time is over.
///
/// A signal interrupts only a thread that sleeps already. A signal that arrives a
/// moment earlier would go unnoticed until the end, so the sleep has breaks, after
/// which Python looks for signals: soon at first, because a process that was just woken
/// often sends one.
pub fn waiting<T: Send>(
    py: Python<'_>,
    end: Deadline,
    wait: impl Fn(Deadline) -> Result<T> + Sync,
) -> PyResult<Option<T>> {
    waiting_raising(py, end, to_python, wait)
}

/// As [`waiting`], for callers that turn an error of the engine into an exception of their
/// own.
pub fn waiting_raising<T: Send>(
    py: Python<'_>,
    end: Deadline,
    raised: impl Fn(Error) -> PyErr,
    wait: impl Fn(Deadline) -> Result<T> + Sync,
) -> PyResult<Option<T>> {
    stay_when_ended();
    let mut breaks = Breaks::new();
    loop {
        let until = breaks.next(end);
        match py.detach(|| wait(until)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => py.check_signals()?,
            Err(error) if is_over(&error) => {
                if end.has_passed() {
                    return Ok(None);
                }
                py.check_signals()?;
            }
            result => return result.map(Some).map_err(raised),
        }
    }
}

/// The longest sleep at the beginning of a wait. A signal that comes in the instant between a look
/// for signals and the sleep is handled after the sleep.
const LONGEST_AT_FIRST: Duration = Duration::from_millis(100);

/// The longest sleep of any wait. A thousand processes that wait would keep a processor busy with
/// shorter ones.
const LONGEST: Duration = Duration::from_secs(1);

/// Says when a sleep has its next break.
pub struct Breaks {
    last: Duration,
    /// Up to which length breaks grow quickly.
    quick: Duration,
}

impl Breaks {
    /// Begins a sleep.
    pub fn new() -> Self {
        Self {
            last: Duration::from_millis(1),
            // Python runs handlers of signals in the first thread, in all programs but those that embed
            // it elsewhere.
            quick: match thread::is_first() {
                true => LONGEST_AT_FIRST,
                false => LONGEST,
            },
        }
    }

    /// Returns the next break of a sleep that ends at `end`. Where signals are handled, Ctrl-C is late
    /// by a tenth of a second or a third of the time waited so far, in the worst case.
    pub fn next(&mut self, end: Deadline) -> Deadline {
        self.last = if self.last < self.quick {
            (self.last * 4).min(self.quick)
        } else {
            (self.last + self.last / 4).min(LONGEST)
        };
        end.within(self.last)
    }
}

fn is_over(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::TimedOut | ErrorKind::Empty | ErrorKind::Full
    )
}

/// Returns the error of a wait of the engine that has ended without a result.
pub fn nothing_yet() -> Error {
    Error::new(
        ErrorKind::TimedOut,
        "the time was over before the wait could end",
    )
}

/// Returns the end of a timeout in seconds: `None` is never, less than 0 is now.
pub fn deadline(timeout: Option<f64>) -> PyResult<Deadline> {
    let Some(seconds) = timeout else {
        return Ok(Deadline::NEVER);
    };
    if seconds.is_nan() {
        return Err(value_error("timeout must be a number"));
    }
    if seconds <= 0.0 {
        return Ok(Deadline::now());
    }
    // A time that the clock cannot count to is as good as for ever.
    Ok(Duration::try_from_secs_f64(seconds).map_or(Deadline::NEVER, Deadline::after))
}

/// Returns the end of a wait, from the arguments that `acquire`, `get` and `put` take.
pub fn deadline_of(block: bool, timeout: Option<f64>) -> PyResult<Deadline> {
    if block {
        deadline(timeout)
    } else {
        Ok(Deadline::now())
    }
}
