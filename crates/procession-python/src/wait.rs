//! Waiting for the first of several things.
//!
//! # Safety
//! Python passes descriptors as plain numbers. Polling a number that is closed, or
//! means another file by now, reports that or wakes too early, and touches nothing.

#![expect(unsafe_code, reason = "descriptors that are plain numbers")]

use std::os::fd::BorrowedFd;

use procession_engine::channel::{self, Waitable};
use procession_engine::sys::sandbox::{Need, must_allow};
use procession_engine::sys::wait::poll::{PollFd, PollFlags, poll};
use procession_engine::sys::wait::time::Deadline;
use pyo3::prelude::*;

use crate::blocking::{deadline, nothing_yet, waiting};
use crate::error::{to_python, value_error};
use crate::event::Event;
use crate::queue::Queue;

/// Raises an error where a sandbox keeps this process from waiting for objects of other
/// processes and for descriptors at the same time.
#[pyfunction]
pub fn bells_must_be_allowed() -> PyResult<()> {
    must_allow(Need::Bells).map_err(to_python)
}

/// Something that the package waits for.
#[derive(FromPyObject)]
pub enum Thing<'py> {
    Fd(i32),
    Queue(Bound<'py, Queue>),
    Event(Bound<'py, Event>),
}

impl Thing<'_> {
    fn waitable(&self) -> PyResult<Waitable<'_>> {
        match self {
            Self::Fd(fd) if *fd < 0 => Err(value_error(format!("{fd} is not a descriptor"))),
            // SAFETY: not negative, and only polled.
            Self::Fd(fd) => Ok(Waitable::Fd(unsafe { BorrowedFd::borrow_raw(*fd) })),
            Self::Queue(queue) => queue.get().engine().map(Waitable::Queue),
            Self::Event(event) => event.get().engine().map(Waitable::Event),
        }
    }
}

/// Returns the indices of the descriptors that are readable now, or are closed.
#[pyfunction]
pub fn readable_now(fds: Vec<i32>) -> PyResult<Vec<usize>> {
    let mut polled: Vec<_> = fds
        .iter()
        // SAFETY: not negative, and only polled.
        .map(|fd| unsafe { BorrowedFd::borrow_raw((*fd).max(0)) })
        .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
        .collect();
    poll(&mut polled, Deadline::now()).map_err(to_python)?;
    let ready = polled.iter().enumerate();
    Ok(ready
        .filter(|(_, fd)| !fd.revents().is_empty())
        .map(|(place, _)| place)
        .collect())
}

/// Returns the indices of the things that are ready, once any is or the time is over.
#[pyfunction]
#[pyo3(signature = (things, timeout=None))]
pub fn wait(py: Python<'_>, things: Vec<Thing<'_>>, timeout: Option<f64>) -> PyResult<Vec<usize>> {
    let end = deadline(timeout)?;
    let things: Vec<_> = things
        .iter()
        .map(Thing::waitable)
        .collect::<PyResult<_>>()?;
    let ready = waiting(py, end, |end| {
        let ready = channel::wait(&things, end)?;
        (!ready.is_empty()).then_some(ready).ok_or_else(nothing_yet)
    })?;
    Ok(ready.unwrap_or_default())
}
