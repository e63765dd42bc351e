//! Workers of a pool, which are process objects of Python.

use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};

use procession_engine::arena::Stamp;
use procession_engine::pool::{Opening, WorkerProcess, WorkerStarter};
use procession_engine::process::ExitStatus;
use procession_engine::{Error, ErrorKind, Result};
use pyo3::prelude::*;

use crate::child::Child;
use crate::pool::core::was_interrupted;
use crate::shared::Numbers;

/// Why the last worker could not be started.
#[derive(Clone, Default)]
pub struct Failure(Arc<Mutex<Option<PyErr>>>);

impl Failure {
    /// Takes the exception out.
    pub fn take(&self) -> Option<PyErr> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, error: PyErr) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

/// Starts workers by a function of Python, which takes a lane and a place and returns a `Child`.
pub struct Starter {
    start: Py<PyAny>,
    failure: Failure,
}

impl Starter {
    pub fn new(start: Py<PyAny>, failure: Failure) -> Self {
        Self { start, failure }
    }
}

impl WorkerStarter for Starter {
    fn start(&self, opening: Opening) -> Result<Box<dyn WorkerProcess>> {
        let started = Python::try_attach(|py| {
            let child = self
                .start
                .call1(py, (Numbers::from(opening.lane), opening.index))
                .and_then(|child| Ok(child.extract::<Py<Child>>(py)?));
            child.map_err(|error| {
                let message = error.to_string();
                if !was_interrupted(py, &error) {
                    self.failure.set(error);
                }
                message
            })
        });
        let failed = |message| Error::new(ErrorKind::Limit, message);
        match started {
            Some(Ok(child)) => Ok(Box::new(Process(child))),
            Some(Err(message)) => Err(failed(format!("cannot start a worker: {message}"))),
            None => Err(failed("the interpreter ends".to_owned())),
        }
    }
}

/// A worker, as the engine's pool wants to see it.
struct Process(Py<Child>);

impl WorkerProcess for Process {
    fn stamp(&self) -> Stamp {
        self.0.get().engine().stamp()
    }

    fn pid(&self) -> u32 {
        self.0.get().engine().pid()
    }

    fn sentinel(&self) -> BorrowedFd<'_> {
        self.0.get().engine().sentinel()
    }

    fn try_wait(&self) -> Result<Option<ExitStatus>> {
        self.0.get().engine().try_wait()
    }

    fn signal(&self, signal: i32) -> Result<()> {
        self.0.get().engine().signal(signal).map(drop)
    }
}
