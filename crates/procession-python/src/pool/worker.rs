//! A worker of a pool: calls functions, one task after another.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use procession_engine::ErrorKind;
use procession_engine::pool::{TakenTask, Worker, WorkerLimits};
use procession_engine::shm::{HandleSource, Loans};
use procession_engine::sys::process::crash_stack;
use procession_engine::sys::wait::time::Deadline;
use pyo3::exceptions::{PyKeyboardInterrupt, PyMemoryError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use crate::by_value::Reader;
use crate::error::{IntoPython, to_python, type_error, value_error};
use crate::once::PyOnce;
use crate::pickle::{self, Pickled};
use crate::pool::kept_function::KeptFunction;
use crate::pool::message::{self, Shape};
use crate::pool::soft_timeout::SoftTimeout;
use crate::shared::HandleParts;
use crate::transfer;

/// For how long a worker without a task keeps the data of its last job.
const IDLE: Duration = Duration::from_millis(100);

/// A worker, in its own process.
#[pyclass(frozen, module = "procession._procession")]
pub struct PoolWorker(Mutex<Option<Worker>>);

#[pymethods]
impl PoolWorker {
    /// Joins the pool of the worker channel that a handle names.
    #[new]
    fn new(channel: HandleParts) -> PyResult<Self> {
        let worker = Worker::attach(channel.into()).or_raise()?;
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
        let bounds = WorkerLimits {
            memory,
            resident,
            cpus,
        };
        let mut worker = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match worker.as_mut() {
            Some(worker) => worker.confine(bounds).or_raise(),
            None => Err(works_once()),
        }
    }

    /// Notes that this worker begins to set itself up, for which the pool has a time limit.
    fn begin_setup(&self) -> PyResult<()> {
        let worker = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match worker.as_ref() {
            Some(worker) => {
                worker.begin_setup();
                Ok(())
            }
            None => Err(works_once()),
        }
    }

    /// Returns the descriptor that `faulthandler` is to write to, where nothing need be open;
    /// `None` if it knows that.
    fn crash_fd(&self) -> Option<i32> {
        (!crash_stack::is_installed()).then(crash_stack::number)
    }

    /// Has the pool told what `faulthandler`, which is enabled, writes there when this process
    /// crashes.
    fn report_crash(&self, fd: Option<i32>) -> PyResult<()> {
        let worker = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = fd.unwrap_or_else(crash_stack::number);
        match worker.as_ref() {
            Some(worker) => worker.report_crash(number).or_raise(),
            None => Err(works_once()),
        }
    }

    /// Tells the pool, by a packed error, that this worker cannot be set up.
    fn fail(&self, packed: &Bound<'_, PyAny>) -> PyResult<()> {
        let pickled = Pickled::new(packed)?;
        let mut bytes = vec![0; pickled.len(packed.py())];
        pickled.copy_to(packed.py(), &mut bytes);
        self.take()?.failed(&bytes).or_raise()
    }

    /// Tells the pool the same if not even the error can be packed.
    fn fail_briefly(&self) -> PyResult<()> {
        let brief = brief("the initializer of a worker, nor for the text of its error");
        self.take()?.failed(&brief).or_raise()
    }

    /// Works until there are no more tasks. `pack` turns an error into an object that can be sent;
    /// it is also given the value, if that could not be sent.
    #[pyo3(signature = (pack, by_name_only=false))]
    fn run(&self, py: Python<'_>, pack: Py<PyAny>, by_name_only: bool) -> PyResult<()> {
        let mut worker_loop = WorkerLoop {
            worker: self.take()?,
            pack,
            kept: None,
            soft_timeout: SoftTimeout::default(),
            collects: false,
            reader: if by_name_only {
                Reader::ByNameOnly
            } else {
                Reader::Anybody
            },
        };
        match worker_loop.work(py) {
            // Not in a task: it is the end of a worker that was idle, in silence.
            Err(error) if error.is_instance_of::<PyKeyboardInterrupt>(py) => Ok(()),
            result => result,
        }
    }
}

impl PoolWorker {
    fn take(&self) -> PyResult<Worker> {
        let worker = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        worker.ok_or_else(works_once)
    }
}

fn works_once() -> PyErr {
    value_error(format!(
        "process {} has worked for its pool already: a worker works once, start another process",
        std::process::id()
    ))
}

/// What a worker works with.
struct WorkerLoop {
    worker: Worker,
    pack: Py<PyAny>,
    /// The reader of the values.
    reader: Reader,
    /// The function of the last job, if it may be kept between tasks.
    kept: Option<KeptFunction>,
    soft_timeout: SoftTimeout,
    /// Whether the value of the task is a list in which errors may stand.
    collects: bool,
}

impl WorkerLoop {
    fn work(&mut self, py: Python<'_>) -> PyResult<()> {
        self.worker.ready().or_raise()?;
        while let Some(task) = self.next(py)? {
            let outcome = self.call(py, &task);
            self.reply(py, outcome)?;
        }
        Ok(())
    }

    fn next(&mut self, py: Python<'_>) -> PyResult<Option<TakenTask>> {
        loop {
            let worker = &mut self.worker;
            let has_data = self.kept.as_ref().is_some_and(|kept| kept.has_data);
            let until = match has_data {
                true => Deadline::after(IDLE),
                false => Deadline::NEVER,
            };
            match py.detach(|| worker.next(until)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => py.check_signals()?,
                Err(error) if error.kind() == ErrorKind::TimedOut && has_data => self.kept = None,
                result => return result.map_err(to_python),
            }
        }
    }

    fn call<'py>(&mut self, py: Python<'py>, task: &TakenTask) -> PyResult<Bound<'py, PyAny>> {
        self.collects = false;
        let Some(job) = task.job() else {
            let (function, (arguments, keywords), limit) =
                message::open_call(self.load(py, task)?)?;
            let call = || apply(&function, arguments, Some(keywords));
            return match limit {
                None => call(),
                Some(limit) => self.soft_timeout.limiting(&function, limit, call),
            };
        };
        let (shape, function) = self.function(py, task, job)?;
        let input = self.load(py, task)?;
        self.collects = shape.collects && shape.chunked;
        let pack = self.pack.bind(py);
        let call = || match shape.chunked {
            false => apply_one(&function, input, shape),
            true => apply_all(&function, input, shape, pack),
        };
        match shape.soft_timeout {
            None => call(),
            Some(limit) => self.soft_timeout.limiting(&function, limit, call),
        }
    }

    /// Replaces results that do not cross by errors.
    fn without_what_cannot_cross<'py>(
        &self,
        results: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = results.py();
        static FAILURE: PyOnce<PyAny> = PyOnce::new();
        let failure = FAILURE.import(py, "procession._chunks", "Failure")?;
        let crossing = PyList::empty(py);
        for result in results.try_iter()? {
            let result = result?;
            match Pickled::lending_to(self.reader, &result) {
                Ok(_) => crossing.append(result)?,
                Err(error) => {
                    let packed = self.pack.bind(py).call1((error.into_value(py), result))?;
                    crossing.append(failure.call1((packed,))?)?;
                }
            }
        }
        Ok(crossing.into_any())
    }
}

