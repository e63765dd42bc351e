//! A lock that its owner may take again.

use procession_engine::arena::{Family, Handle};
use procession_engine::sync;
use pyo3::prelude::*;

use crate::error::IntoPython;
use crate::held;

/// A lock that its owner may take again.
#[pyclass(frozen, weakref, module = "procession._procession")]
pub struct RLock {
    lock: sync::RLock,
}

#[pymethods]
impl RLock {
    #[new]
    fn new() -> PyResult<Self> {
        Ok(Self {
            lock: sync::RLock::create().or_raise()?,
        })
    }

    #[pyo3(signature = (block=true, timeout=None))]
    pub fn acquire(&self, py: Python<'_>, block: bool, timeout: Option<f64>) -> PyResult<bool> {
        let lock = &self.lock;
        held::acquire(
            py,
            block,
            timeout,
            || lock.try_acquire(),
            |end| lock.acquire(end),
        )
    }

    pub fn release(&self) -> PyResult<()> {
        self.lock.release().or_raise()
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
        Ok((crate::rebuilder(py, "rebuild_rlock")?, (offset, serial)))
    }

    fn _is_mine(&self) -> bool {
        self.lock.is_mine()
    }

    pub fn _count(&self) -> u32 {
        // Nobody asks more of another thread's count than whether there is one.
        let me = Family::existing().map(Family::me);
        self.lock
            .count()
            .max(u32::from(self.lock.holder() == me && me.is_some()))
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
        crate::semaphore::RECURSIVE_MUTEX
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
pub fn rebuild_rlock(offset: u64, serial: u64) -> PyResult<RLock> {
    let lock = sync::RLock::attach(Handle { offset, serial }).or_raise()?;
    Ok(RLock { lock })
}
