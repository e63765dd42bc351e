//! The pool, in the process that made it.
//!
//! Size: its methods are those that Python calls, and each takes what it is given there.

use std::sync::Arc;

use procession_engine::pool::{self as engine, ResultOrder};
use procession_engine::{Error, ErrorKind};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::PyDict;

use crate::by_value::Reader;
use crate::error::{IntoPython, to_python};
use crate::interrupt::raise_interrupt;
use crate::pool::arrival::Arrival;
use crate::pool::core::Core;
use crate::pool::driver::Driver;
use crate::pool::feeder::Feeder;
use crate::pool::imap::IMapIterator;
use crate::pool::label::Labels;
use crate::pool::message::{self, Shape};
use crate::pool::result::{ApplyResult, Callbacks};
use crate::pool::sink::{Call, Deliver, Token};
use crate::pool::size::Size;
use crate::pool::source::{FailedCall, Inputs, Items, is_at_hand};
use crate::pool::starter::{Failure, Starter};
use crate::pool::stats::Stats;
use crate::pool::terms::{OnError, Terms, TermsParts, duration};

/// The workers of a `Pool` and what they have to do.
///
/// Calls take the pool of Python that they are for: results keep it alive.
#[pyclass(frozen, weakref, module = "procession._procession")]
pub struct Pool {
    core: Arc<Core>,
    failure: Failure,
    size: Size,
    labels: Labels,
    /// How pickles for the workers may be written.
    reader: Reader,
    #[pyo3(get)]
    cache: Py<PyDict>,
}

#[pymethods]
impl Pool {
    /// Makes a pool that has no workers yet; `start` makes their processes.
    #[new]
    #[pyo3(signature = (
        start, size, tasks_per_worker=None, errors=None, most=None, by_name_only=false,
        idle_timeout=None, setup_limit=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are those of a pool")]
    fn new(
        py: Python<'_>,
        start: Py<PyAny>,
        size: usize,
        tasks_per_worker: Option<u64>,
        errors: Option<Py<PyAny>>,
        most: Option<usize>,
        by_name_only: bool,
        idle_timeout: Option<f64>,
        setup_limit: Option<(f64, String)>,
    ) -> PyResult<Self> {
        let setup_limit = setup_limit.map(|(time, name)| {
            Ok::<_, PyErr>(engine::SetupLimit {
                time: duration(time)?,
                name: name.into(),
            })
        });
        let config = engine::Config {
            tasks_per_worker: tasks_per_worker.map(|tasks| tasks.try_into().unwrap_or(u32::MAX)),
            idle_timeout: idle_timeout.map(duration).transpose()?,
            setup_limit: setup_limit.transpose()?,
            ..engine::Config::new(size)
        };
        let failure = Failure::default();
        let starter = Box::new(Starter::new(start, failure.clone()));
        let sink = Deliver { errors };
        let engine = engine::Pool::without_workers(config, sink, starter).or_raise()?;
        Ok(Self {
            core: Arc::new(Core { engine }),
            failure,
            size: Size::new(size, most.unwrap_or(size)),
            labels: Labels::default(),
            reader: Reader::of_pool(by_name_only),
            cache: PyDict::new(py).unbind(),
        })
    }

