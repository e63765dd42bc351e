//! A worker of a pool: calls functions, one task after another.

use std::sync::{Mutex, PoisonError};

use procession_engine::ErrorKind;
use procession_engine::arena::{Block, Loans, loans};
use procession_engine::os::time::Deadline;
use procession_engine::pool::{Bounds, Taken, Worker};
use pyo3::exceptions::{PyKeyboardInterrupt, PyMemoryError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyCFunction, PyDict, PyFunction, PyList, PyModule, PyTuple, PyType};

use crate::error::{IntoPython, to_python, value_error};
use crate::pickle::{self, Pickled};
use crate::pool::message::{self, Shape};
use crate::shared::Numbers;

/// A worker, in its own process.
#[pyclass(frozen, module = "procession._procession")]
pub struct PoolWorker(Mutex<Option<Worker>>);

#[pymethods]
impl PoolWorker {
    /// Joins the pool that a lane belongs to.
    #[new]
    fn new(lane: Numbers) -> PyResult<Self> {
        let worker = Worker::attach(lane.into()).or_raise()?;
        Ok(Self(Mutex::new(Some(worker))))
    }

    /// Binds this process to bytes of private memory, to bytes in RAM above which it
    /// is replaced between tasks, and to processors.
    fn confine(
        &self,
        memory: Option<u64>,
        resident: Option<u64>,
        cpus: Option<Vec<usize>>,
    ) -> PyResult<()> {
        let bounds = Bounds {
            memory,
            resident,
            cpus,
        };
        let mut worker = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match worker.as_mut() {
            Some(worker) => worker.confine(bounds).or_raise(),
            None => Err(value_error("a worker works once")),
        }
    }

    /// Tells the pool, by a packed error, that this worker cannot be set up.
    fn fail(&self, packed: &Bound<'_, PyAny>) -> PyResult<()> {
        let pickled = Pickled::new(packed)?;
        let mut bytes = vec![0; pickled.len(packed.py())];
        pickled.copy_to(packed.py(), &mut bytes);
        self.take()?.failed(&bytes).or_raise()
    }

    /// Works until there are no more tasks. `pack` makes an error, and the value
    /// that could not be sent if that is the matter, into what can be sent.
    fn run(&self, py: Python<'_>, pack: Py<PyAny>) -> PyResult<()> {
        let mut desk = Desk {
            worker: self.take()?,
            pack,
            function: None,
        };
        match desk.work(py) {
            // Not in a task: it is the end of a worker that was idle, in silence.
            Err(error) if error.is_instance_of::<PyKeyboardInterrupt>(py) => Ok(()),
            result => result,
        }
    }
}

impl PoolWorker {
    fn take(&self) -> PyResult<Worker> {
        let worker = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        worker.ok_or_else(|| value_error("a worker works once"))
    }
}

/// What a worker works with.
struct Desk {
    worker: Worker,
    pack: Py<PyAny>,
    /// The function of the last job, if it may be kept between tasks.
    function: Option<(u64, Shape, Py<PyAny>)>,
}

impl Desk {
    fn work(&mut self, py: Python<'_>) -> PyResult<()> {
        self.worker.ready().or_raise()?;
        while let Some(task) = self.next(py)? {
            let outcome = self.call(py, &task);
            self.reply(py, outcome)?;
        }
        Ok(())
    }

    fn next(&mut self, py: Python<'_>) -> PyResult<Option<Taken>> {
        loop {
            let worker = &mut self.worker;
            match py.detach(|| worker.next(Deadline::NEVER)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => py.check_signals()?,
                result => return result.map_err(to_python),
            }
        }
    }

