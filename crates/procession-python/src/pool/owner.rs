//! The pool, in the process that made it.

use std::sync::Arc;

use procession_engine::pool as engine;
use procession_engine::{Error, ErrorKind};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyIterator, PyTuple};

use crate::error::{IntoPython, to_python};
use crate::pool::core::Core;
use crate::pool::feeder::Feeder;
use crate::pool::imap::IMapIterator;
use crate::pool::message::{self, Shape};
use crate::pool::result::{ApplyResult, Callbacks};
use crate::pool::sink::{Arrival, Call, Deliver, Token};
use crate::pool::source::{Foregone, Inputs, Items};
use crate::pool::starter::{Failure, Starter};

/// The workers of a `Pool` and what they have to do.
///
/// Calls take the pool of Python that they are for: results keep it alive.
#[pyclass(frozen, weakref, module = "procession._procession")]
pub struct Pool {
    core: Arc<Core>,
    #[pyo3(get)]
    cache: Py<PyDict>,
}

#[pymethods]
impl Pool {
    /// Starts the workers by calling `start` for each, with its lane and its place in
    /// the pool.
    #[new]
    #[pyo3(signature = (start, size, tasks_per_worker=None, memory_limit=None))]
    fn new(
        py: Python<'_>,
        start: Py<PyAny>,
        size: usize,
        tasks_per_worker: Option<u64>,
        memory_limit: Option<u64>,
    ) -> PyResult<Self> {
        let config = engine::Config {
            tasks_per_worker: tasks_per_worker.map(|tasks| tasks.try_into().unwrap_or(u32::MAX)),
            ..engine::Config::new(size)
        };
        let failure = Failure::default();
        let starter = Box::new(Starter::new(start, failure.clone()));
        let sink = Deliver { memory_limit };
        let engine = py.detach(|| engine::Pool::new(config, sink, starter));
        let engine = engine.map_err(|error| failure.take().unwrap_or_else(|| to_python(error)))?;
        Ok(Self {
            core: Arc::new(Core { engine }),
            cache: PyDict::new(py).unbind(),
        })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.cache)
    }

    /// Calls a function in a worker and waits for what it returns.
    #[pyo3(signature = (pool, func, args, kwds, terms=None))]
    fn apply(
        &self,
        pool: &Bound<'_, PyAny>,
        func: &Bound<'_, PyAny>,
        args: &Bound<'_, PyAny>,
        kwds: &Bound<'_, PyAny>,
        terms: message::Numbers,
    ) -> PyResult<Py<PyAny>> {
        let py = pool.py();
        let terms = message::terms(terms)?;
        let callbacks = Callbacks {
            function: Some(func.clone().unbind()),
            ..Callbacks::default()
        };
        let result = self.result(pool, callbacks)?;
        self.submit(&result, call(func, args, kwds), terms)?;
        self.wait_for(py, &result)
    }

    /// Has a function called in a worker; returns its result to come.
    #[pyo3(signature = (pool, func, args, kwds, callback=None, error_callback=None, terms=None))]
    #[expect(clippy::too_many_arguments, reason = "they are those of `apply_async`")]
    fn apply_async<'py>(
        &self,
        pool: &Bound<'py, PyAny>,
        func: &Bound<'py, PyAny>,
        args: &Bound<'py, PyAny>,
        kwds: &Bound<'py, PyAny>,
        callback: Option<Py<PyAny>>,
        error_callback: Option<Py<PyAny>>,
        terms: message::Numbers,
    ) -> PyResult<Bound<'py, ApplyResult>> {
        let terms = message::terms(terms)?;
        let callbacks = Callbacks {
            function: Some(func.clone().unbind()),
            success: callback,
            error: error_callback,
        };
        let result = self.result(pool, callbacks)?;
        self.submit(&result, call(func, args, kwds), terms)?;
        self.core.engine.attend().or_raise()?;
        Ok(result)
    }

    /// Calls a function with each of the items, which have a length, and waits for
    /// the list of results.
    #[pyo3(signature = (pool, func, items, chunksize, star, terms=None))]
    fn map(
        &self,
        pool: &Bound<'_, PyAny>,
        func: &Bound<'_, PyAny>,
        items: &Bound<'_, PyAny>,
        chunksize: usize,
        star: bool,
        terms: message::Numbers,
    ) -> PyResult<Py<PyAny>> {
        let way = Way {
            chunk: chunksize,
            star,
            terms: message::terms(terms)?,
        };
        let result = self.begin_map(pool, func, items, way, Callbacks::default())?;
        self.wait_for(pool.py(), &result)
    }

    /// Has a function called with each of the items; returns the result to come.
    #[pyo3(signature = (
        pool, func, items, chunksize, star, callback=None, error_callback=None, terms=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are those of `map_async`")]
    fn map_async<'py>(
        &self,
        pool: &Bound<'py, PyAny>,
        func: &Bound<'py, PyAny>,
        items: &Bound<'py, PyAny>,
        chunksize: usize,
        star: bool,
        callback: Option<Py<PyAny>>,
        error_callback: Option<Py<PyAny>>,
        terms: message::Numbers,
    ) -> PyResult<Bound<'py, ApplyResult>> {
        let callbacks = Callbacks {
            function: None,
            success: callback,
            error: error_callback,
        };
        let way = Way {
            chunk: chunksize,
            star,
            terms: message::terms(terms)?,
        };
        let result = self.begin_map(pool, func, items, way, callbacks)?;
        self.core.engine.attend().or_raise()?;
        Ok(result)
    }

    /// Has a function called with what an iterable yields; returns the results one
    /// by one, and what is to be run in a thread if the iterable may block.
    #[pyo3(signature = (pool, func, iterable, chunksize, ordered, terms=None))]
    fn imap<'py>(
        &self,
        pool: &Bound<'py, PyAny>,
        func: &Bound<'py, PyAny>,
        iterable: &Bound<'py, PyAny>,
        chunksize: usize,
        ordered: bool,
        terms: message::Numbers,
    ) -> PyResult<(Bound<'py, IMapIterator>, Option<Feeder>)> {
        let py = pool.py();
        let cache = self.cache.bind(py);
        let iterator = iterable.try_iter()?;
        let core = Some(Arc::clone(&self.core));
        let terms = message::terms(terms)?;
        let stream = IMapIterator::create(core, pool, cache, (func, chunksize), ordered)?;
        let call = Call::Stream(stream.clone().unbind());
        let shape = Shape {
            chunked: chunksize > 1,
            star: false,
        };
        let job = match message::job(func, shape) {
            Ok(job) => job,
            Err(error) => {
                self.foregone(call, Arrival::error(py, error))?;
                self.core.engine.attend().or_raise()?;
                return Ok((stream, None));
            }
        };
        let at_hand = is_at_hand(&iterator)?;
        let inputs = Inputs::new(iterator, chunksize);
        let submitted = if at_hand {
            let items = Items {
                call,
                job,
                terms,
                inputs,
                total: None,
            };
            self.core
                .engine
                .submit_source(Box::new(items))
                .map(|()| None)
        } else {
            let stream = stream.clone().unbind();
            Feeder::new(Arc::clone(&self.core), stream, (job, terms), inputs).map(Some)
        };
        match submitted {
            Ok(feeder) => {
                self.core.engine.attend().or_raise()?;
                Ok((stream, feeder))
            }
            Err(error) => {
                let call = Call::Stream(stream.clone().unbind());
                self.refused(py, call, error)?;
                Ok((stream, None))
            }
        }
    }

    /// Replaces workers that have ended.
    fn replenish(&self, py: Python<'_>) -> PyResult<()> {
        let asked = std::sync::atomic::AtomicBool::new(false);
        let again = || asked.swap(true, std::sync::atomic::Ordering::Relaxed);
        self.core
            .drive(py, &again, procession_engine::os::time::Deadline::NEVER)?;
        Ok(())
    }

    /// Takes no more tasks; the workers end when they have done what they have.
    fn close(&self) -> PyResult<()> {
        self.core.engine.close();
        match self.core.engine.attend() {
            // A forked copy of the process has no pool to close.
            Err(error) if error.kind() == ErrorKind::NotOwner => Ok(()),
            result => result.or_raise(),
        }
    }

    /// Ends the workers, busy or not.
    fn terminate(&self, py: Python<'_>) -> PyResult<()> {
        self.core.terminate(py)
    }

    /// Waits until all workers have ended.
    fn join(&self, py: Python<'_>) -> PyResult<()> {
        for call in self.cache.bind(py).values() {
            if let Ok(stream) = call.cast::<IMapIterator>() {
                // Who is to fetch its results may be who joins.
                stream.get().make_all()?;
            }
        }
        self.core.join(py)
    }
}

