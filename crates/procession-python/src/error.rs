//! The one place where errors of the engine become exceptions of Python.
//!
//! Every exception that this module raises on its own account is made here too.

use std::fmt::Write as _;

use procession_engine::pool::{Death, Overrun};
use procession_engine::{Error, ErrorKind};
use pyo3::exceptions::{
    PyAssertionError, PyEOFError, PyInterruptedError, PyMemoryError, PyNotImplementedError,
    PyOSError, PyRuntimeError, PyTypeError, PyValueError,
};
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::once::PyOnce;

/// Returns the exception for an error of the engine.
pub fn to_python(error: Error) -> PyErr {
    let message = error.to_string();
    match error.kind() {
        ErrorKind::OutOfMemory => PyMemoryError::new_err(message),
        ErrorKind::Interrupted => PyInterruptedError::new_err((libc::EINTR, message)),
        ErrorKind::NotOwner => PyAssertionError::new_err(message),
        ErrorKind::Invalid if error.errno().is_none() => PyValueError::new_err(message),
        ErrorKind::Unsupported => PyNotImplementedError::new_err(message),
        ErrorKind::Uninitialised => PyRuntimeError::new_err(message),
        ErrorKind::Full => full(message),
        ErrorKind::Empty => empty(message),
        ErrorKind::Broken => raise(&BROKEN, "threading", "BrokenBarrierError", (message,)),
        ErrorKind::OwnerDied => raise(&OWNER_DIED, ERRORS, "OwnerDied", (message,)),
        ErrorKind::TimedOut => raise(&TIMED_OUT, ERRORS, "TimeoutError", (message,)),
        // By the number, Python makes a FileNotFoundError (of an executable, say), a
        // ProcessLookupError or a BlockingIOError of these.
        kind => {
            let number = error.errno().unwrap_or(match kind {
                ErrorKind::Stale => libc::ENOENT,
                ErrorKind::Dead => libc::ESRCH,
                ErrorKind::Limit => libc::EAGAIN,
                ErrorKind::Closed => libc::EBADF,
                _ => libc::EIO,
            });
            PyOSError::new_err((number, message))
        }
    }
}

/// Lets `?` and `map_err` name the conversion at the call.
pub trait IntoPython<T> {
    /// Turns an error of the engine into an exception.
    fn or_raise(self) -> PyResult<T>;
}

impl<T> IntoPython<T> for procession_engine::Result<T> {
    fn or_raise(self) -> PyResult<T> {
        self.map_err(to_python)
    }
}

/// Returns a ValueError.
pub fn value_error(message: impl Into<String>) -> PyErr {
    PyValueError::new_err(message.into())
}

/// Returns a TypeError.
pub fn type_error(message: impl Into<String>) -> PyErr {
    PyTypeError::new_err(message.into())
}

/// Returns a RuntimeError.
pub fn runtime_error(message: impl Into<String>) -> PyErr {
    PyRuntimeError::new_err(message.into())
}

/// Returns an OSError that has no number, only words.
pub fn os_error(message: impl Into<String>) -> PyErr {
    PyOSError::new_err(message.into())
}

/// Returns the error of a send to a connection whose other end is closed.
pub fn broken_pipe() -> PyErr {
    PyOSError::new_err((
        libc::EPIPE,
        "no process holds the other end of the connection",
    ))
}

/// Returns the EOFError of a connection whose other end is closed.
pub fn end_of_file() -> PyErr {
    PyEOFError::new_err(
        "no process holds the other end of the connection, and all messages are received",
    )
}

/// Returns the error of a message that does not fit, with the message.
pub fn buffer_too_short(message: Bound<'_, PyAny>) -> PyErr {
    raise(&TOO_SHORT, ERRORS, "BufferTooShort", (message.unbind(),))
}

/// Returns the error of a queue that was shut down for all processes.
pub fn shut_down() -> PyErr {
    let text = "the queue was shut down, and takes no more items";
    raise(&SHUT_DOWN, "procession.queues", "ShutDown", (text,))
}

/// Returns the Full of a queue.
pub fn full(message: String) -> PyErr {
    raise(&FULL, "queue", "Full", (message,))
}

/// Tells whether an error is what a queue says that takes no more items, or none for now.
pub fn is_refusal_of_queue(py: Python<'_>, error: &PyErr) -> bool {
    [&FULL, &SHUT_DOWN]
        .into_iter()
        .filter_map(|class| class.get(py))
        .any(|class| error.is_instance(py, class))
}

/// Returns the Empty of a queue.
pub fn empty(message: String) -> PyErr {
    raise(&EMPTY, "queue", "Empty", (message,))
}

