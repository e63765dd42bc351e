//! The result of a call that is still on its way.
//!
//! Size: that of a map is the same to who waits for it, and a class has its methods in one
//! place.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use procession_engine::sys::wait::time::Deadline;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyType};

use crate::blocking::deadline;
use crate::error::{self, value_error};
use crate::interrupt::let_interrupt_come;
use crate::once::{PyOnce, intern};
use crate::pool::arrival::Arrival;
use crate::pool::callback::{is_waiting, put_off, uninterrupted, wake_all};
use crate::pool::driver::Driver;
use crate::pool::foreign::Foreign;
use crate::pool::future_state::FutureState;
use crate::pool::gc_guard::GcGuard;
use crate::pool::map::{Counted, Map};
use crate::pool::place::Place;
use crate::pool::places::{places, put, repeated};
use crate::pool::progress;
use crate::pool::signal::Signal;
use crate::pool::terms::OnError;

/// The result of `apply_async`; the base of that of `map_async`.
///
/// Example:
///
///     >>> import procession
///     >>> with procession.Pool(1) as pool:
///     ...     later = pool.apply_async(int, ("ten",))
///     ...     later.wait()
///     ...     print(later.ready(), later.successful(), later.cancelled())
///     True False False
#[pyclass(frozen, subclass, weakref, dict, module = "procession.pool")]
pub struct ApplyResult {
    /// Absent where threads bring the result, which cannot be cancelled.
    core: Option<Arc<dyn Driver>>,
    job: u64,
    made: GcGuard,
    done: AtomicBool,
    /// Whether tasks are still being made of the inputs.
    is_fed: AtomicBool,
    cancelled: AtomicBool,
    /// Whether something shows its progress. Most results have nothing, and need not look.
    is_shown: bool,
    signal: Signal,
    state: Mutex<ResultState>,
}

/// The result of `map_async`: that of each input, in the order of the inputs.
///
/// Example:
///
///     >>> import procession
///     >>> with procession.Pool(2) as pool:
///     ...     lengths = pool.map_async(len, ["a", "bcd"])
///     ...     print(lengths.get(timeout=30))
///     [1, 3]
#[pyclass(frozen, extends = ApplyResult, module = "procession.pool")]
pub struct MapResult;

struct ResultState {
    /// The pool must live until the result is there, though the user drops it.
    pool: Option<Py<PyAny>>,
    cache: Py<PyDict>,
    /// The function that is called, for the text of errors.
    function: Option<Py<PyAny>>,
    callback: Option<Py<PyAny>>,
    error_callback: Option<Py<PyAny>>,
    listener: Option<Py<PyAny>>,
    /// What shows how far a map is.
    progress: Option<Py<PyAny>>,
    /// Functions to call when the result is there, for the tasks that await it.
    wakers: Vec<Py<PyAny>>,
    success: bool,
    value: Option<Py<PyAny>>,
    map: Option<Map>,
}

/// What is called for a result, and who is told of its outcome.
#[derive(Default)]
pub struct Callbacks {
    pub function: Option<Py<PyAny>>,
    pub success: Option<Py<PyAny>>,
    pub error: Option<Py<PyAny>>,
    /// The future that users have in the place of this result. Its `_settle` is called in any case,
    /// after the result is there.
    pub listener: Option<Py<PyAny>>,
    /// What shows how far a map is.
    pub progress: Option<Py<PyAny>>,
}

