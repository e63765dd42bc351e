//! The line of those that wait for a condition, without the lock that guards it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use procession_engine::ErrorKind;
use procession_engine::shm::Handle;
use procession_engine::sync;
use procession_engine::sys::wait::time::Deadline;
use pyo3::exceptions::PyAssertionError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::awaited::{AwaitedFd, Watched};
use crate::blocking::{Breaks, deadline};
use crate::error::{IntoPython, to_python};
use crate::interpreter::stay_when_ended;
use crate::once::intern;
use crate::rlock::RLock;
use crate::transfer;

/// The line of those that wait for a condition, without the lock that guards it.
#[pyclass(frozen, weakref, module = "procession._procession")]
pub struct Condition {
    condition: sync::Condition,
    awaited: AwaitedFd,
}

/// The place of a task in the line of a condition.
#[pyclass(frozen, module = "procession._procession")]
pub struct WaitPlace(Mutex<Option<sync::Waiter>>);

impl WaitPlace {
    fn waiter(&self) -> MutexGuard<'_, Option<sync::Waiter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl WaitPlace {
    /// Tells whether it was notified.
    fn is_notified(&self) -> bool {
        self.waiter().as_mut().is_none_or(sync::Waiter::try_wait)
    }

    /// Leaves the line; a notification that the task was not told of goes to the next in line.
    fn leave(&self) {
        drop(self.waiter().take());
    }
}

/// The part of a condition, or of another object with a lock, by which a `with` statement takes and
/// frees that lock. No code of Python runs between the two, so no handler of a signal can raise
/// there.
#[pyclass(frozen, subclass, weakref, dict, module = "procession._procession")]
pub struct Guarding;

#[pymethods]
impl Guarding {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self
    }

    fn __enter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        slf.getattr(intern!(py, "_lock"))?
            .call_method0(intern!(py, "__enter__"))
    }

    /// Frees the lock. If `wait` has failed to take it again, because its owner died or
    /// a handler raised, the caller gets that error, and not one that says that another
    /// process has the lock.
    fn __exit__(
        slf: &Bound<'_, Self>,
        kind: &Bound<'_, PyAny>,
        error: &Bound<'_, PyAny>,
        traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let py = slf.py();
        let lock = slf.getattr(intern!(py, "_lock"))?;
        let is_mine = || match lock.getattr_opt("_semlock")? {
            Some(semlock) => semlock.call_method0("_is_mine")?.is_truthy(),
            None => Ok(true), // It is never given away meanwhile.
        };
        if error.is_none() || is_mine()? {
            lock.call_method1(intern!(py, "__exit__"), (kind, error, traceback))?;
        }
        Ok(())
    }
}

impl Condition {
    /// Waits for a notification; the lock is free meanwhile.
    fn wait_in_line(
        py: Python<'_>,
        mut waiter: sync::Waiter,
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

/// Raises an error unless this thread has the lock.
fn require_held(lock: &Bound<'_, PyAny>, otherwise: &'static str) -> PyResult<()> {
    let mine = match lock.cast::<RLock>() {
        Ok(lock) => lock.get().is_mine()?,
        Err(_) => lock
            .call_method0(intern!(lock.py(), "_is_mine"))?
            .is_truthy()?,
    };
    if mine {
        return Ok(());
    }
    Err(PyAssertionError::new_err(otherwise))
}

#[pymethods]
impl Condition {
    #[new]
    fn new() -> PyResult<Self> {
        Ok(Self {
            condition: sync::Condition::create().or_raise()?,
            awaited: AwaitedFd::default(),
        })
    }

    #[pyo3(signature = (lock, timeout=None))]
    fn wait(&self, lock: &Bound<'_, PyAny>, timeout: Option<f64>) -> PyResult<bool> {
        stay_when_ended();
        require_held(lock, "must acquire() condition before using wait()")?;
        let py = lock.py();
        let times: usize = lock.call_method0(intern!(py, "_count"))?.extract()?;
        let waiter = self.condition.enlist().or_raise()?;
        for _ in 0..times {
            lock.call_method0(intern!(py, "release"))?;
        }
        let notified = Self::wait_in_line(py, waiter, timeout);
        for _ in 0..times {
            lock.call_method0(intern!(py, "acquire"))?;
        }
        notified
    }

    /// Gives a task a place at the end of the line.
    fn enlist(&self) -> PyResult<WaitPlace> {
        let waiter = self.condition.enlist().or_raise()?;
        Ok(WaitPlace(Mutex::new(Some(waiter))))
    }

    /// Returns what to watch until a place is notified.
    fn arm(&self, place: &WaitPlace) -> PyResult<Watched> {
        let waiter = place.waiter();
        let Some(waiter) = &*waiter else {
            return Ok(None);
        };
        self.awaited
            .arm(|| self.condition.await_fd(), |fd| waiter.arm(fd))
    }

    fn notify(&self, lock: &Bound<'_, PyAny>, n: usize) -> PyResult<()> {
        require_held(lock, "lock is not owned")?;
        self.condition.notify(n).or_raise()?;
        Ok(())
    }

    fn notify_all(&self, lock: &Bound<'_, PyAny>) -> PyResult<()> {
        self.notify(lock, usize::MAX)
    }

    fn n_waiting(&self) -> usize {
        self.condition.n_waiting()
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (u64, u64))> {
        let Handle { offset, serial } = transfer::lend(|loans| self.condition.lend(loans));
        Ok((crate::rebuilder(py, "rebuild_condition")?, (offset, serial)))
    }
}

/// Attaches to a condition that another process has lent.
#[pyfunction]
pub fn rebuild_condition(offset: u64, serial: u64) -> PyResult<Condition> {
    let handle = Handle { offset, serial };
    let condition =
        transfer::attach(|source| sync::Condition::attach(handle, source)).or_raise()?;
    Ok(Condition {
        condition,
        awaited: AwaitedFd::default(),
    })
}
