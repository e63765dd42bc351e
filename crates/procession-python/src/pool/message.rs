//! Tasks and replies as bytes: what both sides of a pool agree on.

use std::iter;
use std::time::Duration;

use procession_engine::pool::{Job, TaskBytes};
use procession_engine::shm::{HandleSource, Loans};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::by_value::{Reader, explain};
use crate::error::{IntoPython, value_error};
use crate::pickle::{self, Pickled};
use crate::pool::terms::Terms;
use crate::transfer;

/// The code of a reply that holds the value.
pub const VALUE: u8 = 0;

/// The code of a reply that holds an error, as `_outcome` packs it.
pub const ERROR: u8 = 1;

/// The code of a reply of a task that was refused memory: the text of its traceback, and how
/// many bytes its worker may have.
pub const STARVED: u8 = 2;

/// From this length on bytes are copied without the GIL.
const LONG: usize = 64 * 1024;

/// How the tasks of a job call its function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// A task is a sequence of inputs, and its value the list of the results.
    pub chunked: bool,
    /// An input is a sequence of arguments.
    pub star: bool,
    /// The error of an input stands among the results of its task.
    pub collects: bool,
    /// After which time the function is interrupted.
    pub soft_timeout: Option<Duration>,
}

impl Shape {
    /// How many bytes it takes.
    const LEN: usize = 9;

    fn to_bytes(self) -> [u8; Self::LEN] {
        let bits = u8::from(self.chunked) | u8::from(self.star) << 1 | u8::from(self.collects) << 2;
        let mut bytes = [bits; Self::LEN];
        bytes[1..].copy_from_slice(&nanoseconds(self.soft_timeout).to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let [bits, nanoseconds @ ..] = bytes;
        Self {
            chunked: bits & 1 != 0,
            star: bits & 2 != 0,
            collects: bits & 4 != 0,
            soft_timeout: limit(u64::from_le_bytes(nanoseconds)),
        }
    }
}

/// Returns a time limit as a number; 0 is none.
fn nanoseconds(limit: Option<Duration>) -> u64 {
    limit.map_or(0, |limit| {
        limit.as_nanos().try_into().unwrap_or(u64::MAX).max(1)
    })
}

fn limit(nanoseconds: u64) -> Option<Duration> {
    (nanoseconds != 0).then(|| Duration::from_nanos(nanoseconds))
}

/// Returns the name of a function, for messages.
pub fn name(function: &Bound<'_, PyAny>) -> String {
    let text = |attribute| {
        let value = function.getattr(attribute).ok()?;
        value.extract::<String>().ok()
    };
    match (text("__module__"), text("__qualname__")) {
        (Some(module), Some(name)) => format!("{module}.{name}"),
        (None, Some(name)) => name,
        // A partial, or an object that can be called.
        _ => function
            .get_type()
            .fully_qualified_name()
            .map_or_else(|_| "the task".into(), |name| format!("a {name}")),
    }
}

/// Pickles a task, into the arena if it is long; returns its bytes and the loans of its handles.
pub fn task(object: &Bound<'_, PyAny>, reader: Reader) -> PyResult<(TaskBytes, Loans)> {
    let py = object.py();
    let (pickled, loans) = Pickled::lending_to(reader, object)?;
    let payload = pickled.with_parts(py, |parts| {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if len < LONG {
            TaskBytes::new(parts).or_raise()
        } else {
            py.detach(|| TaskBytes::new(parts)).or_raise()
        }
    });
    Ok((payload?, loans))
}

/// The task of a single call, and the objects that it was made of if it may be tried again.
pub type CallParts = ((TaskBytes, Loans), Option<Py<PyAny>>);

/// Pickles a single call, as a worker reads it.
pub fn call(
    (func, args, kwds): (&Bound<'_, PyAny>, &Bound<'_, PyAny>, &Bound<'_, PyAny>),
    reader: Reader,
    terms: Terms,
) -> PyResult<CallParts> {
    let py = func.py();
    let call = match terms.soft_timeout {
        None => PyTuple::new(py, [func, args, kwds])?,
        limit => (func, args, kwds, nanoseconds(limit)).into_pyobject(py)?,
    }
    .into_any();
    let is_kept = terms.policy.retries > 0;
    let made = task(&call, reader).map_err(|error| {
        explain(py, error, "explain_call", |error| {
            (error, func, args, kwds, name(func), reader.word()).into_pyobject(py)
        })
    })?;
    Ok((made, is_kept.then(|| call.unbind())))
}

/// Returns the function of a single call, its arguments and keywords, and after which time it
/// is interrupted.
pub fn open_call(call: Bound<'_, PyAny>) -> PyResult<CallContent<'_>> {
    let call = call.cast_into::<PyTuple>()?;
    let soft_timeout = match call.len() {
        4 => limit(call.get_item(3)?.extract()?),
        _ => None,
    };
    let function = call.get_item(0)?;
    Ok((
        function,
        (call.get_item(1)?, call.get_item(2)?),
        soft_timeout,
    ))
}

/// What a single call consists of.
pub type CallContent<'py> = (
    Bound<'py, PyAny>,
    (Bound<'py, PyAny>, Bound<'py, PyAny>),
    Option<Duration>,
);

/// Pickles an input of a job, or several; `place` is that of the first among all inputs, and `name`
/// returns the task's name.
pub fn input(
    object: &Bound<'_, PyAny>,
    (first, is_chunk): (usize, bool),
    reader: Reader,
    name: impl FnOnce() -> String,
) -> PyResult<(TaskBytes, Loans)> {
    let py = object.py();
    task(object, reader).map_err(|error| {
        explain(py, error, "explain_inputs", |error| {
            (error, object, first, is_chunk, name(), reader.word()).into_pyobject(py)
        })
    })
}

/// Pickles the function that all tasks of a job call.
pub fn job(function: &Bound<'_, PyAny>, shape: Shape, reader: Reader) -> PyResult<Job> {
    let py = function.py();
    let (pickled, loans) = Pickled::lending_to(reader, function).map_err(|error| {
        explain(py, error, "explain_call", |error| {
            (error, function, (), (), name(function), reader.word()).into_pyobject(py)
        })
    })?;
    let shape = shape.to_bytes();
    pickled.with_parts(py, |parts| {
        let prologue: Vec<&[u8]> = iter::once(&shape[..])
            .chain(parts.iter().copied())
            .collect();
        Job::new(&prologue, loans).or_raise()
    })
}

/// Returns the function of a job, and how to call it.
pub fn load_job<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<(Shape, Bound<'py, PyAny>)> {
    let (&shape, pickle) = bytes.split_first_chunk().ok_or_else(|| {
        value_error("the tasks of this call name no function: their memory is damaged")
    })?;
    let function = transfer::reading(&HandleSource::KEPT, || pickle::load(py, pickle))?;
    Ok((Shape::from_bytes(shape), function))
}
