//! Replies of workers and their deaths, made into objects of Python.

use std::sync::Arc;

use procession_engine::pool::{Ending, Outcome, ResultBytes, Sink};
use pyo3::prelude::*;

use crate::error::{self, to_python};
use crate::pickle;
use crate::pool::arrival::{Arrival, Loss, unpack};
use crate::pool::callback::uninterrupted;
use crate::pool::imap::IMapIterator;
use crate::pool::message;
use crate::pool::result::ApplyResult;

/// Hands each outcome to the result that waits for it.
pub struct Deliver {
    /// The pool's function that makes the errors which users get for tasks without a reply; it is
    /// given the name of the [`Loss`] and the error.
    pub errors: Option<Py<PyAny>>,
}

/// Identifies a task: its call, and its place there.
pub struct Token {
    pub call: Call,
    pub index: usize,
    /// The input of a task that may be tried again. Besides handles it may refer to other things,
    /// such as objects of a manager, which must outlive the first worker.
    pub input: Option<Py<PyAny>>,
}

/// The call that gets the outcome of a task.
pub enum Call {
    Result(Py<ApplyResult>),
    Stream(Py<IMapIterator>),
}

impl Sink for Deliver {
    type Token = Token;

    fn deliver(&self, outcomes: &mut dyn Iterator<Item = Outcome<'_, Token>>) {
        // Without an interpreter there is nobody left to tell.
        Python::try_attach(|py| {
            for Outcome { token, ending } in outcomes {
                let arrival = match ending {
                    Ending::Reply {
                        code: message::STARVED,
                        body,
                        ..
                    } => starved(py, body, &token),
                    Ending::Reply { code, body, .. } => open(py, code, body),
                    ending => failure(py, ending, &token),
                };
                token.call.arrive(py, token.index, arrival);
            }
        });
    }
}

/// Makes the outcome of a task that was refused memory in a worker that lives.
fn starved(py: Python<'_>, body: ResultBytes<'_>, token: &Token) -> Arrival {
    let task = token.call.name(py, token.index);
    match load(py, body).and_then(|told| told.extract::<(String, u64)>()) {
        Ok((text, limit)) => Arrival::made(py, || {
            let error = error::memory_limit_exceeded(task.clone(), limit, None);
            error::with_remote_cause(py, error, &text)
        }),
        Err(error) => Arrival::error(py, error),
    }
}

impl Call {
    pub fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            Self::Result(result) => Self::Result(result.clone_ref(py)),
            Self::Stream(stream) => Self::Stream(stream.clone_ref(py)),
        }
    }

    /// Tells whether it is the object at an address.
    pub fn is(&self, address: usize) -> bool {
        address
            == match self {
                Self::Result(result) => result.as_ptr() as usize,
                Self::Stream(stream) => stream.as_ptr() as usize,
            }
    }

    /// Tells whether no more tasks of it are to be made.
    pub fn is_cancelled(&self) -> bool {
        match self {
            Self::Result(result) => result.get().is_cancelled(),
            Self::Stream(stream) => stream.get().is_cancelled(),
        }
    }

    /// Returns a description of the task at `index`, for messages.
    pub fn name(&self, py: Python<'_>, index: usize) -> String {
        match self {
            Self::Result(result) => result.get().name(py, index),
            Self::Stream(stream) => stream.get().name(py, index),
        }
    }

    /// Hands in the outcome of the task at `index`.
    pub fn arrive(&self, py: Python<'_>, index: usize, arrival: Arrival) {
        match self {
            Self::Result(result) => ApplyResult::arrive(result.bind(py), index, arrival),
            Self::Stream(stream) => IMapIterator::arrive(stream.bind(py), index, arrival),
        }
    }
}

fn open(py: Python<'_>, code: u8, body: ResultBytes<'_>) -> Arrival {
    let size = body.len();
    let loaded = load(py, body);
    if code == message::ERROR {
        return Arrival::error(py, unpack(py, loaded));
    }
    match loaded {
        Ok(object) => Arrival {
            size,
            ..Arrival::value(object)
        },
        Err(error) => Arrival::error(py, error),
    }
}

/// Makes the outcome of a task that has no reply.
fn failure(py: Python<'_>, ending: Ending<'_>, token: &Token) -> Arrival {
    let task = || token.call.name(py, token.index);
    match ending {
        Ending::Died(death) => match death.memory_limit {
            Some(limit) => Arrival::made(py, || {
                error::memory_limit_exceeded(task(), limit, Some(&death))
            }),
            None => Arrival {
                loss: Some(Loss::Died),
                ..Arrival::made(py, || error::worker_died(&death, task()))
            },
        },
        Ending::TimedOut(overrun) => Arrival::made(py, || error::task_timeout(overrun, task())),
        Ending::Cancelled => Arrival::cancelled(py, &task()),
        Ending::Lost(error) => Arrival::made(py, || to_python(error.clone())),
        Ending::Ended(end) => Arrival::ended(py, &end),
        Ending::Reply { .. } => {
            Arrival::made(py, || error::process_error("the reply was not read"))
        }
    }
}

fn load<'py>(py: Python<'py>, body: ResultBytes<'_>) -> PyResult<Bound<'py, PyAny>> {
    match body {
        ResultBytes::Inline(bytes) => uninterrupted(py, || pickle::load(py, bytes)),
        ResultBytes::Block(block, len) => {
            let block = Arc::new(block);
            uninterrupted(py, || pickle::receive(py, Arc::clone(&block), len))
        }
    }
}
