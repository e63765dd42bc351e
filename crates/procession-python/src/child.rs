//! A started process, as its parent holds it.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::Mutex;

use procession_engine::arena::{Block, Family, Stamp};
use procession_engine::os::pidfd::PidFd;
use procession_engine::primitive::Ordering;
use pyo3::prelude::*;

use crate::error::IntoPython;
use crate::wait::{deadline, detached};

/// Holds a child: its descriptor, its place in the family, and in the end its exit code.
#[pyclass(frozen, weakref, module = "procession._procession")]
pub struct Child {
    stamp: Stamp,
    pidfd: PidFd,
    code: Mutex<Option<i32>>,
}

impl Child {
    pub fn new(stamp: Stamp, pidfd: PidFd) -> Self {
        Self {
            stamp,
            pidfd,
            code: Mutex::new(None),
        }
    }

    fn try_wait(&self) -> PyResult<Option<i32>> {
        let mut code = self.code.lock().unwrap_or_else(|e| e.into_inner());
        if code.is_none()
            && let Some(status) = self.pidfd.reap().or_raise()?
        {
            Family::get().or_raise()?.bury(self.stamp);
            *code = Some(status.code());
        }
        Ok(*code)
    }
}

#[pymethods]
impl Child {
    /// The process id.
    #[getter]
    fn pid(&self) -> u32 {
        self.pidfd.pid()
    }

    /// A descriptor that is readable once the process has ended.
    #[getter]
    fn sentinel(&self) -> i32 {
        self.pidfd.as_fd().as_raw_fd()
    }

    /// Returns the exit code, or None while the process runs.
    fn poll(&self) -> PyResult<Option<i32>> {
        self.try_wait()
    }

    /// Waits for the end; returns the exit code, or None if the time is over.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<i32>> {
        let end = deadline(timeout)?;
        if !detached(py, || self.pidfd.wait(end))? {
            return Ok(None);
        }
        self.try_wait()
    }

    /// Sends a signal, if there is still somebody to get it.
    fn send_signal(&self, signum: i32) -> PyResult<()> {
        self.pidfd.send_signal(signum).or_raise()?;
        Ok(())
    }

    /// Sets the stop flag.
    fn request_stop(&self) -> PyResult<()> {
        let member = Family::get().or_raise()?.member(self.stamp);
        member.stop.store(1, Ordering::Release);
        Ok(())
    }

    /// Returns whether the stop flag is set.
    fn stop_requested(&self) -> PyResult<bool> {
        let member = Family::get().or_raise()?.member(self.stamp);
        Ok(member.stop.load(Ordering::Acquire) != 0)
    }

    /// Returns the state, and what a blocked process waits for.
    fn state(&self) -> PyResult<(&'static str, Option<String>)> {
        Ok(match self.try_wait()? {
            Some(_) => ("terminated", None),
            None => ("running", None),
        })
    }

    /// Returns what the ended process has left, once; None if it left nothing.
    fn take_outcome<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let family = Family::get().or_raise()?;
        let outcome = family.member(self.stamp).outcome.swap(0, Ordering::AcqRel);
        if outcome == 0 {
            return Ok(None);
        }
        let block = Block::claim(outcome, Stamp::NOBODY).or_raise()?;
        crate::member::load_outcome(py, block).map(Some)
    }

    /// Closes the sentinel.
    fn close(&self) -> PyResult<()> {
        Ok(())
    }
}