impl ApplyResult {
    /// Makes the result of one call and puts it into the pool's cache.
    pub fn create<'py>(
        core: Option<Arc<dyn Driver>>,
        pool: &Bound<'py, PyAny>,
        cache: &Bound<'py, PyDict>,
        callbacks: Callbacks,
    ) -> PyResult<Bound<'py, Self>> {
        let this = Self::new(core, pool, cache, callbacks, None);
        let this = Bound::new(pool.py(), this)?;
        cache.set_item(this.get().job, &this)?;
        Ok(this)
    }

    /// Makes the result of a map of `length` inputs in chunks.
    pub fn create_map<'py>(
        core: Option<Arc<dyn Driver>>,
        pool: &Bound<'py, PyAny>,
        cache: &Bound<'py, PyDict>,
        callbacks: Callbacks,
        (chunk, length): (usize, usize),
    ) -> PyResult<Bound<'py, Self>> {
        let py = pool.py();
        let map = Map::new(length, chunk);
        let left = map.left;
        let this = Self::new(core, pool, cache, callbacks, Some(map));
        let places = places(py, length)?;
        this.state().value = Some(places.into_any().unbind());
        let class = PyClassInitializer::from(this).add_subclass(MapResult);
        let this = Bound::new(py, class)?.into_super();
        if left == 0 {
            // There is nothing to wait for. No callback is called, as in `multiprocessing`.
            this.get().done.store(true, Ordering::Release);
            let mut state = this.get().state();
            let (pool, progress) = (state.pool.take(), state.progress.take());
            drop(state);
            drop(pool);
            if let Some(progress) = progress {
                progress::ended(py, &progress);
            }
        } else {
            cache.set_item(this.get().job, &this)?;
        }
        Ok(this)
    }

    fn new(
        core: Option<Arc<dyn Driver>>,
        pool: &Bound<'_, PyAny>,
        cache: &Bound<'_, PyDict>,
        callbacks: Callbacks,
        map: Option<Map>,
    ) -> Self {
        Self {
            core,
            job: next_job(),
            made: GcGuard::default(),
            done: AtomicBool::new(false),
            is_fed: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
            is_shown: callbacks.progress.is_some(),
            signal: Signal::default(),
            state: Mutex::new(ResultState {
                pool: Some(pool.clone().unbind()),
                cache: cache.clone().unbind(),
                function: callbacks.function,
                callback: callbacks.success,
                error_callback: callbacks.error,
                listener: callbacks.listener,
                progress: callbacks.progress,
                wakers: Vec::new(),
                success: true,
                value: None,
                map,
            }),
        }
    }

    /// No code of Python runs while it is locked.
    fn state(&self) -> MutexGuard<'_, ResultState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whether the result is there.
    pub fn is_done(&self) -> bool {
        // Acquire pairs with the Release in `finish`.
        self.done.load(Ordering::Acquire)
    }

    /// Notes whether tasks are still being made.
    pub fn set_fed(&self, is_fed: bool) {
        self.is_fed.store(is_fed, Ordering::Relaxed);
    }

    /// Sets what the error of a task does to the map.
    pub fn set_on_error(&self, on_error: OnError) {
        if let Some(map) = &mut self.state().map {
            map.on_error = on_error;
        }
    }

    /// Tells whether the tasks that were not made yet are not wanted.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed) && self.is_fed.load(Ordering::Relaxed)
    }

    /// Returns a description of the task at `index`, for messages.
    pub fn name(&self, py: Python<'_>, index: usize) -> String {
        let state = self.state();
        let function = state.function.as_ref().map(|f| f.clone_ref(py));
        let map = state.map.as_ref();
        let inputs = Place {
            index,
            chunk: map.map_or(0, |map| map.chunk),
            length: map.map(|map| map.length),
        };
        drop(state);
        inputs.name(py, function)
    }

    /// Takes the outcome of the task at `index`.
    pub fn arrive(slf: &Bound<'_, Self>, index: usize, arrival: Arrival) {
        if slf.get().is_shown {
            Self::show(slf, index, &arrival);
        }
        Self::take(slf, index, arrival);
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

    fn take(slf: &Bound<'_, Self>, index: usize, arrival: Arrival) {
        let py = slf.py();
        let this = slf.get();
        let Arrival {
            success,
            object,
            told,
            of_task,
            ..
        } = arrival.translated(py, this.core.as_ref());
        let mut state = this.state();
        let Some(map) = &mut state.map else {
            state.success = success;
            state.value = Some(object);
            drop(state);
            return Self::finish(slf, told);
        };
        let chunk = map.chunk;
        let count = map.count_at(index);
        let Some(Counted {
            last,
            stops,
            is_collected,
        }) = map.count(success, of_task)
        else {
            return;
        };
        let mut dropped = None;
        let mut place = None;
        if (success || is_collected) && state.success {
            place = state.value.as_ref().map(|list| list.clone_ref(py));
        } else if state.success {
            // The first error counts.
            state.success = false;
            dropped = state.value.replace(object.clone_ref(py));
        }
        drop(state);
        drop(dropped);
        let put_all = |list: &Bound<'_, PyAny>| match is_collected && chunk > 1 {
            false => put(list, index, chunk, object.bind(py)),
            true => put(list, index, chunk, &repeated(object.bind(py), count)?),
        };
        if let Some(list) = place
            && let Err(error) = put_all(list.bind(py))
        {
            let mut state = this.state();
            state.success = false;
            state.value = Some(error.into_value(py).into_any());
        }
        if stops && !last {
            Self::cancel_rest(slf);
        }
        if last || stops {
            Self::finish(slf, told);
        }
    }

    /// Cancels the tasks that have not begun.
    fn cancel_rest(slf: &Bound<'_, Self>) {
        let this = slf.get();
        this.cancelled.store(true, Ordering::Relaxed);
        if let Some(core) = &this.core
            && let Err(error) = core.cancel(slf.py(), slf.as_ptr() as usize, false)
        {
            put_off(slf.py(), error, slf);
        }
    }

    /// Notes that as many more tasks will never be run.
    pub fn abandon(slf: &Bound<'_, Self>, count: usize, arrival: Arrival) {
        {
            let mut state = slf.get().state();
            if let Some(map) = &mut state.map {
                map.drop_all_but_one(count);
            }
        }
        Self::take(slf, 0, arrival);
    }

    /// Calls back, and then lets the waiting threads go on.
    fn finish(slf: &Bound<'_, Self>, told: bool) {
        let py = slf.py();
        let this = slf.get();
        let mut state = this.state();
        let callbacks = (state.callback.take(), state.error_callback.take());
        let callback = match state.success {
            true => callbacks.0.as_ref(),
            false => callbacks.1.as_ref(),
        };
        let callback = callback
            .filter(|_| told)
            .zip(state.value.as_ref())
            .map(|(callback, value)| (callback.clone_ref(py), value.clone_ref(py)));
        let listener = state.listener.take();
        let progress = state.progress.take();
        let outcome = (
            state.success,
            listener
                .as_ref()
                .and(state.value.as_ref())
                .map(|value| value.clone_ref(py)),
        );
        let pool = state.pool.take();
        let function = state.function.take();
        let cache = state.cache.clone_ref(py);
        drop(state);
        if let Some(progress) = &progress {
            progress::ended(py, progress);
        }
        if let Some((callback, value)) = callback
            && let Err(error) = callback.call1(py, (value,))
        {
            put_off(py, error, callback.bind(py));
        }
        // Fails if the user has emptied the cache, which does no harm.
        let _ = cache.bind(py).del_item(this.job);
        // Release pairs with the Acquire in `is_done`.
        this.done.store(true, Ordering::Release);
        this.signal.notify();
        let wakers = std::mem::take(&mut this.state().wakers);
        wake_all(py, wakers);
        if let Some(listener) = &listener {
            // Notified before the listener is told, whose code may wait for a thread that waits for
            // this result.
            if let Some(core) = &this.core {
                core.notify();
            }
            Self::tell(listener.bind(py), outcome.0, outcome.1.as_ref());
        }
        drop((callbacks, pool, function, listener, progress));
    }

    /// Tells a listener what has come.
    fn tell(listener: &Bound<'_, PyAny>, success: bool, outcome: Option<&Py<PyAny>>) {
        let py = listener.py();
        if success
            && let Ok(future) = listener.cast::<FutureState>()
            && let Some(value) = outcome
            && future.get().settle_unobserved(value.bind(py))
        {
            return;
        }
        let name = intern!(py, "_settle");
        let settle = || listener.call_method1(name, (success, outcome, is_waiting()));
        if let Err(error) = uninterrupted(py, settle) {
            put_off(py, error, listener);
        }
    }

    /// Takes a result that never became a task out of the pool's cache.
    pub fn withdraw(&self, py: Python<'_>) {
        let mut state = self.state();
        let (pool, listener) = (state.pool.take(), state.listener.take());
        let cache = state.cache.clone_ref(py);
        drop(state);
        // Fails if the user has emptied the cache, which does no harm.
        let _ = cache.bind(py).del_item(self.job);
        drop((pool, listener));
    }

    /// Waits until the result is there; tells whether it is.
    pub fn wait_until(&self, py: Python<'_>, end: Deadline) -> PyResult<bool> {
        if self.is_done() {
            return Ok(true);
        }
        if let Some(core) = &self.core
            && core.drive(py, &|| self.is_done(), end)?
        {
            return Ok(true);
        }
        // The time is over, or another thread is ending the pool.
        self.signal.wait(py, &|| self.is_done(), end)
    }

    /// Returns the value, or raises the error, of a result that is there.
    pub fn open(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let state = self.state();
        let success = state.success;
        let value = state.value.as_ref().map(|value| value.clone_ref(py));
        drop(state);
        let value = value.unwrap_or_else(|| py.None());
        if success {
            return Ok(value);
        }
        // An interrupt of a program also interrupts its workers, so this program's
        // interrupt is raised rather than theirs.
        let value = value.into_bound(py);
        let_interrupt_come(py, &value)?;
        Err(PyErr::from_value(value))
    }
}

