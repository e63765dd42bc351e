//! A started process, as its parent holds it.

use std::os::fd::AsRawFd;

use std::time::Duration;

use procession_engine::ErrorKind;
use procession_engine::process::{self, State};
use procession_engine::sys::wait::time::Deadline;
use pyo3::prelude::*;

use crate::blocking::{deadline, waiting};
use crate::error::IntoPython;
use crate::pickle;

/// How long a killed process may take to be gone: the kernel may be writing its core.
const GONE: Duration = Duration::from_secs(10);

/// A started process, as its parent holds it.
#[pyclass(frozen, weakref, module = "procession._procession")]
pub struct Child(process::Child);

impl Child {
    /// Wraps a child of the engine.
    pub fn of(child: process::Child) -> Self {
        Self(child)
    }

    /// Ends the process at once, and waits until it is gone.
    pub fn end(&self, py: Python<'_>) {
        // Sending fails for a process that has ended.
        let _ = self.0.kill();
        // Signals to this process do not end the wait, which is short.
        py.detach(|| {
            while let Err(error) = self.0.wait(Deadline::after(GONE))
                && error.kind() == ErrorKind::Interrupted
            {}
        });
    }

    /// Returns the child of the engine.
    pub fn engine(&self) -> &process::Child {
        &self.0
    }
}

#[pymethods]
impl Child {
    #[getter]
    fn pid(&self) -> u32 {
        self.0.pid()
    }

    #[getter]
    fn sentinel(&self) -> i32 {
        self.0.sentinel().as_raw_fd()
    }

    fn poll(&self) -> PyResult<Option<i32>> {
        match self.0.try_wait() {
            // A forked copy of the parent cannot know, and takes the process for
            // running.
            Err(error) if error.kind() == ErrorKind::NotOwner => Ok(None),
            result => Ok(result.or_raise()?.map(|status| status.code())),
        }
    }

    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<i32>> {
        let end = deadline(timeout)?;
        let status = waiting(py, end, |end| self.0.wait(end))?;
        Ok(status.map(|status| status.code()))
    }

    /// Sends a signal; with `tree`, to all that the process has started, too.
    #[pyo3(signature = (signum, tree=false))]
    fn send_signal(&self, py: Python<'_>, signum: i32, tree: bool) -> PyResult<()> {
        match tree {
            true => py.detach(|| self.0.signal_tree(signum)).or_raise()?,
            false => self.0.signal(signum).or_raise()?,
        };
        Ok(())
    }

    fn request_stop(&self) {
        self.0.request_stop();
    }

    fn stop_requested(&self) -> bool {
        crate::member::stop_requested_of(self.0.stamp())
    }

    fn state(&self) -> PyResult<(&'static str, Option<String>)> {
        let state = self.0.state().or_raise()?;
        let word = state.word();
        Ok(match state {
            State::Blocked(on) => (word, Some(on)),
            _ => (word, None),
        })
    }

    fn take_outcome<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(payload) = self.0.take_outcome().or_raise()? else {
            return Ok(None);
        };
        let (block, len) = payload.into_parts();
        pickle::receive(py, block, len).map(Some)
    }
}
