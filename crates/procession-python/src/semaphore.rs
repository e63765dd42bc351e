//! A number of permits.

use procession_engine::arena::Handle;
use procession_engine::sync;
use pyo3::prelude::*;

use crate::error::{IntoPython, value_error};
use crate::held::{self, Held};

/// What `kind` is of a lock that its owner may take again.
pub const RECURSIVE_MUTEX: u32 = 0;

/// What `kind` is of any other.
pub const SEMAPHORE: u32 = 1;

/// The highest value; as large as the C library's.
pub const SEM_VALUE_MAX: u32 = i32::MAX as u32;

/// A number of permits.
#[pyclass(frozen, weakref, module = "procession._procession")]
pub struct Semaphore {
    semaphore: sync::Semaphore,
    maxvalue: u32,
    held: Held,
}

#[pymethods]
impl Semaphore {
    #[new]
    fn new(value: i64, maxvalue: i64) -> PyResult<Self> {
        let range = 0..=i64::from(SEM_VALUE_MAX);
        if !range.contains(&value) || !range.contains(&maxvalue) || value > maxvalue {
            return Err(value_error(format!(
                "a semaphore cannot have the value {value} of at most {maxvalue}"
            )));
        }
        let (value, maxvalue) = (value as u32, maxvalue as u32);
        let bound = (maxvalue < SEM_VALUE_MAX).then_some(maxvalue);
        let semaphore = sync::Semaphore::create(value, bound).or_raise()?;
        Ok(Self {
            semaphore,
            maxvalue,
            held: Held::default(),
        })
    }

    #[pyo3(signature = (block=true, timeout=None))]
    pub fn acquire(&self, py: Python<'_>, block: bool, timeout: Option<f64>) -> PyResult<bool> {
        let semaphore = &self.semaphore;
        let taken = held::acquire(
            py,
            block,
            timeout,
            || semaphore.try_acquire(),
            |end| semaphore.acquire(end),
        )?;
        if taken {
            self.held.took();
        }
        Ok(taken)
    }

    pub fn release(&self) -> PyResult<()> {
        self.semaphore.release().or_raise()?;
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

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (u64, u64, u32))> {
        let Handle { offset, serial } = self.semaphore.lend();
        Ok((
            crate::rebuilder(py, "rebuild_semaphore")?,
            (offset, serial, self.maxvalue),
        ))
    }

    fn _is_mine(&self) -> bool {
        self.held.is_mine()
    }

    pub fn _count(&self) -> u32 {
        self.held.count()
    }

    fn _get_value(&self) -> u32 {
        self.semaphore.value()
    }

    fn _is_zero(&self) -> bool {
        self.semaphore.value() == 0
    }

    #[getter]
    fn handle(&self) -> u64 {
        self.semaphore.handle().serial
    }

    #[getter]
    fn kind(&self) -> u32 {
        SEMAPHORE
    }

    #[getter]
    fn maxvalue(&self) -> u32 {
        self.maxvalue
    }

    #[getter]
    fn name(&self) -> Option<String> {
        None
    }
}

/// Attaches to a semaphore that another process has lent.
#[pyfunction]
pub fn rebuild_semaphore(offset: u64, serial: u64, maxvalue: u32) -> PyResult<Semaphore> {
    let semaphore = sync::Semaphore::attach(Handle { offset, serial }).or_raise()?;
    Ok(Semaphore {
        semaphore,
        maxvalue,
        held: Held::default(),
    })
}