/// Returns the TimeoutError of a wait for a result.
pub fn timed_out(what: &str, timeout: Option<f64>) -> PyErr {
    let seconds = timeout.unwrap_or_default().max(0.0);
    let message =
        format!("{what} was not there after {seconds} s: its task may still come to an end");
    raise(&TIMED_OUT, ERRORS, "TimeoutError", (message,))
}

/// Returns a TimeoutError of what was given a time and took longer.
pub fn time_is_up(message: String) -> PyErr {
    raise(&TIMED_OUT, ERRORS, "TimeoutError", (message,))
}

/// Returns a ProcessError.
pub fn process_error(message: impl Into<String>) -> PyErr {
    raise(&PROCESS_ERROR, ERRORS, "ProcessError", (message.into(),))
}

/// Returns the error of a task whose worker has died.
pub fn worker_died(death: &Death, task: String) -> PyErr {
    let mut message = format!("{death} while it ran {task}");
    if death.deaths > 1 {
        let _ = write!(message, ", which was tried {} times", death.deaths);
    }
    if death.crash.is_some() {
        message.push_str("; its Python stack is the error's `stack`");
    }
    let exitcode = death.status.map(|status| status.code());
    let args = (
        message,
        death.pid,
        exitcode,
        task,
        death.deaths,
        death.crash.as_deref().map(str::to_owned),
    );
    raise(&WORKER_DIED, ERRORS, "WorkerDied", args)
}

/// Returns the error of a task that needed more memory than its worker may have, which may
/// have died of that.
pub fn memory_limit_exceeded(task: String, limit: u64, death: Option<&Death>) -> PyErr {
    let mut message =
        format!("{task} needed more memory than the {limit} bytes that its worker may have");
    if let Some(death) = death {
        let _ = write!(message, ": {death}");
    }
    raise(
        &STARVED,
        ERRORS,
        "MemoryLimitExceeded",
        (message, task, limit),
    )
}

/// Makes the text of a traceback of another process the cause of an error.
pub fn with_remote_cause(py: Python<'_>, error: PyErr, text: &str) -> PyErr {
    let text = format!("\n\"\"\"\n{text}\"\"\"");
    let cause = raise(&REMOTE_TRACEBACK, ERRORS, "RemoteTraceback", (text,));
    error.set_cause(py, Some(cause));
    error
}

/// Returns the error of a task that took too long.
pub fn task_timeout(overrun: Overrun, task: String) -> PyErr {
    let limit = overrun.limit.as_secs_f64();
    let message = format!(
        "{task} took longer than {limit} s, and was killed with worker process {}",
        overrun.pid
    );
    let args = (message, task, limit, overrun.pid);
    raise(&TASK_TIMEOUT, ERRORS, "TaskTimeout", args)
}

/// Tells whether an object is the error of a task that was cancelled.
pub fn is_cancelled(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    object.is_instance(CANCELLED.import(object.py(), ERRORS, "CancelledError")?)
}

/// Returns the error of a cancel in a pool whose tasks native code does not know.
pub fn not_cancellable() -> PyErr {
    value_error(
        "a task of a pool of threads, or of a pool with queues of its own, cannot be cancelled",
    )
}

/// Returns the error of a task that was cancelled.
pub fn cancelled(task: String) -> PyErr {
    let message = format!("{task} was cancelled");
    raise(&CANCELLED, ERRORS, "CancelledError", (message,))
}

const ERRORS: &str = "procession._errors";

static FULL: PyOnce<PyType> = PyOnce::new();
static SHUT_DOWN: PyOnce<PyType> = PyOnce::new();
static EMPTY: PyOnce<PyType> = PyOnce::new();
static BROKEN: PyOnce<PyType> = PyOnce::new();
static OWNER_DIED: PyOnce<PyType> = PyOnce::new();
static TIMED_OUT: PyOnce<PyType> = PyOnce::new();
static PROCESS_ERROR: PyOnce<PyType> = PyOnce::new();
static WORKER_DIED: PyOnce<PyType> = PyOnce::new();
static TASK_TIMEOUT: PyOnce<PyType> = PyOnce::new();
static CANCELLED: PyOnce<PyType> = PyOnce::new();
static STARVED: PyOnce<PyType> = PyOnce::new();
static REMOTE_TRACEBACK: PyOnce<PyType> = PyOnce::new();
static TOO_SHORT: PyOnce<PyType> = PyOnce::new();

/// Makes an exception of a class that is written in Python.
fn raise(
    class: &PyOnce<PyType>,
    module: &str,
    name: &str,
    args: impl pyo3::PyErrArguments + 'static,
) -> PyErr {
    Python::attach(|py| match class.import(py, module, name) {
        Ok(class) => PyErr::from_type(class.clone(), args),
        Err(error) => error,
    })
}
