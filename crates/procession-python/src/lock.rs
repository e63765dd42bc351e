//! A lock that anybody may release.

use std::ffi::CStr;

use procession_engine::shm::Family;
use procession_engine::sync;
use procession_engine::sys::wait::time::Deadline;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::awaited::{AwaitedFd, Watched};
use crate::error::IntoPython;
use crate::held::{self, Held};
use crate::quick::Quick;
use crate::shared::{HandleParts, Shared};
use crate::transfer;

/// A lock that anybody may release; the base of the class in `synchronize`.
#[pyclass(frozen, subclass, weakref, module = "procession._procession")]
pub struct Lock {
    lock: Shared<sync::Lock>,
    held: Held,
    awaited: AwaitedFd,
}

impl Quick for Lock {
    const ACQUIRE: &CStr = c"acquire($self, /, block=True, timeout=None)\n--\n\n\
        Takes the lock.\n\n\
        Args:\n\
        \x20   block: Whether to wait for the lock.\n\
        \x20   timeout: The seconds to wait at most; None for as long as it takes.\n\n\
        Returns:\n\
        \x20   Whether the lock was taken before the time was over.\n\n\
        Raises:\n\
        \x20   OwnerDied: A process died while it held the lock, which is free again now.";

    const RELEASE: &CStr = c"release($self, /)\n--\n\n\
        Gives the lock back; any process and thread may do it.\n\n\
        Raises:\n\
        \x20   ValueError: The lock is free already.";

    #[inline]
    fn take_quickly(&self) -> bool {
        let taken = matches!(self.lock.get().map(sync::Lock::try_acquire_free), Ok(true));
        if taken {
            self.held.took_alone();
        }
        taken
    }

    #[inline]
    fn give_quickly(&self) -> bool {
        // If the lock is free after all, the count was 0 already.
        self.held.gives_alone();
        matches!(self.lock.get().map(sync::Lock::release), Ok(Ok(())))
    }
}

/// `acquire`, `release` and those of a `with` are in `quick.rs`.
#[pymethods]
impl Lock {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            lock: Shared::default(),
            held: Held::default(),
            awaited: AwaitedFd::default(),
        }
    }

    fn _create(&self) -> PyResult<()> {
        self.lock.set(sync::Lock::create().or_raise()?)
    }

    fn _attach(&self, handle: HandleParts) -> PyResult<()> {
        let attach = |source: &_| sync::Lock::attach(handle.into(), source);
        self.lock.set(transfer::attach(attach).or_raise()?)
    }

    fn _lend(&self) -> PyResult<HandleParts> {
        let lock = self.lock.get()?;
        Ok(transfer::lend(|loans| lock.lend(loans)).into())
    }

    #[pyo3(signature = (block=true, timeout=None))]
    fn _acquire(&self, py: Python<'_>, block: bool, timeout: Option<f64>) -> PyResult<bool> {
        let lock = self.lock.get()?;
        let once = || lock.try_acquire();
        let taken = held::acquire(py, block, timeout, once, |end| lock.acquire(end))?;
        if taken {
            self.held.took_alone();
        }
        Ok(taken)
    }

    /// Takes it if it is free, and asks whether the holder lives if it is not.
    fn _acquire_now(&self) -> PyResult<bool> {
        let taken = held::acquire_now(self.lock.get()?.acquire(Deadline::now()))?;
        if taken {
            self.held.took_alone();
        }
        Ok(taken)
    }

    fn _arm(&self) -> PyResult<Watched> {
        let lock = self.lock.get()?;
        self.awaited.arm(|| lock.await_fd(), |fd| lock.arm(fd))
    }

    fn _release(&self) -> PyResult<()> {
        self.held.gives_alone();
        self.lock.get()?.release().or_raise()
    }

    fn _is_mine(&self) -> PyResult<bool> {
        Ok(self._count()? > 0 && self.held.is_mine())
    }

    fn _count(&self) -> PyResult<u32> {
        // Another process may have released the lock that this process took.
        let me = Family::existing().map(Family::me);
        let ours = self.lock.get()?.holder() == me;
        Ok(if ours { self.held.count() } else { 0 })
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
        crate::semaphore::SEMAPHORE
    }

    #[getter]
    fn maxvalue(&self) -> u32 {
        1
    }
}
