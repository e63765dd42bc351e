//! Results that are fetched one by one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use procession_engine::pool::{Fetched, ResultOrder, ResultStream, StreamLimits};
use pyo3::exceptions::{PyRuntimeError, PyStopAsyncIteration, PyStopIteration};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyType};

use crate::blocking::deadline;
use crate::error;
use crate::interrupt::let_interrupt_come;
use crate::once::PyOnce;
use crate::pool::arrival::Arrival;
use crate::pool::callback::wake_all;
use crate::pool::driver::Driver;
use crate::pool::gc_guard::GcGuard;
use crate::pool::place::Place;
use crate::pool::places::repeated;
use crate::pool::progress;
use crate::pool::result::{cache_of, foreign, generic_alias, next_job};
use crate::pool::signal::Signal;
use crate::pool::terms::OnError;

/// The results of `imap`, in the order of the inputs.
///
/// Example:
///
///     >>> import procession
///     >>> with procession.Pool(2) as pool:
///     ...     for square in pool.imap(lambda n: n * n, [3, 2, 1]):
///     ...         print(square)
///     9
///     4
///     1
#[pyclass(frozen, subclass, weakref, dict, module = "procession.pool")]
pub struct IMapIterator {
    /// Absent where threads bring the results, which cannot be cancelled.
    core: Option<Arc<dyn Driver>>,
    job: u64,
    made: GcGuard,
    /// Whether something shows its progress. Most results have nothing, and need not look.
    is_shown: bool,
    signal: Signal,
    state: Mutex<ImapState>,
}

/// The results of `imap_unordered`, as they come.
///
/// Example:
///
///     >>> import procession
///     >>> with procession.Pool(2) as pool:
///     ...     print(sorted(pool.imap_unordered(abs, [-3, 2, -1])))
///     [1, 2, 3]
#[pyclass(frozen, extends = IMapIterator, module = "procession.pool")]
pub struct IMapUnorderedIterator;

struct ImapState {
    /// The pool must live until all results are there, though the user drops it.
    pool: Option<Py<PyAny>>,
    cache: Py<PyDict>,
    /// The function that is called, for the text of errors.
    function: Option<Py<PyAny>>,
    /// The object that shows its progress.
    progress: Option<Py<PyAny>>,
    chunk: usize,
    on_error: OnError,
    /// The place of the last task and how many inputs it has, once that is known.
    last: Option<(usize, usize)>,
    results: ResultStream<Item>,
    /// Functions to be called when there is news, for tasks that await the next result.
    wakers: Vec<Py<PyAny>>,
    /// Whether it was cancelled: no more tasks are made, and tasks that have not begun never will.
    cancelled: bool,
}

/// A result that was not fetched yet.
struct Item {
    success: bool,
    object: Py<PyAny>,
}