/// Returns a number that no other result of this process has.
pub fn next_job() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[pymethods]
impl ApplyResult {
    /// Makes a result that threads bring. With an owner it can be cancelled: that is asked
    /// to; a listener is told of it as the future of an executor is.
    #[new]
    #[pyo3(signature = (pool, callback, error_callback, *, owner=None, listener=None))]
    fn py_new(
        pool: &Bound<'_, PyAny>,
        callback: Option<Py<PyAny>>,
        error_callback: Option<Py<PyAny>>,
        owner: Option<Py<PyAny>>,
        listener: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let cache = cache_of(pool, owner.as_ref())?;
        let callbacks = Callbacks {
            function: None,
            success: callback,
            error: error_callback,
            listener,
            progress: None,
        };
        let core = owner.map(foreign);
        Ok(Self::new(core, pool, &cache, callbacks, None))
    }

    /// An error that was raised knows the frame that holds its result.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.made.is_made() {
            return Ok(());
        }
        // The thread that has locked the state keeps it alive.
        let Ok(state) = self.state.try_lock() else {
            return Ok(());
        };
        visit.call(&state.cache)?;
        for waker in &state.wakers {
            visit.call(waker)?;
        }
        for object in [
            &state.pool,
            &state.function,
            &state.callback,
            &state.error_callback,
            &state.listener,
            &state.progress,
            &state.value,
        ] {
            visit.call(object)?;
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
            state.callback.take(),
            state.error_callback.take(),
            state.listener.take(),
            state.progress.take(),
            state.value.take(),
            std::mem::take(&mut state.wakers),
        );
        drop(state);
        drop(dropped);
    }

    /// Returns whether the result is there.
    ///
    /// Example:
    ///
    ///     >>> import procession
    ///     >>> gate = procession.Event()
    ///     >>> with procession.Pool(1, initializer=gate.wait) as pool:
    ///     ...     later = pool.apply_async(abs, (-5,))
    ///     ...     before = later.ready()
    ///     ...     gate.set()
    ///     ...     print(before, later.get(), later.ready())
    ///     False 5 True
    fn ready(&self) -> bool {
        self.is_done()
    }

    /// Returns whether the result is a value, and not an error.
    ///
    /// Raises:
    ///     ValueError: The result is not there yet.
    ///
    /// Example:
    ///
    ///     >>> import procession
    ///     >>> with procession.Pool(1) as pool:
    ///     ...     later = pool.apply_async(chr, (-1,))
    ///     ...     later.wait()
    ///     ...     print(later.successful())
    ///     False
    fn successful(slf: &Bound<'_, Self>) -> PyResult<bool> {
        if !slf.get().is_done() {
            return Err(value_error(format!("{} not ready", slf.repr()?)));
        }
        Ok(slf.get().state().success)
    }

    /// Waits until the result is there or the time is over.
    ///
    /// Args:
    ///     timeout: The seconds to wait at most; None for as long as it takes.
    ///
    /// Example:
    ///
    ///     >>> import procession
    ///     >>> import time
    ///     >>> with procession.Pool(1) as pool:
    ///     ...     later = pool.apply_async(time.sleep, (60,))
    ///     ...     later.wait(timeout=0.01)
    ///     ...     print(later.ready())
    ///     False
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        self.wait_until(py, deadline(timeout)?).map(drop)
    }

    /// Waits for the result, and returns the value or raises the error.
    ///
    /// Args:
    ///     timeout: The seconds to wait at most; None for as long as it takes.
    ///
    /// Raises:
    ///     TimeoutError: The time is over.
    ///     WorkerDied: The worker died while it ran the task.
    ///     TaskTimeout: The task took longer than it might.
    ///     CancelledError: The task was cancelled.
    ///     Exception: What the function raised, with the worker's traceback as its cause.
    ///
    /// Example:
    ///
    ///     >>> import procession
    ///     >>> with procession.Pool(1) as pool:
    ///     ...     try:
    ///     ...         pool.apply_async([].pop).get()
    ///     ...     except IndexError as error:
    ///     ...         print(error)
    ///     pop from empty list
    #[pyo3(signature = (timeout=None))]
    fn get(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        if !self.wait_until(py, deadline(timeout)?)? {
            return Err(error::timed_out("the result", timeout));
        }
        self.open(py)
    }

    /// Cancels the task, or all tasks of a map; `multiprocessing` has no such method.
    ///
    /// Tasks that have not begun never will. Tasks that run go on, unless `kill` has them killed
    /// with their workers; no other task is lost. The result of what was cancelled is a
    /// `CancelledError`: that of a map once its tasks that run have ended.
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
    ///     ...     running = pool.apply_async(time.sleep, (60,))
    ///     ...     waiting = pool.apply_async(abs, (-1,))
    ///     ...     print(waiting.cancel(), running.cancel(kill=True))
    ///     ...     running.wait()
    ///     ...     print(waiting.cancelled(), running.cancelled(), running.cancel())
    ///     True True
    ///     True True False
    #[pyo3(signature = (kill=false))]
    fn cancel(slf: &Bound<'_, Self>, kill: bool) -> PyResult<bool> {
        let this = slf.get();
        let core = this.core.as_ref().ok_or_else(error::not_cancellable)?;
        if this.is_done() {
            return Ok(false);
        }
        this.cancelled.store(true, Ordering::Relaxed);
        let was_fed = this.is_fed.load(Ordering::Relaxed);
        let count = core.cancel(slf.py(), slf.as_ptr() as usize, kill)?;
        Ok(was_fed || count > 0)
    }

    /// Waits in asyncio, uvloop or trio.
    fn __await__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        static OUTCOME: PyOnce<PyAny> = PyOnce::new();
        let outcome = OUTCOME.import(slf.py(), "procession._awaiting", "outcome")?;
        outcome.call1((slf,))
    }

    /// Has a function called when the result is there; false if it is there.
    fn _notify(&self, waker: Py<PyAny>) -> bool {
        let mut state = self.state();
        // Read under the lock: `finish` sets it before it takes the lock and the wakers.
        let is_done = self.is_done();
        if !is_done {
            state.wakers.push(waker);
        }
        !is_done
    }

    /// Returns whether a worker has begun with the task, and not ended it.
    ///
    /// `multiprocessing` has no such method. Of a map it is whether any task of the map runs.
    ///
    /// Example:
    ///
    ///     >>> import procession
    ///     >>> import time
    ///     >>> with procession.Pool(1) as pool:
    ///     ...     later = pool.apply_async(time.sleep, (60,))
    ///     ...     while not later.running():
    ///     ...         time.sleep(0.01)
    ///     ...     print(later.ready())
    ///     False
    fn running(slf: &Bound<'_, Self>) -> bool {
        let this = slf.get();
        let core = this.core.as_ref().filter(|_| !this.is_done());
        core.is_some_and(|core| core.is_running(slf.py(), slf.as_ptr() as usize))
    }

    /// Returns whether the result is there, and is a `CancelledError`.
    ///
    /// Example:
    ///
    ///     >>> import procession
    ///     >>> with procession.Pool(1) as pool:
    ///     ...     done = pool.apply_async(abs, (-1,))
    ///     ...     done.wait()
    ///     ...     print(done.cancelled())
    ///     False
    fn cancelled(&self, py: Python<'_>) -> PyResult<bool> {
        if !self.is_done() {
            return Ok(false);
        }
        let value = self.state().value.as_ref().map(|value| value.clone_ref(py));
        value.map_or(Ok(false), |value| error::is_cancelled(value.bind(py)))
    }

    #[pyo3(signature = (i, obj, *, of_task=true, told=true))]
    fn _set(slf: &Bound<'_, Self>, i: usize, obj: (bool, Py<PyAny>), of_task: bool, told: bool) {
        let (success, object) = obj;
        let arrival = Arrival {
            success,
            object,
            told,
            size: 0,
            loss: None,
            of_task,
        };
        Self::arrive(slf, i, arrival);
    }

    #[classmethod]
    fn __class_getitem__<'py>(
        cls: &Bound<'py, PyType>,
        item: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        generic_alias(cls, item)
    }

    #[getter]
    fn _job(&self) -> u64 {
        self.job
    }

    #[getter]
    fn _pool(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.state().pool.as_ref().map(|pool| pool.clone_ref(py))
    }

    #[getter]
    fn _cache(&self, py: Python<'_>) -> Py<PyDict> {
        self.state().cache.clone_ref(py)
    }

    #[getter]
    fn _success(&self) -> bool {
        self.state().success
    }

    #[getter]
    fn _value(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.state().value.as_ref().map(|value| value.clone_ref(py))
    }
}

