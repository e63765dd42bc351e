//! A number of permits.

use procession_engine::sync;
use procession_engine::sys::primitive::{AtomicU32, Ordering};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::awaited::{AwaitedFd, Watched};
use crate::error::{IntoPython, value_error};
use crate::held::{self, Held};
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

    /// Takes a permit.
    ///
    /// Args:
    ///     block: Whether to wait for a permit.
    ///     timeout: The seconds to wait at most; None for as long as it takes.
    ///
    /// Returns:
    ///     Whether a permit was taken before the time was over.
    ///
    /// Example:
    ///
    ///     >>> import procession
    ///     >>> permits = procession.Semaphore(0)
    ///     >>> permits.acquire(timeout=0.01)
    ///     False
    ///     >>> permits.release()
    ///     >>> permits.acquire()
    ///     True
    #[pyo3(signature = (block=true, timeout=None))]
    fn acquire(&self, py: Python<'_>, block: bool, timeout: Option<f64>) -> PyResult<bool> {
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

    /// Gives a permit, whether or not this process has taken one.
    ///
    /// Raises:
    ///     ValueError: The semaphore has as many permits as it may have.
    fn release(&self) -> PyResult<()> {
        let semaphore = self.semaphore.get()?;
        let had = self.held.gives();
        let given = semaphore.release().or_raise();
        if had && given.is_err() {
            self.held.kept();
        }
        given
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        self.acquire(py, true, None)
    }

    #[pyo3(signature = (*_args))]
    fn __exit__(&self, _args: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.release()
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