impl IMapIterator {
    /// Makes an iterator and puts it into the pool's cache.
    pub fn create<'py>(
        core: Arc<dyn Driver>,
        pool: &Bound<'py, PyAny>,
        cache: &Bound<'py, PyDict>,
        (function, chunk): (&Bound<'py, PyAny>, usize),
        progress: Option<Py<PyAny>>,
        (order, limits): (ResultOrder, Option<StreamLimits>),
    ) -> PyResult<Bound<'py, Self>> {
        let py = pool.py();
        let results = ResultStream::new(order, limits);
        let this = Self::new(Some(core), pool, cache, progress, results);
        {
            let mut state = this.state();
            state.function = Some(function.clone().unbind());
            state.chunk = chunk;
        }
        let this = match order {
            ResultOrder::OfTasks => Bound::new(py, this)?,
            ResultOrder::OfArrivals => {
                let class = PyClassInitializer::from(this).add_subclass(IMapUnorderedIterator);
                Bound::new(py, class)?.into_super()
            }
        };
        cache.set_item(this.get().job, &this)?;
        Ok(this)
    }

    fn new(
        core: Option<Arc<dyn Driver>>,
        pool: &Bound<'_, PyAny>,
        cache: &Bound<'_, PyDict>,
        progress: Option<Py<PyAny>>,
        results: ResultStream<Item>,
    ) -> Self {
        Self {
            core,
            job: next_job(),
            made: GcGuard::default(),
            is_shown: progress.is_some(),
            signal: Signal::default(),
            state: Mutex::new(ImapState {
                pool: Some(pool.clone().unbind()),
                cache: cache.clone().unbind(),
                function: None,
                progress,
                chunk: 1,
                on_error: OnError::default(),
                last: None,
                results,
                wakers: Vec::new(),
                cancelled: false,
            }),
        }
    }

    /// No code of Python runs while it is locked.
    fn state(&self) -> MutexGuard<'_, ImapState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a description of the task at `index`, for messages.
    pub fn name(&self, py: Python<'_>, index: usize) -> String {
        let state = self.state();
        let function = state.function.as_ref().map(|f| f.clone_ref(py));
        let place = Place {
            index,
            chunk: state.chunk,
            length: None,
        };
        drop(state);
        place.name(py, function)
    }

    /// Says what the error of a task does to the others.
    pub fn set_on_error(&self, on_error: OnError) {
        self.state().on_error = on_error;
    }

    /// Notes that the task at `index` is the last, and has only `count` inputs.
    pub fn set_last(&self, index: usize, count: usize) {
        self.state().last = Some((index, count));
    }

    /// Returns the error of a task as a result, if errors stand among the results.
    fn collected(&self, py: Python<'_>, index: usize, arrival: Arrival) -> Arrival {
        let state = self.state();
        if arrival.success || !arrival.of_task || state.on_error != OnError::Collect {
            return arrival;
        }
        let count = match state.last {
            Some((last, count)) if last == index => count,
            _ => state.chunk,
        };
        let is_chunked = state.chunk > 1;
        drop(state);
        let object = match is_chunked {
            false => Ok(arrival.object.bind(py).clone()),
            true => repeated(arrival.object.bind(py), count),
        };
        object.map_or_else(|error| Arrival::error(py, error), Arrival::value)
    }

    /// Takes the outcome of the task at `index`.
    pub fn arrive(slf: &Bound<'_, Self>, index: usize, arrival: Arrival) {
        let arrival = arrival.translated(slf.py(), slf.get().core.as_ref());
        if slf.get().is_shown {
            Self::show(slf, index, &arrival);
        }
        let arrival = slf.get().collected(slf.py(), index, arrival);
        let item = Item {
            success: arrival.success,
            object: arrival.object,
        };
        let mut state = slf.get().state();
        // Nobody will fetch further results, so no more tasks are made.
        state.cancelled |= !item.success && state.on_error == OnError::Stop;
        let unwanted = state.results.arrive(index, arrival.size, item);
        Self::announce(slf, state);
        drop(unwanted);
    }

    fn show(slf: &Bound<'_, Self>, index: usize, arrival: &Arrival) {
        let py = slf.py();
        let state = slf.get().state();
        let progress = state.progress.as_ref();
        let progress = progress.map(|progress| progress.clone_ref(py));
        drop(state);
        if let Some(progress) = progress
            && !progress::arrived(py, &progress, index, arrival)
        {
            let _told_no_more = slf.get().state().progress.take();
        }
    }

    /// Notes how many results there will be.
    pub fn set_length(slf: &Bound<'_, Self>, length: usize) {
        let mut state = slf.get().state();
        state.results.set_length(length);
        Self::announce(slf, state);
    }

    /// Tells whether the tasks that were not made yet are not wanted.
    pub fn is_cancelled(&self) -> bool {
        self.state().cancelled
    }

    /// Notes that no more tasks are to be made.
    pub fn set_cancelled(&self) {
        self.state().cancelled = true;
    }

    /// Ends it with an error at `index`, unless its end is known: no more will come.
    pub fn cut_off(slf: &Bound<'_, Self>, index: usize, arrival: Arrival) {
        if slf.get().state().results.length().is_none() {
            Self::arrive(slf, index, arrival);
            Self::set_length(slf, index + 1);
        }
    }

    fn announce(slf: &Bound<'_, Self>, mut state: MutexGuard<'_, ImapState>) {
        let py = slf.py();
        let complete = state.results.is_complete();
        let (pool, function, progress) = match complete {
            true => (
                state.pool.take(),
                state.function.take(),
                state.progress.take(),
            ),
            false => (None, None, None),
        };
        let cache = complete.then(|| state.cache.clone_ref(py));
        let wakers = match state.results.has_news() {
            true => std::mem::take(&mut state.wakers),
            false => Vec::new(),
        };
        drop(state);
        if let Some(progress) = &progress {
            progress::ended(py, progress);
        }
        slf.get().signal.notify();
        wake_all(py, wakers);
        if let Some(cache) = cache {
            // Fails if the user has emptied the cache, which does no harm.
            let _ = cache.bind(py).del_item(slf.get().job);
        }
        drop((pool, function, progress));
    }

    /// Tells whether, after so many tasks, no more are to be made until results are fetched. The
    /// pool is told when they were.
    pub fn is_full(&self, tasks: usize) -> bool {
        self.state().results.is_full(tasks)
    }

    /// Lifts the limit on how many tasks are ahead.
    pub fn make_all(&self) -> PyResult<()> {
        let resume = self.state().results.make_all();
        self.resume(resume)
    }

    /// Has the pool make tasks again, if it has stopped because too many were ahead.
    fn resume(&self, resume: bool) -> PyResult<()> {
        match self.core.as_ref().filter(|_| resume) {
            Some(core) => core.resume(),
            None => Ok(()),
        }
    }

    fn has_news(&self) -> bool {
        self.state().results.has_news()
    }

    fn fetch(&self) -> PyResult<Option<Item>> {
        let fetched = self.state().results.fetch();
        match fetched {
            Fetched::Result { result, resume } => {
                self.resume(resume)?;
                Ok(Some(result))
            }
            Fetched::End => Err(PyStopIteration::new_err(())),
            Fetched::NothingYet => Ok(None),
        }
    }
}

