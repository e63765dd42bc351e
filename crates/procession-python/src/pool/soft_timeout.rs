//! The soft time limit of tasks: an exception, raised in the function that runs.
//!
//! A timer sends the thread that runs the tasks a signal, whose handler raises. So a wait of
//! the operating system ends, too; C code that runs on does not, as the interpreter calls
//! handlers between two instructions of Python only.

use std::time::Duration;

use procession_engine::sys::signals::thread_timer::{ThreadTimer, time_is_up};
use pyo3::prelude::*;

use crate::error::IntoPython;
use crate::once::intern;

/// Interrupts functions that run for too long, in this thread.
#[derive(Default)]
pub struct SoftTimeout(Option<(ThreadTimer, Py<PyAny>)>);

impl SoftTimeout {
    /// Calls `call`, which calls `function`; if that takes longer than `limit` it is
    /// interrupted by an exception, once.
    pub fn limiting<T>(
        &mut self,
        function: &Bound<'_, PyAny>,
        limit: Duration,
        call: impl FnOnce() -> PyResult<T>,
    ) -> PyResult<T> {
        let py = function.py();
        let (timer, alarm) = self.ready(py)?;
        let alarm = alarm.bind(py);
        let due = intern!(py, "due");
        alarm.setattr(due, (function, limit.as_secs_f64()))?;
        timer.start(limit).or_raise()?;
        let result = call();
        // Nothing is due any more, even if the signal comes before the timer is stopped.
        alarm.setattr(due, py.None())?;
        timer.stop().or_raise()?;
        result
    }

    /// Returns the timer and what handles its signal; they are made for the first task that
    /// has a limit.
    fn ready(&mut self, py: Python<'_>) -> PyResult<&(ThreadTimer, Py<PyAny>)> {
        if self.0.is_none() {
            let alarm = py.import("procession._soft_timeout")?.getattr("Alarm")?;
            let alarm = alarm.call1((time_is_up(),))?.unbind();
            self.0 = Some((ThreadTimer::new(time_is_up()).or_raise()?, alarm));
        }
        Ok(self
            .0
            .get_or_insert_with(|| unreachable!("made just above")))
    }
}