    /// Starts the workers. If one cannot be started, or a signal's handler raises, the
    /// pool ends.
    fn start(&self, py: Python<'_>) -> PyResult<()> {
        let started = match self.failure.of(|| self.core.start(py)) {
            (Ok(Ok(())), None) => return Ok(()),
            (Err(put_off), _) => put_off,
            (_, Some(failure)) => failure,
            (Ok(Err(error)), None) => to_python(error),
        };
        // The first error is raised; one that is put off meanwhile is of the same kind.
        let _ = self.core.terminate(py);
        Err(started)
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
        terms: TermsParts,
    ) -> PyResult<Py<PyAny>> {
        let py = pool.py();
        let terms = self.terms(terms, func)?;
        let callbacks = Callbacks {
            function: Some(func.clone().unbind()),
            ..Callbacks::default()
        };
        let task = message::call((func, args, kwds), self.reader, terms);
        raise_interrupt(py, &task)?;
        let result = self.result(pool, callbacks)?;
        self.submit_or_tell(&result, task, terms.policy)?;
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
        terms: TermsParts,
    ) -> PyResult<Bound<'py, ApplyResult>> {
        let terms = self.terms(terms, func)?;
        let callbacks = Callbacks {
            function: Some(func.clone().unbind()),
            success: callback,
            error: error_callback,
            listener: None,
            progress: None,
        };
        let task = message::call((func, args, kwds), self.reader, terms);
        raise_interrupt(pool.py(), &task)?;
        let result = self.result(pool, callbacks)?;
        self.submit_or_tell(&result, task, terms.policy)?;
        self.core.engine.deliver_in_background().or_raise()?;
        Ok(result)
    }

    /// Has a function called in a worker, and its outcome passed to `_settle` of the future. Raises
    /// if the pool takes no more tasks.
    #[pyo3(signature = (pool, future, func, args, kwds, terms=None))]
    fn submit<'py>(
        &self,
        pool: &Bound<'py, PyAny>,
        future: Py<PyAny>,
        func: &Bound<'py, PyAny>,
        args: &Bound<'py, PyAny>,
        kwds: &Bound<'py, PyAny>,
        terms: TermsParts,
    ) -> PyResult<Bound<'py, ApplyResult>> {
        let py = pool.py();
        let terms = self.terms(terms, func)?;
        let callbacks = Callbacks {
            function: Some(func.clone().unbind()),
            listener: Some(future),
            ..Callbacks::default()
        };
        let task = message::call((func, args, kwds), self.reader, terms);
        raise_interrupt(py, &task)?;
        let result = self.result(pool, callbacks)?;
        if let Err(error) = self.hand_in(&result, task, terms.policy) {
            result.get().withdraw(py);
            return Err(to_python(error));
        }
        self.core.engine.deliver_in_background().or_raise()?;
        self.grow(py, self.core.engine.outstanding())?;
        Ok(result)
    }

    /// Calls a function with each of the items, which have a length, and waits for
    /// the list of results.
    #[pyo3(signature = (pool, func, items, chunksize, star, terms=None, progress=None))]
    #[expect(clippy::too_many_arguments, reason = "they are those of `map`")]
    fn map(
        &self,
        pool: &Bound<'_, PyAny>,
        func: &Bound<'_, PyAny>,
        items: &Bound<'_, PyAny>,
        chunksize: usize,
        star: bool,
        terms: TermsParts,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let callbacks = Callbacks {
            progress,
            ..Callbacks::default()
        };
        let way = Way {
            chunk: chunksize,
            star,
            terms: self.terms(terms, func)?,
        };
        let result = self.begin_map(pool, func, items, way, callbacks)?;
        self.wait_for(pool.py(), &result)
    }

    /// Has a function called with each of the items; returns the result to come.
    #[pyo3(signature = (
        pool, func, items, chunksize, star, callback=None, error_callback=None, terms=None,
        progress=None
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
        terms: TermsParts,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, ApplyResult>> {
        let callbacks = Callbacks {
            function: None,
            success: callback,
            error: error_callback,
            listener: None,
            progress,
        };
        let way = Way {
            chunk: chunksize,
            star,
            terms: self.terms(terms, func)?,
        };
        let result = self.begin_map(pool, func, items, way, callbacks)?;
        self.core.engine.deliver_in_background().or_raise()?;
        Ok(result)
    }

    /// Has a function called with what an iterable yields; returns the results one by one, and what
    /// is to be run in a thread if the iterable may block. With `star`, each item is a tuple of
    /// arguments.
    #[pyo3(signature = (
        pool, func, iterable, chunksize, ordered, terms=None, star=false, unbounded=false,
        progress=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are those of `imap`")]
    fn imap<'py>(
        &self,
        pool: &Bound<'py, PyAny>,
        func: &Bound<'py, PyAny>,
        iterable: &Bound<'py, PyAny>,
        chunksize: usize,
        ordered: bool,
        terms: TermsParts,
        star: bool,
        unbounded: bool,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<(Bound<'py, IMapIterator>, Option<Feeder>)> {
        let py = pool.py();
        let cache = self.cache.bind(py);
        let iterator = iterable.try_iter()?;
        let terms = self.terms(terms, func)?;
        let policy = terms.policy;
        let shape = Shape {
            chunked: chunksize > 1,
            star,
            collects: terms.on_error == OnError::Collect,
            soft_timeout: terms.soft_timeout,
        };
        let job = message::job(func, shape, self.reader);
        raise_interrupt(py, &job)?;
        let at_hand = is_at_hand(&iterator)?;
        let inputs = Inputs::new(iterator, chunksize, self.reader)?;
        // From here on no code of Python runs in which a handler might raise: if the pool gets the
        // tasks, the caller must get the results.
        let about = (func, chunksize);
        let order = match ordered {
            true => ResultOrder::OfTasks,
            false => ResultOrder::OfArrivals,
        };
        let limits = (!unbounded).then(|| self.core.engine.stream_limits(chunksize));
        let core = self.core.driver();
        let stream = IMapIterator::create(core, pool, cache, about, progress, (order, limits))?;
        stream.get().set_on_error(terms.on_error);
        let call = Call::Stream(stream.clone().unbind());
        let job = match job {
            Ok(job) => job,
            Err(error) => {
                self.submit_failed(call, Arrival::error(py, error))?;
                self.core.engine.deliver_in_background().or_raise()?;
                return Ok((stream, None));
            }
        };
        let submitted = if at_hand {
            let items = Items {
                call,
                job,
                policy,
                inputs,
                total: None,
            };
            self.core
                .engine
                .submit_source(Box::new(items))
                .map(|()| None)
        } else {
            let stream = stream.clone().unbind();
            Feeder::new(&self.core, stream, (job, policy), inputs).map(Some)
        };
        match submitted {
            Ok(feeder) => {
                self.core.engine.deliver_in_background().or_raise()?;
                Ok((stream, feeder))
            }
            Err(error) => {
                let call = Call::Stream(stream.clone().unbind());
                self.refused(py, call, error)?;
                Ok((stream, None))
            }
        }
    }

    /// Replaces workers that have ended, and has as many as the pool of Python says.
    fn populate(&self, pool: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = pool.py();
        let asked = std::sync::atomic::AtomicBool::new(false);
        let again = || asked.swap(true, std::sync::atomic::Ordering::Relaxed);
        self.core.drive(
            py,
            &again,
            procession_engine::sys::wait::time::Deadline::NEVER,
        )?;
        let size = pool
            .getattr(crate::once::intern!(py, "_processes"))?
            .extract()?;
        match self.size.change(py, &self.core, &self.failure, size)? {
            // A closed pool needs no more workers.
            Err(error) if error.kind() == ErrorKind::Closed => Ok(()),
            result => result.or_raise(),
        }
    }

    /// Changes the number of workers. Raises why one could not be started; it is tried again
    /// later.
    fn resize(&self, py: Python<'_>, size: usize) -> PyResult<()> {
        self.size
            .change(py, &self.core, &self.failure, size)?
            .or_raise()
    }

    /// Returns a tuple for each worker: its place, its process id, and how many tasks it has done.
    fn worker_views(&self) -> Vec<(u32, u32, u64)> {
        let view = |worker: engine::WorkerView| (worker.index, worker.pid, worker.done);
        let workers = self.core.engine.workers().into_iter();
        workers
            .filter(|worker| !worker.is_ending)
            .map(view)
            .collect()
    }

    /// Returns what the pool has done, and does.
    fn stats(&self) -> PyResult<Stats> {
        self.core.engine.stats().or_raise().map(Stats)
    }

    /// Starts more workers, as many as there are tasks, within the pool's bounds.
    fn grow(&self, py: Python<'_>, tasks: usize) -> PyResult<()> {
        self.size.grow(py, &self.core, tasks)
    }

    /// Cancels all that has not begun.
    fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        for call in self.cache.bind(py).values() {
            if let Ok(stream) = call.cast::<IMapIterator>() {
                stream.get().set_cancelled();
            }
        }
        self.core.cancel_all(py)
    }

    /// Returns why the pool has ended by itself; None if it has not.
    fn broken(&self) -> Option<String> {
        let end = self.core.engine.end()?;
        match *end {
            engine::PoolEnd::Closed | engine::PoolEnd::Terminated => None,
            engine::PoolEnd::Initializer(_)
            | engine::PoolEnd::SetupTimedOut(_)
            | engine::PoolEnd::Workers(_) => Some(end.to_string()),
        }
    }

    /// Takes no more tasks; the workers end when they have done what they have.
    fn close(&self) -> PyResult<()> {
        self.core.engine.close();
        match self.core.engine.deliver_in_background() {
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
                // The thread that joins may be the one that is to fetch results.
                stream.get().make_all()?;
            }
        }
        self.core.join(py)
    }
}

