//! Descriptors of the package's own, which the program may close behind its back.
//!
//! # Safety
//! Python passes descriptors as plain numbers; a caller that hands one over gives it
//! up.

#![expect(unsafe_code, reason = "descriptors that are plain numbers")]

use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use procession_engine::Error;
use procession_engine::sys::fd::kept_fd;
use pyo3::prelude::*;

use crate::error::{os_error, to_python, value_error};

/// Returns a descriptor that was handed over, moved past the standard streams.
#[pyfunction]
pub fn past_streams(fd: RawFd) -> PyResult<RawFd> {
    let moved = kept_fd::past_streams(owned(fd)?).map_err(failed)?;
    Ok(moved.into_raw_fd())
}

/// A descriptor that was handed over, and that can be told from another file under its
/// number.
#[pyclass(frozen, module = "procession._procession")]
pub struct KeptFd(Mutex<Option<kept_fd::KeptFd>>);

#[pymethods]
impl KeptFd {
    #[new]
    fn new(fd: RawFd) -> PyResult<Self> {
        let kept = kept_fd::KeptFd::keep(owned(fd)?).map_err(failed)?;
        Ok(Self(Mutex::new(Some(kept))))
    }

    /// Returns whether it is open, and its number still means the same file.
    fn is_ours(&self) -> bool {
        self.lock()
            .as_ref()
            .is_some_and(|kept| kept.ours().is_some())
    }

    /// Returns the number; raises `OSError` if the program has closed it.
    fn fileno(&self) -> PyResult<RawFd> {
        let kept = self.lock();
        let ours = kept.as_ref().and_then(kept_fd::KeptFd::ours);
        ours.map(|fd| fd.as_raw_fd()).ok_or_else(|| {
            os_error("the program has closed a descriptor that procession had opened")
        })
    }

    /// Closes it, unless its number means another file by now.
    fn close(&self) {
        let kept = self.lock().take();
        drop(kept);
    }
}

impl KeptFd {
    fn lock(&self) -> MutexGuard<'_, Option<kept_fd::KeptFd>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn owned(fd: RawFd) -> PyResult<OwnedFd> {
    if fd < 0 {
        return Err(value_error(format!("{fd} is not a descriptor")));
    }
    // SAFETY: not negative, and the caller's to give; see the head of this file.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn failed(error: impl Into<std::io::Error>) -> PyErr {
    to_python(Error::os(
        "move a descriptor past the standard streams",
        error,
    ))
}
