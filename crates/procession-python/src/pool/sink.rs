//! What comes home: replies and deaths, made into Python objects.

use procession_engine::pool::{Body, Death, Ending, Outcome, PoolEnd, Sink};
use pyo3::prelude::*;

use crate::error::{self, to_python};
use crate::pickle;
use crate::pool::core::was_interrupted;
use crate::pool::imap::IMapIterator;
use crate::pool::message;
use crate::pool::result::ApplyResult;

/// Hands each outcome to the result that waits for it.
pub struct Deliver;

/// What a task is known by: whose it is, and its place there.
pub struct Token {
    pub call: Call,
    pub index: usize,
}

/// Who gets the outcome of a task.
pub enum Call {
    Result(Py<ApplyResult>),
    Stream(Py<IMapIterator>),
}

/// What came of a task, for the user.
pub struct Arrival {
    pub success: bool,
    pub object: Py<PyAny>,
    /// Whether the user is told by a callback, too.
    pub told: bool,
}

impl Sink for Deliver {
    type Token = Token;

    fn deliver(&self, outcomes: &mut dyn Iterator<Item = Outcome<'_, Token>>) {
        // Without an interpreter there is nobody left to tell.
        Python::try_attach(|py| {
            for Outcome { token, ending } in outcomes {
                let arrival = open(py, ending);
                token.call.arrive(py, token.index, arrival);
            }
        });
    }
}

impl Call {
    pub fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            Self::Result(result) => Self::Result(result.clone_ref(py)),
            Self::Stream(stream) => Self::Stream(stream.clone_ref(py)),
        }
    }

    /// Hands in what came of the task at `index`.
    pub fn arrive(&self, py: Python<'_>, index: usize, arrival: Arrival) {
        match self {
            Self::Result(result) => ApplyResult::arrive(result.bind(py), index, arrival),
            Self::Stream(stream) => IMapIterator::arrive(stream.bind(py), index, arrival),
        }
    }
}

impl Arrival {
    pub fn value(object: Bound<'_, PyAny>) -> Self {
        Self {
            success: true,
            object: object.unbind(),
            told: true,
        }
    }

    pub fn error(py: Python<'_>, error: PyErr) -> Self {
        Self {
            success: false,
            object: error.into_value(py).into_any(),
            told: true,
        }
    }

    /// Says why a task of a pool that has ended will never run.
    pub fn ended(py: Python<'_>, end: &PoolEnd) -> Self {
        let failure = match end {
            PoolEnd::Initializer(bytes) => unpack(py, pickle::load(py, bytes)),
            PoolEnd::Terminated | PoolEnd::Closed => {
                return Self {
                    // As ever, who ends a pool is not called back for it.
                    told: false,
                    ..Self::error(
                        py,
                        error::process_error(format!("{end}, without this result")),
                    )
                };
            }
            PoolEnd::Workers(_) => error::process_error(end.to_string()),
        };
        Self::error(py, failure)
    }
}

fn open(py: Python<'_>, ending: Ending<'_>) -> Arrival {
    match ending {
        Ending::Reply { code, body, .. } => {
            let loaded = load(py, body);
            if code == message::ERROR {
                return Arrival::error(py, unpack(py, loaded));
            }
            match loaded {
                Ok(object) => Arrival::value(object),
                Err(error) => Arrival::error(py, error),
            }
        }
        Ending::Died(death) => Arrival::error(py, died(death)),
        Ending::Lost(error) => Arrival::error(py, to_python(error)),
        Ending::Ended(end) => Arrival::ended(py, &end),
    }
}

fn load<'py>(py: Python<'py>, body: Body<'_>) -> PyResult<Bound<'py, PyAny>> {
    match body {
        Body::Inline(bytes) => match pickle::load(py, bytes) {
            Err(error) if was_interrupted(py, &error) => pickle::load(py, bytes),
            result => result,
        },
        Body::Block(block, len) => pickle::load_block(py, block, 0, len),
    }
}

/// Returns the exception that was packed in a worker.
fn unpack(py: Python<'_>, packed: PyResult<Bound<'_, PyAny>>) -> PyErr {
    let unpacked = packed.and_then(|packed| {
        py.import("procession._outcome")?
            .call_method1("unpack_error", (packed,))
    });
    unpacked.map_or_else(|error| error, PyErr::from_value)
}

fn died(death: Death) -> PyErr {
    let message = format!("{death} while it ran the task");
    error::worker_died(message, death.pid, death.status.map(|status| status.code()))
}
