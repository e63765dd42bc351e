//! The commands `ps` and `top`, and metrics, as Python calls them.

use std::sync::{Mutex, PoisonError};

use procession_top::{Look, Metric, MetricKind, Source, Value, json, text};
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict as _, PyList};

use crate::error::{IntoPython, os_error, value_error};

fn source(pid: Option<u32>) -> Source {
    pid.map_or(Source::All, Source::Process)
}

/// Turns a look into the text of a form.
type Writer = fn(&Look) -> String;

fn writer(form: &str) -> PyResult<Writer> {
    Ok(match form {
        "text" => text,
        "json" => json,
        "openmetrics" => procession_top::openmetrics,
        _ => return Err(value_error(format!("unknown form {form:?}"))),
    })
}

/// Looks at families again and again.
#[pyclass(frozen, module = "procession._procession")]
pub struct Watcher(Mutex<procession_top::Watcher>);

#[pymethods]
impl Watcher {
    #[new]
    #[pyo3(signature = (pid=None))]
    fn new(pid: Option<u32>) -> Self {
        Self(Mutex::new(procession_top::Watcher::new(source(pid))))
    }

    /// Returns what they do now, in a form: text, json or openmetrics.
    fn look(&self, py: Python<'_>, form: &str) -> PyResult<String> {
        let written = writer(form)?;
        py.detach(|| {
            let mut watcher = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(written(&watcher.look()?))
        })
        .or_raise()
    }

    /// Returns the metrics of what they do now.
    fn metrics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let look = py.detach(|| {
            let mut watcher = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            watcher.look()
        });
        list(py, procession_top::metrics(&look.or_raise()?))
    }
}

/// Returns what families do now, in a form: text, json or openmetrics.
#[pyfunction]
pub fn view_once(py: Python<'_>, pid: Option<u32>, form: &str) -> PyResult<String> {
    let written = writer(form)?;
    py.detach(|| Ok(written(&Look::once(source(pid))?)))
        .or_raise()
}

/// Returns the metrics of a process's family; by default of this process's.
#[pyfunction]
#[pyo3(signature = (pid=None))]
pub fn openmetrics(py: Python<'_>, pid: Option<u32>) -> PyResult<String> {
    let look = py.detach(|| match pid {
        Some(pid) => Look::once(Source::Process(pid)),
        None => Ok(Look::own()),
    });
    Ok(procession_top::openmetrics(&look.or_raise()?))
}

/// Returns the metrics of this process's family.
#[pyfunction]
pub fn metrics(py: Python<'_>) -> PyResult<Bound<'_, PyList>> {
    list(py, procession_top::metrics(&py.detach(Look::own)))
}

/// Makes tuples of metrics: name, kind, unit, help, and a list of labels with a value.
fn list(py: Python<'_>, metrics: Vec<Metric>) -> PyResult<Bound<'_, PyList>> {
    let list = PyList::empty(py);
    for metric in metrics {
        let kind = match metric.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
        };
        let samples = PyList::empty(py);
        for sample in metric.samples {
            let labels = sample.labels.into_py_dict(py)?;
            match sample.value {
                Value::Count(count) => samples.append((labels, count))?,
                Value::Seconds(seconds) => samples.append((labels, seconds))?,
            }
        }
        list.append((metric.name, kind, metric.unit, metric.help, samples))?;
    }
    Ok(list)
}

/// Shows in this terminal what families do, until the user leaves.
#[pyfunction]
pub fn view(py: Python<'_>, pid: Option<u32>) -> PyResult<()> {
    let left = py.detach(|| procession_top::top(source(pid)));
    left.map_err(|error| os_error(error.to_string()))
}
