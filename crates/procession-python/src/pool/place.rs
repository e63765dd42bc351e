//! Where a task stands among those of its call, for the text of errors.

use pyo3::prelude::*;

use crate::pool::message;

/// Names the inputs of a task.
pub struct Place {
    pub index: usize,
    /// How many inputs make a task; 0 where there is but one task.
    pub chunk: usize,
    /// How many inputs there are, where that is known.
    pub length: Option<usize>,
}

impl Place {
    /// Returns which function is called with which inputs, for messages.
    pub fn name(&self, py: Python<'_>, function: Option<Py<PyAny>>) -> String {
        let name = match function {
            Some(function) => message::name(function.bind(py)),
            None => "the task".to_owned(),
        };
        let first = self.index * self.chunk;
        let last = (first + self.chunk).min(self.length.unwrap_or(usize::MAX));
        match self.chunk {
            0 => name,
            1 => format!("{name} on input {first}"),
            _ => format!("{name} on inputs {first} to {}", last.saturating_sub(1)),
        }
    }
}