impl Pool {
    fn result<'py>(
        &self,
        pool: &Bound<'py, PyAny>,
        callbacks: Callbacks,
    ) -> PyResult<Bound<'py, ApplyResult>> {
        let core = Some(Arc::clone(&self.core));
        ApplyResult::create(core, pool, self.cache.bind(pool.py()), callbacks)
    }

    fn submit(
        &self,
        result: &Bound<'_, ApplyResult>,
        task: PyResult<Bound<'_, PyAny>>,
        terms: engine::Terms,
    ) -> PyResult<()> {
        let py = result.py();
        let call = Call::Result(result.clone().unbind());
        let made = task.and_then(|task| {
            let made = message::task(&task)?;
            Ok((made, (terms.retries > 0).then(|| task.unbind())))
        });
        let ((payload, loans), input) = match made {
            Ok(made) => made,
            Err(error) => return self.foregone(call, Arrival::error(py, error)),
        };
        let submitted = self.core.engine.submit(engine::Task {
            token: Token {
                call,
                index: 0,
                input,
            },
            payload,
            job: None,
            terms,
            loans,
        });
        match submitted {
            Ok(()) => Ok(()),
            Err(error) => self.refused(py, Call::Result(result.clone().unbind()), error),
        }
    }

    fn begin_map<'py>(
        &self,
        pool: &Bound<'py, PyAny>,
        func: &Bound<'py, PyAny>,
        items: &Bound<'py, PyAny>,
        way: Way,
        mut callbacks: Callbacks,
    ) -> PyResult<Bound<'py, ApplyResult>> {
        let py = pool.py();
        let Way { chunk, star, terms } = way;
        let length = items.len()?;
        callbacks.function = Some(func.clone().unbind());
        let core = Some(Arc::clone(&self.core));
        let cache = self.cache.bind(py);
        let result = ApplyResult::create_map(core, pool, cache, callbacks, (chunk, length))?;
        if length == 0 {
            return Ok(result);
        }
        let call = Call::Result(result.clone().unbind());
        let shape = Shape {
            chunked: chunk > 1,
            star,
        };
        let job = match message::job(func, shape) {
            Ok(job) => job,
            Err(error) => {
                self.foregone(call, Arrival::error(py, error))?;
                return Ok(result);
            }
        };
        let source = Items {
            call,
            job,
            terms,
            inputs: Inputs::of(items, chunk)?,
            total: Some(length.div_ceil(chunk.max(1))),
        };
        result.get().set_fed(true);
        if let Err(error) = self.core.engine.submit_source(Box::new(source)) {
            self.refused(py, Call::Result(result.clone().unbind()), error)?;
        }
        Ok(result)
    }

    fn wait_for(&self, py: Python<'_>, result: &Bound<'_, ApplyResult>) -> PyResult<Py<PyAny>> {
        let end = procession_engine::os::time::Deadline::NEVER;
        if let Err(error) = result.get().wait_until(py, end) {
            // Nobody will ask for it any more.
            self.core.engine.attend().or_raise()?;
            return Err(error);
        }
        result.get().open(py)
    }

    /// Has it told that a call failed before it became a task.
    fn foregone(&self, call: Call, arrival: Arrival) -> PyResult<()> {
        let py_call = Foregone { call, arrival };
        self.core.engine.submit_source(Box::new(py_call)).or_raise()
    }

    /// Tells a call that the pool takes no more tasks, and why.
    fn refused(&self, py: Python<'_>, call: Call, error: Error) -> PyResult<()> {
        let Some(end) = self.core.engine.end() else {
            return Err(to_python(error));
        };
        let arrival = Arrival::ended(py, &end);
        Foregone { call, arrival }.tell(py);
        Ok(())
    }
}

