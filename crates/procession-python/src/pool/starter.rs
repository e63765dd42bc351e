//! Workers of a pool, which are process objects of Python.

use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};

use procession_engine::pool::{WorkerProcess, WorkerSpec, WorkerStarter};
use procession_engine::process::ExitStatus;
use procession_engine::shm::Stamp;
use procession_engine::{Error, ErrorKind, Result};
use pyo3::prelude::*;

use crate::child::Child;
use crate::pool::callback::{uninterrupted, was_interrupted};
use crate::shared::HandleParts;

/// The exception of the first worker that could not be started, for the call that asks for it.
///
/// An error that no call asks for is dropped: its traceback may refer to the pool, which
/// would then never end.
#[derive(Clone, Default)]
pub struct Failure(Arc<Mutex<Awaited>>);

#[derive(Default)]
enum Awaited {
    /// No call asks.
    #[default]
    No,
    /// A call asks, and no start has failed so far.
    Yes,
    Came(PyErr),
}

impl Failure {
    /// Runs `start`, which starts workers; returns its result, and the first exception of a start
    /// that failed.
    pub fn of<T>(&self, start: impl FnOnce() -> T) -> (T, Option<PyErr>) {
        drop(self.replace(Awaited::Yes));
        let result = start();
        match self.replace(Awaited::No) {
            Awaited::Came(error) => (result, Some(error)),
            Awaited::No | Awaited::Yes => (result, None),
        }
    }

    fn set(&self, error: PyErr) {
        let mut awaited = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*awaited, Awaited::Yes) {
            *awaited = Awaited::Came(error);
        }
    }

    fn replace(&self, by: Awaited) -> Awaited {
        let mut awaited = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *awaited, by)
    }
}

/// Starts workers by an object of Python: its `make` returns the process for a channel and a
/// place, its `note` is told of one that has started.
pub struct Starter {
    start: Py<PyAny>,
    failure: Failure,
}

impl Starter {
    pub fn new(start: Py<PyAny>, failure: Failure) -> Self {
        Self { start, failure }
    }

    fn start_one(&self, py: Python<'_>, spec: WorkerSpec) -> PyResult<Py<Child>> {
        let start = self.start.bind(py);
        let process = start.call_method1("make", (HandleParts::from(spec.channel), spec.index))?;
        let child = || {
            let child = process.getattr("_popen")?.getattr("_child")?;
            Ok::<_, PyErr>(child.extract::<Py<Child>>()?)
        };
        let noted = process.call_method0("start").and_then(|_| {
            let child = child()?;
            start.call_method1("note", (&process,))?;
            Ok(child)
        });
        // The pool will not know of this worker, so it must not go on.
        if noted.is_err()
            && let Ok(child) = child()
        {
            child.get().end(py);
        }
        noted
    }
}

impl WorkerStarter for Starter {
    fn start(&self, spec: WorkerSpec) -> Result<Box<dyn WorkerProcess>> {
        let started = Python::try_attach(|py| {
            self.start_one(py, spec).map_err(|error| {
                if was_interrupted(py, &error) {
                    return Error::new(
                        ErrorKind::Interrupted,
                        "a signal arrived while a worker was started",
                    );
                }
                let value = error.value(py);
                let text = uninterrupted(py, || value.str().map(|text| text.to_string()));
                self.failure.set(error.clone_ref(py));
                let text = text.unwrap_or_else(|_| {
                    "the error has no text, as its `__str__` has raised another".to_owned()
                });
                Error::new(ErrorKind::Limit, format!("cannot start a worker: {text}"))
            })
        });
        let ends = || {
            Error::new(
                ErrorKind::Limit,
                "cannot start a worker: the interpreter is ending",
            )
        };
        let child = started.ok_or_else(ends)??;
        Ok(Box::new(Process(child)))
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

    fn watch(&self) -> Result<BorrowedFd<'_>> {
        self.0.get().engine().watch()
    }

    fn is_watched(&self) -> bool {
        self.0.get().engine().is_watched()
    }

    fn is_dead(&self) -> bool {
        self.0.get().engine().is_dead()
    }

    fn try_wait(&self) -> Result<Option<ExitStatus>> {
        self.0.get().engine().try_wait()
    }

    fn signal(&self, signal: i32) -> Result<()> {
        self.0.get().engine().signal(signal).map(drop)
    }
}
