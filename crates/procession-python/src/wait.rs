//! Waits that Python can interrupt, and its way of giving timeouts.
//!
//! A wait lets other threads run. When a signal arrives the engine returns
//! `Interrupted`; Python's handler then runs here, and unless it raises the
//! wait goes on with what is left of the time.
//!
//! # Safety
//! Python passes descriptors as plain numbers. Polling one that is closed, or
//! somebody else's by now, tells so or wakes too early, and touches nothing.

#![expect(unsafe_code, reason = "descriptors that are plain numbers")]

use std::os::fd::BorrowedFd;
use std::time::Duration;

use procession_engine::os::poll::{PollFd, PollFlags, poll};
use procession_engine::os::time::Deadline;
use procession_engine::{ErrorKind, Result};
use pyo3::prelude::*;

use crate::error::{to_python, value_error};

/// Runs a call of the engine that may block, without holding the GIL.
pub fn detached<T: Send>(py: Python<'_>, call: impl Fn() -> Result<T> + Sync) -> PyResult<T> {
    loop {
        match py.detach(&call) {
            Err(error) if error.kind() == ErrorKind::Interrupted => py.check_signals()?,
            result => return result.map_err(to_python),
        }
    }
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
    // More than the clock can count is as good as for ever.
    Ok(Duration::try_from_secs_f64(seconds).map_or(Deadline::NEVER, Deadline::after))
}

/// Returns the end of a wait as `acquire`, `get` and `put` are told of it.
pub fn deadline_of(block: bool, timeout: Option<f64>) -> PyResult<Deadline> {
    if block {
        deadline(timeout)
    } else {
        Ok(Deadline::now())
    }
}

/// Returns those of the descriptors that are readable, once any is or the time is over.
#[pyfunction]
#[pyo3(signature = (fds, timeout=None))]
pub fn wait_readable(py: Python<'_>, fds: Vec<i32>, timeout: Option<f64>) -> PyResult<Vec<i32>> {
    let end = deadline(timeout)?;
    if let Some(bad) = fds.iter().find(|&&fd| fd < 0) {
        return Err(value_error(format!("{bad} is not a descriptor")));
    }
    detached(py, || {
        let mut polled: Vec<PollFd<'_>> = fds.iter().map(|&fd| readable(fd)).collect();
        poll(&mut polled, end)?;
        let ready = polled.iter().map(|fd| !fd.revents().is_empty());
        Ok(fds
            .iter()
            .zip(ready)
            .filter_map(|(&fd, ready)| ready.then_some(fd))
            .collect())
    })
}

fn readable(fd: i32) -> PollFd<'static> {
    // SAFETY: not negative, and only polled.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    PollFd::from_borrowed_fd(fd, PollFlags::IN)
}
