//! A number of permits.

use std::ffi::CStr;

use procession_engine::sync;
use procession_engine::sys::primitive::{AtomicU32, Ordering};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::awaited::{AwaitedFd, Watched};
use crate::error::{IntoPython, value_error};
use crate::held::{self, Held};
use crate::quick::Quick;
use crate::shared::{HandleParts, Shared};
use crate::transfer;

/// What `kind` is of a lock that its owner may take again.
pub const RECURSIVE_MUTEX: u32 = 0;

/// What `kind` is of any other.
pub const SEMAPHORE: u32 = 1;

/// The highest value; as large as the C library's.
pub const SEM_VALUE_MAX: u32 = i32::MAX as u32;

/// A number of permits; the base of the classes in `synchronize`.
#[pyclass(frozen, subclass, weakref, module = "procession._procession")]
pub struct Semaphore {
    semaphore: Shared<sync::Semaphore>,
    maxvalue: AtomicU32,
    held: Held,
    awaited: AwaitedFd,
}

impl Quick for Semaphore {
    const ACQUIRE: &CStr = c"acquire($self, /, block=True, timeout=None)\n--\n\n\
        Takes a permit.\n\n\
        Args:\n\
        \x20   block: Whether to wait for a permit.\n\
        \x20   timeout: The seconds to wait at most; None for as long as it takes.\n\n\
        Returns:\n\
        \x20   Whether a permit was taken before the time was over.\n\n\
        Example:\n\n\
        \x20   >>> import procession\n\
        \x20   >>> permits = procession.Semaphore(0)\n\
        \x20   >>> permits.acquire(timeout=0.01)\n\
        \x20   False\n\
        \x20   >>> permits.release()\n\
        \x20   >>> permits.acquire()\n\
        \x20   True";

    const RELEASE: &CStr = c"release($self, /)\n--\n\n\
        Gives a permit, whether or not this process has taken one.\n\n\
        Raises:\n\
        \x20   ValueError: The semaphore has as many permits as it may have.";

    #[inline]
    fn take_quickly(&self) -> bool {
        let taken = matches!(
            self.semaphore.get().map(sync::Semaphore::try_acquire_free),
            Ok(true)
        );
        if taken {
            self.held.took();
        }
        taken
    }

    #[inline]
    fn give_quickly(&self) -> bool {
        self._release().is_ok()
    }
}

/// `acquire`, `release` and those of a `with` are in `quick.rs`.
#[pymethods]
impl Semaphore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            semaphore: Shared::default(),
            maxvalue: AtomicU32::new(SEM_VALUE_MAX),
            held: Held::default(),
            awaited: AwaitedFd::default(),
        }
    }

    fn _create(&self, value: i64, maxvalue: i64) -> PyResult<()> {
        let range = 0..=i64::from(SEM_VALUE_MAX);
        if !range.contains(&value) || !range.contains(&maxvalue) || value > maxvalue {
            let message =
                format!("a semaphore cannot have the value {value} of at most {maxvalue}");
            return Err(value_error(message));
        }
        let (value, maxvalue) = (value as u32, maxvalue as u32);
        self.maxvalue.store(maxvalue, Ordering::Relaxed);
        let bound = (maxvalue < SEM_VALUE_MAX).then_some(maxvalue);
        self.semaphore
            .set(sync::Semaphore::create(value, bound).or_raise()?)
    }

    fn _attach(&self, handle: HandleParts, maxvalue: u32) -> PyResult<()> {
        self.maxvalue.store(maxvalue, Ordering::Relaxed);
        let attach = |source: &_| sync::Semaphore::attach(handle.into(), source);
        self.semaphore.set(transfer::attach(attach).or_raise()?)
    }

    fn _lend(&self) -> PyResult<HandleParts> {
        let semaphore = self.semaphore.get()?;
        Ok(transfer::lend(|loans| semaphore.lend(loans)).into())
    }

    #[pyo3(signature = (block=true, timeout=None))]
    fn _acquire(&self, py: Python<'_>, block: bool, timeout: Option<f64>) -> PyResult<bool> {
        let semaphore = self.semaphore.get()?;
        let once = || semaphore.try_acquire();
        let taken = held::acquire(py, block, timeout, once, |end| semaphore.acquire(end))?;
        if taken {
            self.held.took();
        }
        Ok(taken)
    }

    /// Takes it if there is a permit.
    fn _acquire_now(&self) -> PyResult<bool> {
        let taken = self.semaphore.get()?.try_acquire().or_raise()?;
        if taken {
            self.held.took();
        }
        Ok(taken)
    }

    fn _arm(&self) -> PyResult<Watched> {
        let semaphore = self.semaphore.get()?;
        self.awaited
            .arm(|| semaphore.await_fd(), |fd| semaphore.arm(fd))
    }

    #[inline]
    fn _release(&self) -> PyResult<()> {
        let semaphore = self.semaphore.get()?;
        let had = self.held.gives();
        let given = semaphore.release().or_raise();
        if had && given.is_err() {
            self.held.kept();
        }
        given
    }

    fn _is_mine(&self) -> bool {
        self.held.is_mine()
    }

    fn _count(&self) -> u32 {
        self.held.count()
    }

    fn _get_value(&self) -> PyResult<u32> {
        Ok(self.semaphore.get()?.value())
    }

    fn _is_zero(&self) -> PyResult<bool> {
        Ok(self._get_value()? == 0)
    }

    #[getter]
    fn handle(&self) -> PyResult<u64> {
        Ok(self.semaphore.get()?.handle().serial)
    }

    #[getter]
    fn kind(&self) -> u32 {
        SEMAPHORE
    }

    #[getter]
    fn maxvalue(&self) -> u32 {
        // Relaxed: set before the object is anybody else's.
        self.maxvalue.load(Ordering::Relaxed)
    }
}
