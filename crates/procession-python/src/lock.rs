//! A lock that anybody may release.

use procession_engine::arena::{Family, Handle};
use procession_engine::sync;
use pyo3::prelude::*;

use crate::error::IntoPython;
use crate::held::{self, Held};

/// A lock that anybody may release.
#[pyclass(frozen, weakref, module = "procession._procession")]
pub struct Lock {
    lock: sync::Lock,
    held: Held,
}

#[pymethods]
impl Lock {
    #[new]
    fn new() -> PyResult<Self> {
        Ok(Self {
            lock: sync::Lock::create().or_raise()?,
            held: Held::default(),
        })
    }

    #[pyo3(signature = (block=true, timeout=None))]
    pub fn acquire(&self, py: Python<'_>, block: bool, timeout: Option<f64>) -> PyResult<bool> {
        let lock = &self.lock;
        let taken = held::acquire(
            py,
            block,
            timeout,
            || lock.try_acquire(),
            |end| lock.acquire(end),
        )?;
        if taken {
            self.held.took();
        }
        Ok(taken)
    }

    pub fn release(&self) -> PyResult<()> {
        self.lock.release().or_raise()?;
        self.held.gave();
        Ok(())
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        self.acquire(py, true, None)
    }

    #[pyo3(signature = (*_args))]
    fn __exit__(&self, _args: &Bound<'_, PyAny>) -> PyResult<()> {
        self.release()
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (u64, u64))> {
        let Handle { offset, serial } = self.lock.lend();
        Ok((crate::rebuilder(py, "rebuild_lock")?, (offset, serial)))
    }

    fn _is_mine(&self) -> bool {
        self._count() > 0 && self.held.is_mine()
    }

    pub fn _count(&self) -> u32 {
        // Another process may have released what we took.
        let me = Family::existing().map(Family::me);
        if self.lock.holder() == me {
            self.held.count()
        } else {
            0
        }
    }

    fn _get_value(&self) -> u32 {
        u32::from(!self.lock.is_locked())
    }

    fn _is_zero(&self) -> bool {
        self.lock.is_locked()
    }

    #[getter]
    fn handle(&self) -> u64 {
        self.lock.handle().serial
    }

    #[getter]
    fn kind(&self) -> u32 {
        crate::semaphore::SEMAPHORE
    }

    #[getter]
    fn maxvalue(&self) -> u32 {
        1
    }

    #[getter]
    fn name(&self) -> Option<String> {
        None
    }
}

/// Attaches to a lock that another process has lent.
#[pyfunction]
pub fn rebuild_lock(offset: u64, serial: u64) -> PyResult<Lock> {
    let lock = sync::Lock::attach(Handle { offset, serial }).or_raise()?;
    Ok(Lock {
        lock,
        held: Held::default(),
    })
}
