//! A trace of the family that is being written, as Python ends it.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use procession_trace::Trace;
use pyo3::prelude::*;

use crate::error::IntoPython;

/// Writes a trace into a file until it is ended.
#[pyclass(frozen, module = "procession._procession")]
pub struct TraceWriter {
    trace: Mutex<Trace>,
    path: PathBuf,
}

#[pymethods]
impl TraceWriter {
    #[new]
    fn new(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let trace = py.detach(|| Trace::begin(&path)).or_raise()?;
        let path = trace.path().to_owned();
        let trace = Mutex::new(trace);
        Ok(Self { trace, path })
    }

    /// The full name of the file, as a string.
    #[getter]
    fn path(&self) -> &OsStr {
        self.path.as_os_str()
    }

    /// Ends the trace, and waits until the file has all of it.
    fn end(&self, py: Python<'_>) -> PyResult<()> {
        let end = || {
            let mut trace = self.trace.lock().unwrap_or_else(PoisonError::into_inner);
            trace.end()
        };
        py.detach(end).or_raise()
    }
}