/// How the items of a map become tasks.
#[derive(Clone, Copy)]
struct Way {
    /// How many make a task.
    chunk: usize,
    /// They are the arguments of a call each.
    star: bool,
    terms: engine::Terms,
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Its collector may be waiting for the GIL.
        Python::try_attach(|py| py.detach(|| self.core.engine.terminate()));
    }
}

/// Returns a single call as a worker reads it.
fn call<'py>(
    func: &Bound<'py, PyAny>,
    args: &Bound<'py, PyAny>,
    kwds: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    Ok(PyTuple::new(func.py(), [func, args, kwds])?.into_any())
}

/// Tells whether an iterator is one of those of the interpreter that yield what is
/// there already, so that asking it cannot block.
fn is_at_hand(iterator: &Bound<'_, PyIterator>) -> PyResult<bool> {
    const KNOWN: [&str; 8] = [
        "list_iterator",
        "tuple_iterator",
        "range_iterator",
        "longrange_iterator",
        "set_iterator",
        "dict_keyiterator",
        "str_ascii_iterator",
        "bytes_iterator",
    ];
    let class = iterator.get_type();
    if class.module()? != "builtins" {
        return Ok(false);
    }
    let name = class.name()?;
    let name = name.to_str()?;
    Ok(KNOWN.contains(&name))
}
