//! The outcome of a task, as an object of Python.

use std::sync::Arc;

use procession_engine::pool::PoolEnd;
use pyo3::prelude::*;

use crate::error;
use crate::interrupt::is_interrupt;
use crate::pickle;
use crate::pool::callback::uninterrupted;
use crate::pool::driver::Driver;

/// The outcome of a task, for the user.
pub struct Arrival {
    pub success: bool,
    pub object: Py<PyAny>,
    /// Whether the user's callback is called, too.
    pub told: bool,
    /// How many bytes the reply had.
    pub size: usize,
    /// Why there was no reply, if there was none for one of these reasons.
    pub loss: Option<Loss>,
    /// Whether it is the outcome of this one task, and not an error that ends its whole call.
    pub of_task: bool,
}

/// Why a task has no reply.
#[derive(Clone, Copy, Debug)]
pub enum Loss {
    /// Its worker died.
    Died,
    /// It was cancelled.
    Cancelled,
    /// The pool has ended.
    Ended,
}

impl Loss {
    fn name(self) -> &'static str {
        match self {
            Self::Died => "died",
            Self::Cancelled => "cancelled",
            Self::Ended => "ended",
        }
    }
}

impl Arrival {
    pub fn value(object: Bound<'_, PyAny>) -> Self {
        Self {
            success: true,
            object: object.unbind(),
            told: true,
            size: 0,
            loss: None,
            of_task: true,
        }
    }

    pub fn error(py: Python<'_>, error: PyErr) -> Self {
        Self {
            success: false,
            object: error.into_value(py).into_any(),
            told: true,
            size: 0,
            loss: None,
            of_task: true,
        }
    }

    /// Replaces the error of a lost task by the one that the pool's own function makes of it.
    pub fn translated(self, py: Python<'_>, pool: Option<&Arc<dyn Driver>>) -> Self {
        let (Some(loss), Some(pool)) = (self.loss, pool) else {
            return self;
        };
        let Some(errors) = pool.errors() else {
            return self;
        };
        let object = uninterrupted(py, || errors.call1(py, (loss.name(), &self.object)))
            .unwrap_or_else(|error| error.into_value(py).into_any());
        Self { object, ..self }
    }

    /// As [`error`](Self::error), with an error that `make` makes. Its class is written in Python,
    /// so an interrupt may be raised instead.
    pub fn made(py: Python<'_>, make: impl Fn() -> PyErr) -> Self {
        let make = || {
            let error = make();
            match is_interrupt(py, &error) {
                true => Err(error),
                false => Ok(error),
            }
        };
        Self::error(py, uninterrupted(py, make).unwrap_or_else(|error| error))
    }

    /// Makes the outcome of a task of that name that was cancelled.
    pub fn cancelled(py: Python<'_>, name: &str) -> Self {
        Self {
            loss: Some(Loss::Cancelled),
            of_task: false,
            ..Self::made(py, || error::cancelled(name.to_owned()))
        }
    }

    /// Makes the outcome of a task that will never run, because its pool has ended.
    pub fn ended(py: Python<'_>, end: &PoolEnd) -> Self {
        let arrival = match end {
            PoolEnd::Initializer(bytes) => {
                let packed = uninterrupted(py, || pickle::load(py, bytes));
                Self::error(py, unpack(py, packed))
            }
            PoolEnd::Terminated | PoolEnd::Closed => Self {
                // As in `multiprocessing`, the end of a pool calls nobody back.
                told: false,
                ..Self::made(py, || {
                    error::process_error(format!("{end}, without this result"))
                })
            },
            PoolEnd::SetupTimedOut(_) => Self::made(py, || error::time_is_up(end.to_string())),
            PoolEnd::Workers(_) => Self::made(py, || error::process_error(end.to_string())),
        };
        Self {
            loss: Some(Loss::Ended),
            of_task: false,
            ..arrival
        }
    }
}

/// Returns the exception that was packed in a worker.
pub fn unpack(py: Python<'_>, packed: PyResult<Bound<'_, PyAny>>) -> PyErr {
    let unpacked = packed.and_then(|packed| {
        uninterrupted(py, || {
            py.import("procession._outcome")?
                .call_method1("unpack_error", (&packed,))
        })
    });
    unpacked.map_or_else(|error| error, PyErr::from_value)
}
