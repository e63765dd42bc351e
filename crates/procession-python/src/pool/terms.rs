//! The terms of a call, for its tasks.

use std::time::Duration;

use procession_engine::pool::{TaskPolicy, TimeLimit, Turn};
use pyo3::prelude::*;

use crate::error::value_error;

/// The time limit, the retries, the soft time limit, the priority, what errors do, and whether tasks
/// are dealt in a fixed order of workers, as `_terms` gives them.
pub type TermsParts = Option<(Option<f64>, u32, Option<f64>, i32, String, bool)>;

/// The terms of a call, for its tasks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    /// The terms that the engine enforces.
    pub policy: TaskPolicy,
    /// After which time the function that a task calls is interrupted.
    pub soft_timeout: Option<Duration>,
    pub on_error: OnError,
}

/// What the error of a task does to its map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// It ends the map at once.
    Stop,
    /// The other tasks are run; then it is raised.
    #[default]
    Continue,
    /// It stands among the results.
    Collect,
}

impl OnError {
    /// Reads the word that Python has for it.
    pub fn new(word: &str) -> Self {
        match word {
            "stop" => Self::Stop,
            "collect" => Self::Collect,
            _ => Self::Continue,
        }
    }
}

impl Terms {
    /// Reads what Python gives.
    pub fn new(parts: TermsParts) -> PyResult<Self> {
        let Some((timeout, retries, soft_timeout, priority, on_error, in_order)) = parts else {
            return Ok(Self::default());
        };
        Ok(Self {
            policy: TaskPolicy {
                timeout: timeout.map(duration).transpose()?.map(TimeLimit::from),
                retries,
                priority,
                turn: in_order.then(|| Turn::new(0)),
                ..TaskPolicy::default()
            },
            soft_timeout: soft_timeout.map(duration).transpose()?,
            on_error: OnError::new(&on_error),
        })
    }
}

/// Returns a time that Python gives in seconds.
pub fn duration(seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| value_error(format!("there is no time limit of {seconds} s")))
}
