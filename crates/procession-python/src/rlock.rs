//! A lock that its owner may take again.

use std::ffi::CStr;

use procession_engine::shm::Family;
use procession_engine::sync;
use procession_engine::sys::wait::time::Deadline;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::awaited::{AwaitedFd, Watched};
use crate::error::IntoPython;
use crate::held;
use crate::quick::Quick;
use crate::shared::{HandleParts, Shared};
use crate::transfer;

/// A lock that its owner may take again; the base of the class in `synchronize`.
#[pyclass(frozen, subclass, weakref, module = "procession._procession")]
pub struct RLock {
    lock: Shared<sync::RLock>,
    awaited: AwaitedFd,
}

impl Quick for RLock {
    const ACQUIRE: &CStr = c"acquire($self, /, block=True, timeout=None)\n--\n\n\
        Takes the lock; a thread that has it takes it once more.\n\n\
        Args:\n\
        \x20   block: Whether to wait for the lock.\n\
        \x20   timeout: The seconds to wait at most; None for as long as it takes.\n\n\
        Returns:\n\
        \x20   Whether the lock was taken before the time was over.\n\n\
        Raises:\n\
        \x20   OwnerDied: A process died while it held the lock, which is free again now.";

    const RELEASE: &CStr = c"release($self, /)\n--\n\n\
        Gives the lock back, as often as it was taken.\n\n\
        Raises:\n\
        \x20   AssertionError: This thread does not have the lock.";

    #[inline]
    fn take_quickly(&self) -> bool {
        matches!(self.lock.get().map(sync::RLock::try_acquire_free), Ok(true))
    }

    #[inline]
    fn give_quickly(&self) -> bool {
        matches!(self.lock.get().map(sync::RLock::release), Ok(Ok(())))
    }
}

/// `acquire`, `release` and those of a `with` are in `quick.rs`.
#[pymethods]
impl RLock {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            lock: Shared::default(),
            awaited: AwaitedFd::default(),
        }
    }

    fn _create(&self) -> PyResult<()> {
        self.lock.set(sync::RLock::create().or_raise()?)
    }

    fn _attach(&self, handle: HandleParts) -> PyResult<()> {
        let attach = |source: &_| sync::RLock::attach(handle.into(), source);
        self.lock.set(transfer::attach(attach).or_raise()?)
    }

    fn _lend(&self) -> PyResult<HandleParts> {
        let lock = self.lock.get()?;
        Ok(transfer::lend(|loans| lock.lend(loans)).into())
    }

    #[pyo3(name = "_acquire", signature = (block=true, timeout=None))]
    pub fn acquire(&self, py: Python<'_>, block: bool, timeout: Option<f64>) -> PyResult<bool> {
        let lock = self.lock.get()?;
        let once = || lock.try_acquire();
        held::acquire(py, block, timeout, once, |end| lock.acquire(end))
    }

    /// Takes it if it is free or this thread's, and asks whether the holder lives if not.
    fn _acquire_now(&self) -> PyResult<bool> {
        held::acquire_now(self.lock.get()?.acquire(Deadline::now()))
    }

    fn _arm(&self) -> PyResult<Watched> {
        let lock = self.lock.get()?;
        self.awaited.arm(|| lock.await_fd(), |fd| lock.arm(fd))
    }

    #[pyo3(name = "_release")]
    pub fn release(&self) -> PyResult<()> {
        self.lock.get()?.release().or_raise()
    }

    #[pyo3(name = "_is_mine")]
    pub fn is_mine(&self) -> PyResult<bool> {
        Ok(self.lock.get()?.is_mine())
    }

    fn _count(&self) -> PyResult<u32> {
        let lock = self.lock.get()?;
        // If another thread has it, callers only ask whether it is 0.
        let ours = lock.holder().is_some() && lock.holder() == Family::existing().map(Family::me);
        Ok(lock.count().max(u32::from(ours)))
    }

    fn _get_value(&self) -> PyResult<u32> {
        Ok(u32::from(!self._is_zero()?))
    }

    fn _is_zero(&self) -> PyResult<bool> {
        Ok(self.lock.get()?.is_locked())
    }

    #[getter]
    fn handle(&self) -> PyResult<u64> {
        Ok(self.lock.get()?.handle().serial)
    }

    #[getter]
    fn kind(&self) -> u32 {
        crate::semaphore::RECURSIVE_MUTEX
    }

    #[getter]
    fn maxvalue(&self) -> u32 {
        1
    }
}