#[pymethods]
impl MapResult {
    /// Makes the result of a map that threads bring.
    #[new]
    #[pyo3(signature = (
        pool, chunksize, length, callback, error_callback, progress=None, *, owner=None,
        on_error="continue"
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are those of a map")]
    fn py_new(
        pool: &Bound<'_, PyAny>,
        chunksize: usize,
        length: usize,
        callback: Option<Py<PyAny>>,
        error_callback: Option<Py<PyAny>>,
        progress: Option<Py<PyAny>>,
        owner: Option<Py<PyAny>>,
        on_error: &str,
    ) -> PyResult<PyClassInitializer<Self>> {
        let py = pool.py();
        let mut base = ApplyResult::py_new(pool, callback, error_callback, owner, None)?;
        let mut map = Map::new(length, chunksize);
        map.on_error = OnError::new(on_error);
        let left = map.left;
        let places = places(py, length)?;
        base.is_shown = progress.is_some();
        let mut state = base.state();
        state.value = Some(places.into_any().unbind());
        state.progress = progress.filter(|_| left > 0);
        state.map = Some(map);
        drop(state);
        base.done.store(left == 0, Ordering::Release);
        Ok(PyClassInitializer::from(base).add_subclass(Self))
    }

    #[getter]
    fn _number_left(slf: &Bound<'_, Self>) -> usize {
        let state = slf.as_super().get().state();
        state.map.as_ref().map_or(0, |map| map.left)
    }

    #[getter]
    fn _chunksize(slf: &Bound<'_, Self>) -> usize {
        let state = slf.as_super().get().state();
        state.map.as_ref().map_or(0, |map| map.chunk)
    }
}

/// Returns the dict in which a pool keeps results that are on their way.
pub fn cache_of<'py>(
    pool: &Bound<'py, PyAny>,
    owner: Option<&Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let cache = match owner {
        Some(owner) => owner.bind(pool.py()).getattr("cache")?,
        None => pool.getattr("_cache")?,
    };
    Ok(cache.cast_into::<PyDict>()?)
}

/// Returns the object that brings results, in the form in which results know their pool.
pub fn foreign(owner: Py<PyAny>) -> Arc<dyn Driver> {
    Arc::new(Foreign::new(owner))
}

/// Returns a class with a type for its parameter, such as `ApplyResult[int]`.
pub fn generic_alias<'py>(
    cls: &Bound<'py, PyType>,
    item: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let alias = cls.py().import("types")?.getattr("GenericAlias")?;
    alias.call1((cls, item))
}
