//! What a process that is no worker may use.

use procession_engine::pool::WorkerLimits;
use pyo3::prelude::*;

use crate::error::IntoPython;

/// Binds this process, which errors call `who`, to bytes of private memory and to processors.
#[pyfunction]
pub fn confine(who: &str, memory: Option<u64>, cpus: Option<Vec<usize>>) -> PyResult<()> {
    let limits = WorkerLimits {
        memory,
        resident: None,
        cpus,
    };
    limits.apply(who).or_raise()
}

/// Lets this process have as much memory as before, to tell that it was refused some.
#[pyfunction]
pub fn lift_memory_limit() -> PyResult<()> {
    let limits = WorkerLimits {
        memory: Some(0),
        ..WorkerLimits::default()
    };
    limits.relax().or_raise()
}