/// Calls a function with each of the inputs; returns the list of the results.
fn apply_all<'py>(
    function: &Bound<'py, PyAny>,
    inputs: Bound<'py, PyAny>,
    shape: Shape,
    pack: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = function.py();
    if shape.collects {
        static COLLECT: PyOnce<PyAny> = PyOnce::new();
        let collect = COLLECT.import(py, "procession._chunks", "collect")?;
        return collect.call1((function, inputs, shape.star, pack));
    }
    // The interpreter's own loop is the fastest there is.
    static MAP: PyOnce<PyAny> = PyOnce::new();
    static STARMAP: PyOnce<PyAny> = PyOnce::new();
    let map = match shape.star {
        false => MAP.import(py, "builtins", "map")?,
        true => STARMAP.import(py, "itertools", "starmap")?,
    };
    let results = py
        .get_type::<PyList>()
        .call1((map.call1((function, &inputs))?,))?;
    if results.len()? < inputs.len()? {
        static ENDED: PyOnce<PyAny> = PyOnce::new();
        let ended = ENDED.import(py, "procession._chunks", "ended_by")?;
        return Err(PyErr::from_value(ended.call1((function, results.len()?))?));
    }
    Ok(results)
}

impl WorkerLoop {
    /// Unpickles the task's bytes; what lies in a block of its own stays there.
    fn load<'py>(&mut self, py: Python<'py>, task: &TakenTask) -> PyResult<Bound<'py, PyAny>> {
        transfer::reading(&HandleSource::KEPT, || self.unpickle(py, task))
    }

    fn unpickle<'py>(&mut self, py: Python<'py>, task: &TakenTask) -> PyResult<Bound<'py, PyAny>> {
        if task.is_block() {
            let len = task.len() as usize;
            let block = if task.is_claimable() {
                self.worker.claim(task).or_raise()?
            } else {
                // Copied, as another worker may need the block for another try.
                let mut copy = procession_engine::family()
                    .or_raise()?
                    .alloc(task.len())
                    .or_raise()?;
                copy[..len].copy_from_slice(self.worker.bytes(task));
                copy
            };
            return pickle::load_block(py, block, 0, len);
        }
        pickle::load(py, self.worker.bytes(task))
    }

    /// Returns the function of the task's job. A function with a state is unpickled anew for each
    /// task, as if it had come with the task.
    fn function<'py>(
        &mut self,
        py: Python<'py>,
        task: &TakenTask,
        job: u64,
    ) -> PyResult<(Shape, Bound<'py, PyAny>)> {
        if let Some(kept) = &self.kept
            && kept.job == job
        {
            return Ok((kept.shape, kept.function.bind(py).clone()));
        }
        // First, so that the data of two jobs are not here at once.
        self.kept = None;
        let (shape, function) = message::load_job(py, self.worker.prologue(task))?;
        self.kept = KeptFunction::of(job, shape, &function)?;
        Ok((shape, function))
    }

    fn reply(&mut self, py: Python<'_>, outcome: PyResult<Bound<'_, PyAny>>) -> PyResult<()> {
        let (reader, collects) = (self.reader, self.collects);
        let pickled = |value| match Pickled::lending_to(reader, &value) {
            Err(error) if collects => match self.without_what_cannot_cross(&value) {
                Ok(crossing) => (Pickled::lending_to(reader, &crossing), crossing),
                Err(_) => (Err(error), value),
            },
            made => (made, value),
        };
        let (error, value) = match outcome.map(pickled) {
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
        match self.tell(py, error, value) {
            Err(error) if !error.is_instance_of::<PyKeyboardInterrupt>(py) => {
                // There is no room for the error either; a text that needs no memory is left.
                let brief = brief("the result of a task, nor for the text of its error");
                let told = py.detach(|| self.worker.reply(message::ERROR, &[&brief]));
                told.map_err(|_| error)
            }
            told => told,
        }
    }

    /// Tells why a task has no value.
    fn tell(
        &mut self,
        py: Python<'_>,
        error: PyErr,
        value: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let packed = self.pack.bind(py).call1((error.into_value(py), value))?;
        let pickled = Pickled::lending(&packed)?;
        send(py, &mut self.worker, message::ERROR, pickled)
    }

    fn is_starved(&self, py: Python<'_>, error: &PyErr) -> bool {
        self.worker.memory_limit().is_some() && error.is_instance_of::<PyMemoryError>(py)
    }

    /// Tells that the task was refused memory; the text of the error's traceback goes with it.
    fn starved(&mut self, py: Python<'_>, error: PyErr) -> PyResult<()> {
        let pack = self.pack.bind(py);
        let report = |worker: &mut Worker| {
            let packed = pack.call1((error.into_value(py), py.None()))?;
            let told = (packed.get_item(3)?, worker.memory_limit()).into_pyobject(py)?;
            let pickled = Pickled::lending(&told)?;
            send(py, worker, message::STARVED, pickled)
        };
        self.worker.with_memory(report).or_raise()?
    }
}