#[pymethods]
impl IMapIterator {
    /// Makes an iterator over results that threads bring. With an owner it can be cancelled:
    /// that is asked to. `workers` bounds what is ahead of the results that were fetched.
    #[new]
    #[pyo3(signature = (
        pool, progress=None, *, owner=None, on_error="continue", chunksize=1, workers=None
    ))]
    fn py_new(
        pool: &Bound<'_, PyAny>,
        progress: Option<Py<PyAny>>,
        owner: Option<Py<PyAny>>,
        on_error: &str,
        chunksize: usize,
        workers: Option<usize>,
    ) -> PyResult<Self> {
        let cache = cache_of(pool, owner.as_ref())?;
        let limits = workers.map(|workers| StreamLimits::new(workers, chunksize));
        let results = ResultStream::new(ResultOrder::OfTasks, limits);
        let core = owner.map(foreign);
        let this = Self::new(core, pool, &cache, progress, results);
        {
            let mut state = this.state();
            state.chunk = chunksize;
            state.on_error = OnError::new(on_error);
        }
        Ok(this)
    }

    #[classmethod]
    fn __class_getitem__<'py>(
        cls: &Bound<'py, PyType>,
        item: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        generic_alias(cls, item)
    }

    /// Errors that were raised know the frame that holds the iterator.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.made.is_made() {
            return Ok(());
        }
        // The thread that has the lock keeps it alive.
        let Ok(state) = self.state.try_lock() else {
            return Ok(());
        };
        visit.call(&state.cache)?;
        visit.call(&state.pool)?;
        visit.call(&state.function)?;
        visit.call(&state.progress)?;
        for waker in &state.wakers {
            visit.call(waker)?;
        }
        for item in state.results.iter() {
            visit.call(&item.object)?;
        }
        Ok(())
    }

    /// Returns the names that users call.
    fn __dir__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        crate::public_names(slf)
    }

    fn __clear__(&self) {
        let mut state = self.state();
        let dropped = (
            state.pool.take(),
            state.function.take(),
            state.progress.take(),
            state.results.take_all(),
            std::mem::take(&mut state.wakers),
        );
        drop(state);
        drop(dropped);
    }

    fn __aiter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// Waits for the next result in asyncio, uvloop or trio.
    fn __anext__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        static NEXT: PyOnce<PyAny> = PyOnce::new();
        let next = NEXT.import(slf.py(), "procession._awaiting", "next_of")?;
        next.call1((slf, slf))
    }

    /// Has a function, if one is given, called when `next` need not wait; returns false if `next`
    /// need not wait now.
    #[pyo3(signature = (waker=None))]
    fn _notify(&self, waker: Option<Py<PyAny>>) -> bool {
        let mut state = self.state();
        let waits = !state.results.has_news();
        if waits {
            state.wakers.extend(waker);
        }
        waits
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Self::next(slf, None)
    }

    /// Waits for the next result, and returns the value or raises the error.
    ///
    /// Args:
    ///     timeout: The seconds to wait at most; None for as long as it takes.
    ///
    /// Raises:
    ///     TimeoutError: The time is over.
    ///     StopIteration: There are no more results.
    ///
    /// Example:
    ///
    ///     >>> import procession
    ///     >>> import time
    ///     >>> with procession.Pool(1) as pool:
    ///     ...     results = pool.imap(time.sleep, [0, 60])
    ///     ...     print(results.next(timeout=30))
    ///     ...     try:
    ///     ...         results.next(timeout=0.01)
    ///     ...     except procession.TimeoutError:
    ///     ...         print("not yet")
    ///     None
    ///     not yet
    #[pyo3(signature = (timeout=None))]
    fn next(slf: &Bound<'_, Self>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let (this, py) = (slf.get(), slf.py());
        let end = deadline(timeout)?;
        loop {
            match this.fetch()? {
                Some(item) if item.success => return Ok(item.object),
                Some(item) => {
                    if this.state().on_error == OnError::Stop {
                        Self::close(slf)?;
                    }
                    // As in `ApplyResult::open`.
                    let error = item.object.into_bound(py);
                    let_interrupt_come(py, &error)?;
                    return Err(not_an_end(py, PyErr::from_value(error)));
                }
                None => {}
            }
            let driven = match &this.core {
                Some(core) => core.drive(py, &|| this.has_news(), end)?,
                None => false,
            };
            // Another thread may fetch the result that has come, so this looks again.
            if !driven && !this.signal.wait(py, &|| this.has_news(), end)? {
                return Err(error::timed_out("the next result", timeout));
            }
        }
    }

    /// Cancels what is left; `multiprocessing` has no such method.
    ///
    /// No more inputs are asked for: if any are left, the last result is a `CancelledError`. A
    /// task that has not begun never will, and its result is a `CancelledError`, too. Tasks that
    /// run go on, unless `kill` has them killed with their workers. All results can still be
    /// fetched.
    ///
    /// Args:
    ///     kill: Whether tasks that run are killed.
    ///
    /// Returns:
    ///     Whether there was something to cancel.
    ///
    /// Raises:
    ///     ValueError: The pool is one of threads, or has queues of its own.
    ///
    /// Example:
    ///
    ///     >>> import procession
    ///     >>> import time
    ///     >>> with procession.Pool(1) as pool:
    ///     ...     results = pool.imap(time.sleep, [0, 60, 60])
    ///     ...     print(results.next(), results.cancel(kill=True))
    ///     ...     try:
    ///     ...         results.next()
    ///     ...     except procession.CancelledError:
    ///     ...         print("killed")
    ///     None True
    ///     killed
    #[pyo3(signature = (kill=false))]
    fn cancel(slf: &Bound<'_, Self>, kill: bool) -> PyResult<bool> {
        let this = slf.get();
        let core = this.core.as_ref().ok_or_else(error::not_cancellable)?;
        let was_fed = {
            let mut state = this.state();
            if state.results.is_complete() {
                return Ok(false);
            }
            !std::mem::replace(&mut state.cancelled, true) && state.results.length().is_none()
        };
        let count = core.cancel(slf.py(), slf.as_ptr() as usize, kill)?;
        Ok(was_fed || count > 0)
    }

    /// Cancels what is left, and gives up all results: there are no more to fetch.
    ///
    /// Call it, or use `contextlib.closing`, where a loop may break off in the middle; else the
    /// pool goes on until it has a bounded number of results that nobody fetches.
    /// `multiprocessing` has no such method.
    ///
    /// Example:
    ///
    ///     >>> import itertools
    ///     >>> import procession
    ///     >>> with procession.Pool(2) as pool:
    ///     ...     numbers = pool.imap(hex, itertools.count())
    ///     ...     print(next(n for n in numbers if len(n) > 3))
    ///     ...     numbers.close()
    ///     0x10
    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        let mut state = this.state();
        let unwanted = state.results.close();
        let wakers = std::mem::take(&mut state.wakers);
        let progress = state.progress.take();
        drop(state);
        drop(unwanted);
        if let Some(progress) = progress {
            progress::ended(slf.py(), &progress);
        }
        wake_all(slf.py(), wakers);
        match this.core {
            Some(_) => Self::cancel(slf, false).map(drop),
            None => Ok(()),
        }
    }

    #[pyo3(signature = (i, obj, *, of_task=true, size=0))]
    fn _set(slf: &Bound<'_, Self>, i: usize, obj: (bool, Py<PyAny>), of_task: bool, size: usize) {
        let (success, object) = obj;
        let arrival = Arrival {
            success,
            object,
            told: true,
            size,
            loss: None,
            of_task,
        };
        Self::arrive(slf, i, arrival);
    }

    /// Notes that the task at a place is the last, and has fewer inputs than others.
    fn _set_last(&self, index: usize, count: usize) {
        self.set_last(index, count);
    }

    /// Returns whether no more tasks are to be made for now, after so many; the owner is
    /// told by `resume` when that changes.
    fn _is_full(&self, tasks: usize) -> bool {
        self.is_full(tasks)
    }

    /// Returns whether tasks that were not made yet are not wanted.
    fn _is_cancelled(&self) -> bool {
        self.is_cancelled()
    }

    /// Notes that no more tasks are to be made.
    fn _set_cancelled(&self) {
        self.set_cancelled();
    }

    /// Lifts the limit on how many tasks are ahead.
    fn _make_all(&self) -> PyResult<()> {
        self.make_all()
    }

    fn _set_length(slf: &Bound<'_, Self>, length: usize) {
        Self::set_length(slf, length);
    }

    #[getter]
    fn _job(&self) -> u64 {
        self.job
    }

    #[getter]
    fn _index(&self) -> usize {
        self.state().results.arrived()
    }

    #[getter]
    fn _length(&self) -> Option<usize> {
        self.state().results.length()
    }
}

