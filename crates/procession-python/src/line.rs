//! A request channel (`channel::rpc`) between a manager's client and its server, if both are of one
//! family.
//!
//! # Safety
//! Python passes descriptors as plain numbers; the caller that opens a line hands over
//! one of its own.

#![expect(unsafe_code, reason = "descriptors that are plain numbers")]

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Mutex, MutexGuard};

use procession_engine::ErrorKind;
use procession_engine::channel::{self, PipeHandle, RpcHandle, RpcReceived};
use procession_engine::shm::Handle;
use procession_engine::sys::wait::time::Deadline;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::error::{
    IntoPython, broken_pipe, end_of_file, os_error, runtime_error, to_python, value_error,
};
use crate::pickle::{self, Pickled};

/// The handle of an end in a message: the family, the offset and serial of its places,
/// and those of its shared part.
type LineNumbers = (u128, (u64, u64), (u64, u64, u8));

/// One end of a request channel that has no socket yet.
#[pyclass(frozen, module = "procession._procession")]
pub struct LineEnd(Mutex<Option<channel::RpcEnd>>);

#[pymethods]
impl LineEnd {
    /// Makes an end, or the other end of one that a relative has made.
    #[new]
    #[pyo3(signature = (offered=None))]
    fn new(offered: Option<LineNumbers>) -> PyResult<Self> {
        let end = match offered {
            None => channel::RpcEnd::create(),
            Some((family, (offset, serial), (at, track, side))) => {
                let places = Handle { offset, serial };
                let object = Handle {
                    offset: at,
                    serial: track,
                };
                let track = PipeHandle { object, side };
                channel::RpcEnd::attach(RpcHandle {
                    family,
                    places,
                    track,
                })
            }
        };
        Ok(Self(Mutex::new(Some(end.or_raise()?))))
    }

    /// Returns the numbers by which the other end attaches, while this end is kept.
    #[getter]
    fn offer(&self) -> PyResult<LineNumbers> {
        let end = self.lock();
        let handle = end.as_ref().ok_or_else(opened)?.handle();
        let track = handle.track;
        Ok((
            handle.family,
            (handle.places.offset, handle.places.serial),
            (track.object.offset, track.object.serial, track.side),
        ))
    }

    /// Returns the channel over a connected socket, which belongs to the channel from then on.
    fn open(&self, handle: i32) -> PyResult<Line> {
        if handle < 0 {
            return Err(value_error("invalid handle"));
        }
        let end = self.lock().take().ok_or_else(opened)?;
        // SAFETY: see the head of this file.
        let socket = unsafe { OwnedFd::from_raw_fd(handle) };
        Ok(Line(Mutex::new(Some(end.open(socket).or_raise()?))))
    }
}

impl LineEnd {
    fn lock(&self) -> MutexGuard<'_, Option<channel::RpcEnd>> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn opened() -> PyErr {
    runtime_error("the line to the manager is open already: a line is opened once")
}

/// Asks and answers in turn; has the methods of a connection, as far as they apply.
#[pyclass(frozen, weakref, module = "procession._procession")]
pub struct Line(Mutex<Option<channel::RpcChannel>>);

#[pymethods]
impl Line {
    /// Sends a request and returns the answer.
    fn call<'py>(
        &self,
        py: Python<'py>,
        ident: &Bound<'py, PyString>,
        name: &Bound<'py, PyString>,
        args: &Bound<'py, PyAny>,
        kwds: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let kwds = match kwds {
            Some(kwds) => kwds.clone(),
            None => PyDict::new(py),
        };
        let request = PyTuple::new(py, [ident.as_any(), name.as_any(), args, kwds.as_any()])?;
        self.send(py, request.as_any())?;
        match self.receive(py) {
            Ok(received) => received.load(py),
            // The answer may still come, and must not be taken for the answer to the next request.
            Err(error) => {
                self.close()?;
                Err(error)
            }
        }
    }

    fn send(&self, py: Python<'_>, obj: &Bound<'_, PyAny>) -> PyResult<()> {
        let pickled = Pickled::new(obj)?;
        let mut line = self.take()?;
        pickled.with_parts(py, |parts| {
            let line = line.as_mut().ok_or_else(closed)?;
            // A message that does not fit in its place may have to wait until the other end takes
            // it.
            let large = parts.iter().map(|part| part.len()).sum::<usize>() > channel::LINE_ROOM;
            let sent = if large {
                py.detach(|| line.send(parts))
            } else {
                line.send(parts)
            };
            sent.map_err(|error| match error.kind() {
                ErrorKind::Closed => broken_pipe(),
                _ => to_python(error),
            })
        })
    }

    fn recv<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.receive(py)?.load(py)
    }

    #[getter]
    fn closed(&self) -> PyResult<bool> {
        Ok(self.take()?.is_none())
    }

    fn fileno(&self) -> PyResult<i32> {
        let guard = self.take()?;
        let line = guard.as_ref().ok_or_else(closed)?;
        Ok(line.as_fd().as_raw_fd())
    }

    fn close(&self) -> PyResult<()> {
        let line = self.take()?.take();
        drop(line);
        Ok(())
    }
}

/// A message that was received.
enum Arrived {
    Small(Vec<u8>),
    Large(channel::Message),
}

impl Arrived {
    fn load(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        match self {
            Self::Small(bytes) => pickle::load(py, &bytes),
            Self::Large(message) => match message.into_block() {
                Ok((block, len)) => pickle::load_block(py, block, 0, len),
                Err(message) => pickle::load(py, &message),
            },
        }
    }
}

impl Line {
    fn receive(&self, py: Python<'_>) -> PyResult<Arrived> {
        let mut guard = self.take()?;
        let line = guard.as_mut().ok_or_else(closed)?;
        let mut is_here = py.detach(|| line.look());
        while !is_here {
            // A signal that came while we looked does not end a sleep.
            py.check_signals()?;
            match py.detach(|| line.wait(Deadline::NEVER)) {
                Ok(()) => is_here = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::Closed => return Err(end_of_file()),
                Err(error) => return Err(to_python(error)),
            }
        }
        match py.detach(|| line.take()) {
            Ok(RpcReceived::Here(bytes)) => Ok(Arrived::Small(bytes.to_vec())),
            Ok(RpcReceived::Elsewhere(message)) => Ok(Arrived::Large(message)),
            Err(error) if error.kind() == ErrorKind::Closed => Err(end_of_file()),
            Err(error) => Err(to_python(error)),
        }
    }

    /// Takes the channel for a call. Each thread has a channel of its own, so no thread waits for
    /// another here, where it is attached to the interpreter.
    fn take(&self) -> PyResult<MutexGuard<'_, Option<channel::RpcChannel>>> {
        match self.0.try_lock() {
            Ok(guard) => Ok(guard),
            Err(std::sync::TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(std::sync::TryLockError::WouldBlock) => Err(runtime_error(
                "another thread is in a call to this manager: each thread needs a connection of its own",
            )),
        }
    }
}

fn closed() -> PyErr {
    os_error("handle is closed")
}