impl Pool {
    /// Reads the terms of a call of a function.
    fn terms(&self, parts: TermsParts, function: &Bound<'_, PyAny>) -> PyResult<Terms> {
        let mut terms = Terms::new(parts)?;
        terms.policy.label = self.labels.of(&self.core.engine, function);
        Ok(terms)
    }

    fn result<'py>(
        &self,
        pool: &Bound<'py, PyAny>,
        callbacks: Callbacks,
    ) -> PyResult<Bound<'py, ApplyResult>> {
        let core = Some(self.core.driver());
        ApplyResult::create(core, pool, self.cache.bind(pool.py()), callbacks)
    }

    fn submit_or_tell(
        &self,
        result: &Bound<'_, ApplyResult>,
        task: PyResult<message::CallParts>,
        policy: engine::TaskPolicy,
    ) -> PyResult<()> {
        match self.hand_in(result, task, policy) {
            Ok(()) => Ok(()),
            Err(error) => self.refused(result.py(), Call::Result(result.clone().unbind()), error),
        }
    }

    /// Submits the task of a result, or delivers the error if there is no task.
    fn hand_in(
        &self,
        result: &Bound<'_, ApplyResult>,
        task: PyResult<message::CallParts>,
        policy: engine::TaskPolicy,
    ) -> procession_engine::Result<()> {
        let call = Call::Result(result.clone().unbind());
        let ((payload, loans), input) = match task {
            Ok(made) => made,
            Err(error) => {
                let arrival = Arrival::error(result.py(), error);
                let failed = Box::new(FailedCall { call, arrival });
                return self.core.engine.submit_source(failed);
            }
        };
        self.core.engine.submit(engine::Task {
            token: Token {
                call,
                index: 0,
                input,
            },
            payload,
            job: None,
            policy,
            loans,
        })
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
        let shape = Shape {
            chunked: chunk > 1,
            star,
            collects: terms.on_error == OnError::Collect,
            soft_timeout: terms.soft_timeout,
        };
        let job = message::job(func, shape, self.reader);
        raise_interrupt(py, &job)?;
        let inputs = Inputs::of(items, chunk, self.reader)?;
        let core = Some(self.core.driver());
        let cache = self.cache.bind(py);
        let result = ApplyResult::create_map(core, pool, cache, callbacks, (chunk, length))?;
        result.get().set_on_error(terms.on_error);
        if length == 0 {
            return Ok(result);
        }
        let call = Call::Result(result.clone().unbind());
        let job = match job {
            Ok(job) => job,
            Err(error) => {
                self.submit_failed(call, Arrival::error(py, error))?;
                return Ok(result);
            }
        };
        let source = Items {
            call,
            job,
            policy: terms.policy,
            inputs,
            total: Some(length.div_ceil(chunk.max(1))),
        };
        result.get().set_fed(true);
        if let Err(error) = self.core.engine.submit_source(Box::new(source)) {
            self.refused(py, Call::Result(result.clone().unbind()), error)?;
        }
        Ok(result)
    }

    fn wait_for(&self, py: Python<'_>, result: &Bound<'_, ApplyResult>) -> PyResult<Py<PyAny>> {
        let end = procession_engine::sys::wait::time::Deadline::NEVER;
        if let Err(error) = result.get().wait_until(py, end) {
            // The task goes on, and its outcome still has to be delivered. If that fails, the next
            // call raises the error.
            let _ = self.core.engine.deliver_in_background();
            return Err(error);
        }
        result.get().open(py)
    }

    /// Has the pool deliver the error of a call that failed before it became a task.
    fn submit_failed(&self, call: Call, arrival: Arrival) -> PyResult<()> {
        let py_call = FailedCall { call, arrival };
        self.core.engine.submit_source(Box::new(py_call)).or_raise()
    }

    /// Delivers to a call why the pool takes no more tasks.
    fn refused(&self, py: Python<'_>, call: Call, error: Error) -> PyResult<()> {
        let Some(end) = self.core.engine.end() else {
            return Err(to_python(error));
        };
        let arrival = Arrival::ended(py, &end);
        FailedCall { call, arrival }.tell(py);
        Ok(())
    }
}

/// How the items of a map become tasks.
#[derive(Clone, Copy)]
struct Way {
    /// How many items make a task.
    chunk: usize,
    /// Whether each item is a tuple of arguments.
    star: bool,
    terms: Terms,
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Detached, as the pool's collector may be waiting for the GIL.
        Python::try_attach(|py| py.detach(|| self.core.engine.terminate()));
    }
}