#[pymethods]
impl IMapUnorderedIterator {
    /// Makes an iterator over results that threads bring.
    #[new]
    #[pyo3(signature = (
        pool, progress=None, *, owner=None, on_error="continue", chunksize=1, workers=None
    ))]
    fn py_new(
        pool: &Bound<'_, PyAny>,
        progress: Option<Py<PyAny>>,
        owner: Option<Py<PyAny>>,
        on_error: &str,
        chunksize: usize,
        workers: Option<usize>,
    ) -> PyResult<PyClassInitializer<Self>> {
        let base = IMapIterator::py_new(pool, progress, owner, on_error, chunksize, workers)?;
        let limits = workers.map(|workers| StreamLimits::new(workers, chunksize));
        base.state().results = ResultStream::new(ResultOrder::OfArrivals, limits);
        Ok(PyClassInitializer::from(base).add_subclass(Self))
    }
}

/// Returns the error of a task as it is raised where results are iterated over: one that would
/// pass for the end of them is the cause of another.
fn not_an_end(py: Python<'_>, error: PyErr) -> PyErr {
    let would_end = error.is_instance_of::<PyStopIteration>(py)
        || error.is_instance_of::<PyStopAsyncIteration>(py);
    if !would_end {
        return error;
    }
    let name = error.get_type(py).name();
    let name = name.map_or_else(|_| "the end".into(), |name| name.to_string());
    let message = format!("a task raised {name}, which is no end of the results");
    let raised = PyRuntimeError::new_err(message);
    raised.set_cause(py, Some(error));
    raised
}
