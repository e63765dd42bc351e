//! This process's own place in the family: its stop flag, and the outcome that it
//! leaves.

use std::os::fd::{IntoRawFd, OwnedFd, RawFd};

use procession_engine::process::{Payload, current};
use procession_engine::shm::{Family, Stamp};
use procession_engine::sys::primitive::Ordering;
use procession_engine::{Error, ErrorKind, Result};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::blocking::{deadline, nothing_yet, waiting};
use crate::error::IntoPython;
use crate::pickle::{Pickled, pickle_of_simple};

/// Asks this process itself to stop.
#[pyfunction]
pub fn request_stop() -> PyResult<()> {
    current::request_stop().or_raise()
}

/// Reclaims all relatives that have died, and so tells those that wait for what the dead had.
#[pyfunction]
pub fn reclaim_dead(py: Python<'_>) {
    if let Some(family) = Family::existing().filter(|family| !family.me().is_nobody()) {
        py.detach(|| family.reclaim_all());
    }
}

/// Returns whether this process was asked to stop.
#[pyfunction]
pub fn stop_requested() -> bool {
    current::stop_requested()
}

/// Waits until this process is asked to stop or the time is over; returns whether it was.
#[pyfunction]
#[pyo3(signature = (timeout=None))]
pub fn wait_for_stop(py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
    let asked = waiting(py, deadline(timeout)?, |until| {
        let asked = current::wait_stop(until)?;
        asked.then_some(()).ok_or_else(nothing_yet)
    })?;
    Ok(asked.is_some())
}

/// Returns whether another process was asked to stop.
pub fn stop_requested_of(stamp: Stamp) -> bool {
    Family::existing().is_some_and(|family| {
        let member = family.member(stamp);
        member.generation() == stamp.generation() && member.stop.load(Ordering::Relaxed) != 0
    })
}

/// Leaves for the parent whether this process has succeeded, and its value or its error; the parent
/// gets that when this process has ended.
#[pyfunction]
pub fn leave_outcome(outcome: &Bound<'_, PyTuple>) -> PyResult<()> {
    let payload = match pickle_of_simple(outcome)? {
        Some(bytes) => Payload::copy_of(&bytes).or_raise()?,
        None => {
            let (block, len) = Pickled::block(outcome.as_any())?;
            Payload::new(block, len)
        }
    };
    current::publish_outcome(payload).or_raise()
}

/// Returns the secret of this process's family; None if it has no family.
#[pyfunction]
pub fn family_secret() -> Option<[u8; 16]> {
    Family::existing().map(Family::secret)
}

/// Returns a descriptor that is readable once the parent has ended; the caller
/// owns it.
#[pyfunction]
pub fn parent_sentinel() -> PyResult<RawFd> {
    open_parent().map(IntoRawFd::into_raw_fd).or_raise()
}

fn open_parent() -> Result<OwnedFd> {
    match current::open_parent() {
        Ok(pidfd) => pidfd.into_fd(),
        // The parent has ended already; the read end of a pipe without a writer is
        // readable, too.
        Err(error) if error.kind() == ErrorKind::Dead => {
            let (ended, _) = std::io::pipe().map_err(no_descriptor)?;
            Ok(ended.into())
        }
        Err(error) => Err(error),
    }
}

fn no_descriptor(error: std::io::Error) -> Error {
    Error::os("watch the parent", error)
}

/// Returns how many CPUs this process may use.
#[pyfunction]
pub fn usable_cpus() -> usize {
    procession_engine::sys::limits::cpu::usable_cpus()
}
