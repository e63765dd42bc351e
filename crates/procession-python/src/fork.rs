//! A place in the family for a child that Python is about to fork.

use std::sync::Mutex;

use procession_engine::arena::{Family, Stamp};
use procession_engine::os::pidfd::PidFd;
use procession_engine::primitive::Ordering;
use pyo3::prelude::*;

use crate::child::Child;
use crate::error::IntoPython;

/// Sets a place aside for the child that the caller forks next.
#[pyfunction]
pub fn prepare_fork(daemon: bool) -> PyResult<ForkPlace> {
    let family = Family::get().or_raise()?;
    let stamp = family.prepare_fork().or_raise()?;
    let _ = daemon;
    let parent = PidFd::open(std::process::id()).or_raise()?;
    Ok(ForkPlace {
        stamp,
        parent: Mutex::new(Some(parent)),
    })
}

/// Holds the place of a child while it is being forked.
#[pyclass(frozen, module = "procession._procession")]
pub struct ForkPlace {
    stamp: Stamp,
    parent: Mutex<Option<PidFd>>,
}

#[pymethods]
impl ForkPlace {
    /// Gives the place up: there is no child.
    fn cancel(&self) -> PyResult<()> {
        Family::get().or_raise()?.cancel_fork(self.stamp);
        Ok(())
    }

    /// In the parent: returns the child that has the place.
    fn started(&self, pid: u32) -> PyResult<Child> {
        let _ = self.parent.lock().map(|mut p| p.take());
        Ok(Child::new(self.stamp, PidFd::open(pid).or_raise()?))
    }

    /// In the child: returns a descriptor that is readable once the parent has ended.
    fn entered(&self) -> PyResult<Option<i32>> {
        use std::os::fd::{AsFd, AsRawFd};
        let _ = Ordering::Relaxed;
        let parent = self.parent.lock().ok().and_then(|mut p| p.take());
        Ok(parent.map(|p| {
            let fd = p.as_fd().as_raw_fd();
            std::mem::forget(p);
            fd
        }))
    }
}
