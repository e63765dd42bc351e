//! The commands `ps` and `top`, as Python calls them.

use procession_top::{Look, Source, json, text};
use pyo3::prelude::*;

use crate::error::{IntoPython, os_error};

fn source(pid: Option<u32>) -> Source {
    pid.map_or(Source::All, Source::Process)
}

/// Returns what families do now, as text or as JSON.
#[pyfunction]
pub fn view_once(py: Python<'_>, pid: Option<u32>, as_json: bool) -> PyResult<String> {
    let look = py.detach(|| Look::once(source(pid))).or_raise()?;
    Ok(if as_json { json(&look) } else { text(&look) })
}

/// Shows in this terminal what families do, until the user leaves.
#[pyfunction]
pub fn view(py: Python<'_>, pid: Option<u32>) -> PyResult<()> {
    let left = py.detach(|| procession_top::top(source(pid)));
    left.map_err(|error| os_error(error.to_string()))
}