    fn call<'py>(&mut self, py: Python<'py>, task: &Taken) -> PyResult<Bound<'py, PyAny>> {
        let Some(job) = task.job() else {
            let call = self.load(py, task)?.cast_into::<PyTuple>()?;
            let function = call.get_item(0)?;
            let (arguments, keywords) = (call.get_item(1)?, call.get_item(2)?);
            drop(call);
            return apply(&function, arguments, Some(keywords));
        };
        let (shape, function) = self.function(py, task, job)?;
        let input = self.load(py, task)?;
        if !shape.chunked {
            return apply_one(&function, input, shape);
        }
        // The interpreter's own loop is the fastest there is.
        static MAP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        static STARMAP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let map = match shape.star {
            false => MAP.import(py, "builtins", "map")?,
            true => STARMAP.import(py, "itertools", "starmap")?,
        };
        py.get_type::<PyList>()
            .call1((map.call1((function, input))?,))
    }

    /// Unpickles the task's bytes; what lies in a block of its own stays there.
    fn load<'py>(&mut self, py: Python<'py>, task: &Taken) -> PyResult<Bound<'py, PyAny>> {
        loans::visiting(|| self.unpickle(py, task))
    }

    fn unpickle<'py>(&mut self, py: Python<'py>, task: &Taken) -> PyResult<Bound<'py, PyAny>> {
        if task.is_block() {
            let len = task.len() as usize;
            let block = if task.is_claimable() {
                self.worker.claim(task).or_raise()?
            } else {
                // It may be needed again, by another worker.
                let mut copy = Block::new(task.len()).or_raise()?;
                copy[..len].copy_from_slice(self.worker.bytes(task));
                copy
            };
            return pickle::load_block(py, block, 0, len);
        }
        pickle::load(py, self.worker.bytes(task))
    }

    /// Returns the function of the task's job. One that has a state begins anew with
    /// each task, as if it had come with it.
    fn function<'py>(
        &mut self,
        py: Python<'py>,
        task: &Taken,
        job: u64,
    ) -> PyResult<(Shape, Bound<'py, PyAny>)> {
        if let Some((kept, shape, function)) = &self.function
            && *kept == job
        {
            return Ok((*shape, function.bind(py).clone()));
        }
        let (shape, function) = message::load_job(py, self.worker.prologue(task))?;
        if is_plain(&function)? {
            self.function = Some((job, shape, function.clone().unbind()));
        }
        Ok((shape, function))
    }

    fn reply(&mut self, py: Python<'_>, outcome: PyResult<Bound<'_, PyAny>>) -> PyResult<()> {
        let (error, value) = match outcome.map(|value| (Pickled::lending(&value), value)) {
            Ok((Ok(pickled), value)) => match send(py, &mut self.worker, message::VALUE, pickled) {
                Ok(()) => return Ok(()),
                Err(error) => (error, Some(value)),
            },
            Ok((Err(error), _)) | Err(error) if self.is_starved(py, &error) => {
                return self.starved(py, error);
            }
            Ok((Err(error), value)) => (error, Some(value)),
            Err(error) => (error, None),
        };
        let packed = self.pack.bind(py).call1((error.into_value(py), value))?;
        let pickled = Pickled::lending(&packed)?;
        send(py, &mut self.worker, message::ERROR, pickled)
    }

    fn is_starved(&self, py: Python<'_>, error: &PyErr) -> bool {
        self.worker.memory_limit().is_some() && error.is_instance_of::<PyMemoryError>(py)
    }

    /// Tells that the task was refused memory; what it has goes with the error.
    fn starved(&mut self, py: Python<'_>, error: PyErr) -> PyResult<()> {
        let pack = self.pack.bind(py);
        let report = |worker: &mut Worker| {
            let packed = pack.call1((error.into_value(py), py.None()))?;
            let pickled = Pickled::lending(&packed)?;
            send(py, worker, message::STARVED, pickled)
        };
        self.worker.with_memory(report).or_raise()?
    }
}

fn send(
    py: Python<'_>,
    worker: &mut Worker,
    code: u8,
    (pickled, loans): (Pickled, Loans),
) -> PyResult<()> {
    if !loans.is_empty() {
        let (block, len) = pickled.ride(py, loans)?;
        return py
            .detach(|| worker.reply_block(code, block, len as u64))
            .or_raise();
    }
    let reply = |parts: &[&[u8]]| py.detach(|| worker.reply(code, parts));
    pickled.with_parts(py, reply).or_raise()
}

fn apply_one<'py>(
    function: &Bound<'py, PyAny>,
    input: Bound<'py, PyAny>,
    shape: Shape,
) -> PyResult<Bound<'py, PyAny>> {
    if shape.star {
        apply(function, input, None)
    } else {
        function.call1((input,))
    }
}

/// Calls a function with any iterable as its arguments and any mapping as its keywords.
fn apply<'py>(
    function: &Bound<'py, PyAny>,
    arguments: Bound<'py, PyAny>,
    keywords: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let arguments = match arguments.cast_into::<PyTuple>() {
        Ok(tuple) => tuple,
        Err(error) => error
            .into_inner()
            .try_iter()?
            .collect::<PyResult<Vec<_>>>()
            .and_then(|arguments| PyTuple::new(function.py(), arguments))?,
    };
    let keywords = match keywords {
        None => None,
        Some(keywords) => match keywords.cast_into::<PyDict>() {
            Ok(dict) => Some(dict),
            Err(error) => {
                let dict = PyDict::new(function.py());
                dict.update(error.into_inner().cast::<pyo3::types::PyMapping>()?)?;
                Some(dict)
            }
        },
    };
    let keywords = keywords.filter(|keywords| !keywords.is_empty());
    function.call(arguments, keywords.as_ref())
}

/// Tells whether a function is all in its name, so that unpickling it again would
/// give the very same object.
fn is_plain(function: &Bound<'_, PyAny>) -> PyResult<bool> {
    if function.is_exact_instance_of::<PyFunction>() || function.is_instance_of::<PyType>() {
        return Ok(true);
    }
    if !function.is_exact_instance_of::<PyCFunction>() {
        return Ok(false);
    }
    let owner = function.getattr("__self__")?;
    Ok(owner.is_none() || owner.is_instance_of::<PyModule>())
}
