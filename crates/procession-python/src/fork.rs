//! The place of a child while Python forks it.

use std::sync::{Mutex, PoisonError};

use procession_engine::start::PreparedFork;
use pyo3::prelude::*;

use crate::child::Child;
use crate::error::{IntoPython, value_error};
use crate::spawn::orders;

/// Sets a place aside for the child that the caller forks next.
#[pyfunction]
pub fn prepare_fork(name: String, daemon: bool) -> PyResult<ForkPlace> {
    let prepared = PreparedFork::new(&orders(name, daemon, None, &[])?).or_raise()?;
    Ok(ForkPlace(Mutex::new(Some(prepared))))
}

/// The place of a child while it is being forked.
#[pyclass(frozen, module = "procession._procession")]
pub struct ForkPlace(Mutex<Option<PreparedFork>>);

impl ForkPlace {
    fn take(&self) -> PyResult<PreparedFork> {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        place.take().ok_or_else(|| value_error("the fork is over"))
    }
}

#[pymethods]
impl ForkPlace {
    fn cancel(&self) -> PyResult<()> {
        self.take()?.cancel();
        Ok(())
    }

    fn started(&self, pid: u32) -> PyResult<Child> {
        self.take()?.in_parent(pid).or_raise().map(Child::new)
    }

    fn entered(&self) -> PyResult<()> {
        self.take()?.in_child().or_raise()
    }
}
