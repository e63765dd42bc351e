//! What the future of an executor's call keeps, under the names of `concurrent.futures`.
//!
//! A future there has a lock from its beginning, which costs more than all else about it, and
//! of most futures nobody ever wants the lock: somebody submits, waits, and has the result. So
//! the lock is made when it is first asked for, and a future without one becomes done in one
//! step here.
//!
//! - *Who settles it* looks, with the state locked, whether the future has a lock, callbacks or
//!   waiters. If it has none, it is done in the same step. If it has, `_settle` of Python does
//!   all that `concurrent.futures` does, with the lock held.
//! - *Who wants to be told*, or to cancel it, takes the lock before it looks at the state; to
//!   take it is to make it, with the state locked.
//!
//! One of the two steps is the first. If that is the making of the lock, the future is settled
//! with the lock, so after who holds it has looked, and added its callback or waiter, which is
//! told. If it is the settling, who takes the lock finds the future done. A callback could be lost
//! only if the lock were made between the look and the step.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyList, PyString, PyType};

use crate::error::value_error;
use crate::once::{PyOnce, intern};
use crate::pool::gc_guard::GcGuard;

/// The base of the future of an executor: its attributes.
#[pyclass(frozen, subclass, module = "procession._procession")]
pub struct FutureState {
    made: GcGuard,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    state: State,
    result: Option<Py<PyAny>>,
    exception: Option<Py<PyAny>>,
    condition: Option<Py<PyAny>>,
    waiters: Option<Py<PyAny>>,
    callbacks: Option<Py<PyAny>>,
    /// The call that it is the future of, until it is done.
    call: Option<Py<PyAny>>,
    /// Calls callbacks in another thread.
    caller: Option<Py<PyAny>>,
}

/// The states that `concurrent.futures` has, by its names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Pending,
    Running,
    Cancelled,
    CancelledAndNotified,
    Finished,
}

impl State {
    const ALL: [Self; 5] = [
        Self::Pending,
        Self::Running,
        Self::Cancelled,
        Self::CancelledAndNotified,
        Self::Finished,
    ];

    fn name(self, py: Python<'_>) -> &Bound<'_, PyString> {
        match self {
            Self::Pending => intern!(py, "PENDING"),
            Self::Running => intern!(py, "RUNNING"),
            Self::Cancelled => intern!(py, "CANCELLED"),
            Self::CancelledAndNotified => intern!(py, "CANCELLED_AND_NOTIFIED"),
            Self::Finished => intern!(py, "FINISHED"),
        }
    }

    fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Running)
    }
}

impl FutureState {
    /// No code of Python runs while it is locked.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Becomes done with a value, if nobody has ever wanted to be told of that; tells whether
    /// it did.
    pub fn settle_unobserved(&self, value: &Bound<'_, PyAny>) -> bool {
        let mut kept = self.kept();
        let is_unobserved =
            kept.condition.is_none() && kept.callbacks.is_none() && kept.waiters.is_none();
        if !is_unobserved || !kept.state.is_open() {
            return false;
        }
        kept.state = State::Finished;
        let before = kept.result.replace(value.clone().unbind());
        let call = kept.call.take();
        drop(kept);
        drop((before, call));
        true
    }

    fn get(
        &self,
        py: Python<'_>,
        which: impl Fn(&mut Kept) -> &mut Option<Py<PyAny>>,
    ) -> Option<Py<PyAny>> {
        let mut kept = self.kept();
        which(&mut kept).as_ref().map(|value| value.clone_ref(py))
    }

    fn set(&self, value: Bound<'_, PyAny>, which: impl Fn(&mut Kept) -> &mut Option<Py<PyAny>>) {
        let value = Some(value).filter(|value| !value.is_none());
        let mut kept = self.kept();
        let before = std::mem::replace(which(&mut kept), value.map(Bound::unbind));
        drop(kept);
        drop(before);
    }

    /// Returns what is there, or what `make` makes if nothing is; of two that two threads
    /// make, the first is kept.
    fn get_or_make(
        &self,
        py: Python<'_>,
        which: impl Fn(&mut Kept) -> &mut Option<Py<PyAny>>,
        make: impl Fn() -> PyResult<Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        if let Some(there) = self.get(py, &which) {
            return Ok(there);
        }
        let made = make()?;
        let mut kept = self.kept();
        let place = which(&mut kept);
        let value = match place {
            Some(there) => there.clone_ref(py),
            None => place.insert(made.clone_ref(py)).clone_ref(py),
        };
        drop(kept);
        drop(made);
        Ok(value)
    }
}