/// Returns a MemoryError as `_outcome` packs and pickles one, made without Python.
fn brief(of_what: &str) -> Vec<u8> {
    let message = format!("there is no memory for {of_what}");
    let text = format!("MemoryError: {message}\n");
    let error = format!("cbuiltins\nMemoryError\n(V{message}\ntR.");
    let mut pickle = b"\x80\x04(".to_vec();
    let parts = [
        (b'B', error.as_str()),
        (b'X', "MemoryError"),
        (b'X', &message),
        (b'X', &text),
    ];
    for (kind, part) in parts {
        pickle.push(kind);
        pickle.extend_from_slice(&(part.len() as u32).to_le_bytes());
        pickle.extend_from_slice(part.as_bytes());
    }
    pickle.extend_from_slice(b"t.");
    pickle
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
                let mapping = error.into_inner();
                // `isinstance` is not asked, as a class may have any code run for that.
                if !mapping.hasattr("keys")? {
                    let kind = mapping.get_type().fully_qualified_name()?;
                    let message = format!("keywords must be a mapping, not {kind}");
                    return Err(type_error(message));
                }
                dict.call_method1("update", (mapping,))?;
                Some(dict)
            }
        },
    };
    let keywords = keywords.filter(|keywords| !keywords.is_empty());
    function.call(arguments, keywords.as_ref())
}
