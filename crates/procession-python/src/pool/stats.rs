//! What a pool has done, as Python reads it.

use std::time::Duration;

use procession_engine::pool as engine;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Is made into a dict of numbers; `_pool_stats` gives them names and units.
pub struct Stats(pub engine::PoolStats);

impl<'py> IntoPyObject<'py> for Stats {
    type Target = PyDict;
    type Output = Bound<'py, PyDict>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        let stats = self.0;
        let dict = PyDict::new(py);
        dict.set_item("age", stats.age.as_secs_f64())?;
        dict.set_item("submitted", stats.submitted)?;
        dict.set_item("waiting", stats.waiting)?;
        dict.set_item("running", stats.running)?;
        dict.set_item("work", work(py, stats.work)?)?;
        let worker = |worker: engine::WorkerStats| {
            let dict = PyDict::new(py);
            dict.set_item("index", worker.index)?;
            dict.set_item("pid", worker.pid)?;
            dict.set_item("starts", worker.starts)?;
            dict.set_item("deaths", worker.deaths)?;
            dict.set_item("starting", worker.starting.as_secs_f64())?;
            dict.set_item("waiting", worker.waiting.as_secs_f64())?;
            dict.set_item("running", worker.running.map(|time| time.as_secs_f64()))?;
            dict.set_item("queued", worker.queued)?;
            dict.set_item("work", work(py, worker.work)?)?;
            Ok::<_, PyErr>(dict)
        };
        let workers: Vec<_> = stats
            .workers
            .into_iter()
            .map(worker)
            .collect::<PyResult<_>>()?;
        dict.set_item("workers", workers)?;
        let function = |function: engine::FunctionStats| {
            Ok::<_, PyErr>((function.name, work(py, function.work)?))
        };
        let functions = stats.functions.into_iter().map(function);
        dict.set_item("functions", functions.collect::<PyResult<Vec<_>>>()?)?;
        Ok(dict)
    }
}

fn work(py: Python<'_>, work: engine::WorkStats) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("tasks", work.tasks)?;
    dict.set_item("calls", work.calls)?;
    dict.set_item("failed", work.failed)?;
    dict.set_item("deaths", work.deaths)?;
    dict.set_item("retries", work.retries)?;
    dict.set_item("timeouts", work.timeouts)?;
    dict.set_item("cancelled", work.cancelled)?;
    dict.set_item("bytes_sent", work.bytes_sent)?;
    dict.set_item("bytes_received", work.bytes_received)?;
    dict.set_item("times", CallTimes(work.times))?;
    Ok(dict)
}

/// How long calls took.
#[pyclass(frozen, module = "procession._procession")]
pub struct CallTimes(engine::CallTimes);

#[pymethods]
impl CallTimes {
    /// The time of all calls together, in seconds.
    #[getter]
    fn total(&self) -> f64 {
        self.0.sum().as_secs_f64()
    }

    /// The shortest, in seconds; None while there was none.
    #[getter]
    fn shortest(&self) -> Option<f64> {
        self.0.shortest().as_ref().map(Duration::as_secs_f64)
    }

    /// The longest, in seconds; None while there was none.
    #[getter]
    fn longest(&self) -> Option<f64> {
        self.0.longest().as_ref().map(Duration::as_secs_f64)
    }

    /// How long a call took at most, for the given part of the calls.
    fn quantile(&self, part: f64) -> PyResult<Option<f64>> {
        if !(0.0..=1.0).contains(&part) {
            return Err(crate::error::value_error(format!(
                "a quantile is between 0 and 1, not {part}"
            )));
        }
        Ok(self.0.quantile(part).as_ref().map(Duration::as_secs_f64))
    }
}