#[pymethods]
impl FutureState {
    /// Makes a future that is pending; `caller` calls its callbacks where another thread has to.
    #[new]
    #[pyo3(signature = (caller=None))]
    fn new(caller: Option<Py<PyAny>>) -> Self {
        let kept = Kept {
            caller,
            ..Kept::default()
        };
        Self {
            made: GcGuard::default(),
            kept: Mutex::new(kept),
        }
    }

    /// Says which call it is the future of, unless it is done already.
    fn _adopt(&self, call: Py<PyAny>) {
        let mut kept = self.kept();
        let before = match kept.state.is_open() {
            true => kept.call.replace(call),
            false => Some(call),
        };
        drop(kept);
        drop(before);
    }

    fn _is_open(&self) -> bool {
        self.kept().state.is_open()
    }

    /// Tells whether it has a value, rather than an error, or no outcome yet.
    fn _has_value(&self) -> bool {
        let kept = self.kept();
        kept.state == State::Finished && kept.exception.is_none()
    }

    #[getter]
    fn _state<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        let state = self.kept().state;
        state.name(py).clone()
    }

    #[setter(_state)]
    fn set_state(&self, name: &Bound<'_, PyString>) -> PyResult<()> {
        let text = name.to_cow()?;
        let mut states = State::ALL.into_iter();
        let state = states.find(|state| *state.name(name.py()) == *text);
        let unknown = || value_error(format!("a future cannot be {name}"));
        self.kept().state = state.ok_or_else(unknown)?;
        Ok(())
    }

    #[getter]
    fn _result(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.get(py, |kept| &mut kept.result)
    }

    #[setter(_result)]
    fn set_result_slot(&self, value: Bound<'_, PyAny>) {
        self.set(value, |kept| &mut kept.result);
    }

    #[getter]
    fn _exception(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.get(py, |kept| &mut kept.exception)
    }

    #[setter(_exception)]
    fn set_exception_slot(&self, value: Bound<'_, PyAny>) {
        self.set(value, |kept| &mut kept.exception);
    }

    #[getter]
    fn _condition(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.get_or_make(
            py,
            |kept| &mut kept.condition,
            || {
                static CONDITION: PyOnce<PyType> = PyOnce::new();
                let class = CONDITION.import(py, "threading", "Condition")?;
                class.call0().map(Bound::unbind)
            },
        )
    }

    #[setter(_condition)]
    fn set_condition(&self, value: Bound<'_, PyAny>) {
        self.set(value, |kept| &mut kept.condition);
    }

    #[getter]
    fn _waiters(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.get_or_make(py, |kept| &mut kept.waiters, || new_list(py))
    }

    #[setter(_waiters)]
    fn set_waiters(&self, value: Bound<'_, PyAny>) {
        self.set(value, |kept| &mut kept.waiters);
    }

    #[getter]
    fn _done_callbacks(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.get_or_make(py, |kept| &mut kept.callbacks, || new_list(py))
    }

    #[setter(_done_callbacks)]
    fn set_done_callbacks(&self, value: Bound<'_, PyAny>) {
        self.set(value, |kept| &mut kept.callbacks);
    }

    #[getter]
    fn _caller(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.get(py, |kept| &mut kept.caller)
    }

    #[getter]
    fn _call(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.get(py, |kept| &mut kept.call)
    }

    /// Forgets the call: what it came from is not kept.
    fn _drop_call(&self) {
        let call = self.kept().call.take();
        drop(call);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.made.is_made() {
            return Ok(());
        }
        // The thread that has locked it keeps it alive.
        let Ok(kept) = self.kept.try_lock() else {
            return Ok(());
        };
        for object in [
            &kept.result,
            &kept.exception,
            &kept.condition,
            &kept.waiters,
            &kept.callbacks,
            &kept.caller,
            &kept.call,
        ] {
            visit.call(object)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        let mut kept = self.kept();
        let state = kept.state;
        let dropped = std::mem::take(&mut *kept);
        kept.state = state;
        drop(kept);
        drop(dropped);
    }
}

fn new_list(py: Python<'_>) -> PyResult<Py<PyAny>> {
    Ok(PyList::empty(py).into_any().unbind())
}
