//! Tasks and replies as bytes: what both sides of a pool agree on.

use std::time::Duration;

use procession_engine::pool::{Job, TaskBytes, TaskPolicy};
use procession_engine::shm::Loans;
use procession_engine::shm::transfer::loans;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::by_value::{Reader, explain};
use crate::error::{IntoPython, value_error};
use crate::pickle::{self, Pickled};

/// The code of a reply that holds the value.
pub const VALUE: u8 = 0;

/// The code of a reply that holds an error, as `_outcome` packs it.
pub const ERROR: u8 = 1;

/// The code of a reply of a task that was refused memory, packed like an error.
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
}

impl Shape {
    fn byte(self) -> u8 {
        u8::from(self.chunked) | u8::from(self.star) << 1
    }

    fn from_byte(byte: u8) -> Self {
        Self {
            chunked: byte & 1 != 0,
            star: byte & 2 != 0,
        }
    }
}

/// A time and a number of retries as Python gives them, for [`terms`].
pub type PolicyParts = Option<(Option<f64>, u32)>;

/// Returns the terms of a task.
pub fn terms(numbers: PolicyParts) -> PyResult<TaskPolicy> {
    let Some((timeout, retries)) = numbers else {
        return Ok(TaskPolicy::default());
    };
    let duration = |seconds| {
        Duration::try_from_secs_f64(seconds)
            .map_err(|_| value_error(format!("a task cannot take {seconds} s")))
    };
    Ok(TaskPolicy {
        timeout: timeout.map(duration).transpose()?,
        retries,
    })
}

/// Returns what a function is called, for people.
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

/// Returns how many bytes a task has.
pub fn length(payload: &TaskBytes) -> usize {
    match payload {
        TaskBytes::Inline(bytes) => bytes.len(),
        TaskBytes::Block(_, len) => *len as usize,
    }
}

/// Pickles what a task is, into the arena if it is long; returns what it has handles
/// of, too.
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

/// The task of a single call, and what it was made of if it may be tried again.
pub type CallParts = ((TaskBytes, Loans), Option<Py<PyAny>>);

/// Pickles a single call, as a worker reads it.
pub fn call(
    (func, args, kwds): (&Bound<'_, PyAny>, &Bound<'_, PyAny>, &Bound<'_, PyAny>),
    reader: Reader,
    is_kept: bool,
) -> PyResult<CallParts> {
    let py = func.py();
    let call = PyTuple::new(py, [func, args, kwds])?.into_any();
    let made = task(&call, reader).map_err(|error| {
        explain(py, error, "explain_call", |error| {
            (error, func, args, kwds, name(func), reader.word()).into_pyobject(py)
        })
    })?;
    Ok((made, is_kept.then(|| call.unbind())))
}

/// Pickles an input of a job, or several, the first of which has a place among all inputs;
/// `name` tells what the task is called.
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
    let mut bytes = vec![0; 1 + pickled.len(py)];
    bytes[0] = shape.byte();
    pickled.copy_to(py, &mut bytes[1..]);
    Job::new(&bytes, loans).or_raise()
}

/// Returns the function of a job, and how to call it.
pub fn load_job<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<(Shape, Bound<'py, PyAny>)> {
    let (&shape, pickle) = bytes
        .split_first()
        .ok_or_else(|| value_error("a job without a function"))?;
    let function = loans::reading_untracked(|| pickle::load(py, pickle))?;
    Ok((Shape::from_byte(shape), function))
}
