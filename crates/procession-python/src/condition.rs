//! Those that wait for a condition, without the lock that guards it.

use procession_engine::ErrorKind;
use procession_engine::arena::Handle;
use procession_engine::os::time::Deadline;
use procession_engine::sync;
use pyo3::prelude::*;

use crate::error::{IntoPython, to_python};
use crate::wait::{Breaks, deadline};

/// Those that wait for a condition, without the lock that guards it.
#[pyclass(frozen, weakref, module = "procession._procession")]
pub struct Condition {
    condition: sync::Condition,
}

impl Condition {
    /// Waits in line; the lock is free meanwhile.
    fn wait_in_line(
        py: Python<'_>,
        mut waiter: sync::Waiter<'_>,
        timeout: Option<f64>,
    ) -> PyResult<bool> {
        let end = deadline(timeout)?;
        let mut breaks = Breaks::new();
        loop {
            let pause = breaks.next(Deadline::NEVER);
            match py.detach(|| waiter.wait_with_break(end, pause)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => py.check_signals()?,
                result => return result.map_err(to_python),
            }
        }
    }
}

#[pymethods]
impl Condition {
    #[new]
    fn new() -> PyResult<Self> {
        Ok(Self {
            condition: sync::Condition::create().or_raise()?,
        })
    }

    #[pyo3(signature = (lock, timeout=None))]
    fn wait(&self, lock: &Bound<'_, PyAny>, timeout: Option<f64>) -> PyResult<bool> {
        let py = lock.py();
        let times: usize = lock.call_method0("_count")?.extract()?;
        let waiter = self.condition.enlist().or_raise()?;
        for _ in 0..times {
            lock.call_method0("release")?;
        }
        let notified = Self::wait_in_line(py, waiter, timeout);
        for _ in 0..times {
            lock.call_method0("acquire")?;
        }
        notified
    }

    #[pyo3(signature = (n=1))]
    fn notify(&self, n: usize) -> PyResult<()> {
        self.condition.notify(n).or_raise()?;
        Ok(())
    }

    fn notify_all(&self) -> PyResult<()> {
        self.condition.notify_all().or_raise()?;
        Ok(())
    }

    fn n_waiting(&self) -> usize {
        self.condition.n_waiting()
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (u64, u64))> {
        let Handle { offset, serial } = self.condition.lend();
        Ok((crate::rebuilder(py, "rebuild_condition")?, (offset, serial)))
    }
}

/// Attaches to a condition that another process has lent.
#[pyfunction]
pub fn rebuild_condition(offset: u64, serial: u64) -> PyResult<Condition> {
    let condition = sync::Condition::attach(Handle { offset, serial }).or_raise()?;
    Ok(Condition { condition })
}
