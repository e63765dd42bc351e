//! Results that are fetched one by one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyStopIteration;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::PyDict;

use crate::error;
use crate::pool::core::Core;
use crate::pool::made::Made;
use crate::pool::place::Place;
use crate::pool::result::next_job;
use crate::pool::signal::Signal;
use crate::pool::sink::Arrival;
use crate::wait::deadline;

/// The results of `imap`, in the order of the inputs.
#[pyclass(frozen, subclass, weakref, dict, module = "procession.pool")]
pub struct IMapIterator {
    /// Absent where threads bring the results, not processes.
    core: Option<Arc<Core>>,
    job: u64,
    made: Made,
    signal: Signal,
    state: Mutex<State>,
}

/// The results of `imap_unordered`, as they come.
#[pyclass(frozen, extends = IMapIterator, module = "procession.pool")]
pub struct IMapUnorderedIterator;

struct State {
    /// The pool must live until all results are there, though the user drops it.
    pool: Option<Py<PyAny>>,
    cache: Py<PyDict>,
    /// What is called, for the text of errors.
    function: Option<Py<PyAny>>,
    chunk: usize,
    ordered: bool,
    /// What may be fetched.
    items: VecDeque<Item>,
    /// What has to wait for results before it, by place.
    unsorted: HashMap<usize, Item>,
    /// Bytes of `items` and `unsorted`.
    bytes: usize,
    /// There are so many results that no more tasks are made for now.
    paused: bool,
    /// No more tasks are made, and none of those that have not begun will.
    cancelled: bool,
    /// Nobody will fetch what comes.
    closed: bool,
    /// However many results there are, tasks are made: nobody will fetch any before
    /// all are there.
    unbounded: bool,
    /// How many went into `items` so far.
    index: usize,
    /// How many there will be, once that is known.
    length: Option<usize>,
}

/// A result that was not fetched yet.
struct Item {
    success: bool,
    object: Py<PyAny>,
    /// How many bytes it came in.
    size: usize,
}

/// How many results are kept that nobody has fetched before no more tasks are made.
const MOST: usize = 1024;

/// How many bytes of them are.
const MOST_BYTES: usize = 16 << 20;

impl State {
    /// Tells whether there is room for `1 / part` of the results that are kept.
    fn has_room(&self, part: usize) -> bool {
        let count = self.items.len() + self.unsorted.len();
        count < MOST / part && self.bytes < MOST_BYTES / part
    }
}

impl IMapIterator {
    /// Makes an iterator and puts it into the pool's cache.
    pub fn create<'py>(
        core: Option<Arc<Core>>,
        pool: &Bound<'py, PyAny>,
        cache: &Bound<'py, PyDict>,
        (function, chunk): (&Bound<'py, PyAny>, usize),
        ordered: bool,
    ) -> PyResult<Bound<'py, Self>> {
        let py = pool.py();
        let this = Self::new(core, pool, cache, ordered);
        {
            let mut state = this.state();
            state.function = Some(function.clone().unbind());
            state.chunk = chunk;
        }
        let this = if ordered {
            Bound::new(py, this)?
        } else {
            let class = PyClassInitializer::from(this).add_subclass(IMapUnorderedIterator);
            Bound::new(py, class)?.into_super()
        };
        cache.set_item(this.get().job, &this)?;
        Ok(this)
    }

    fn new(
        core: Option<Arc<Core>>,
        pool: &Bound<'_, PyAny>,
        cache: &Bound<'_, PyDict>,
        ordered: bool,
    ) -> Self {
        Self {
            core,
            job: next_job(),
            made: Made::default(),
            signal: Signal::default(),
            state: Mutex::new(State {
                pool: Some(pool.clone().unbind()),
                cache: cache.clone().unbind(),
                function: None,
                chunk: 1,
                ordered,
                items: VecDeque::new(),
                unsorted: HashMap::new(),
                bytes: 0,
                paused: false,
                cancelled: false,
                closed: false,
                unbounded: false,
                index: 0,
                length: None,
            }),
        }
    }

    /// No code of Python runs while it is locked.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what the task at `index` is, for people.
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

    /// Takes what came of the task at `index`.
    pub fn arrive(slf: &Bound<'_, Self>, index: usize, arrival: Arrival) {
        let mut state = slf.get().state();
        if state.closed {
            state.index += 1;
            Self::announce(slf, state);
            return;
        }
        let item = Item {
            success: arrival.success,
            object: arrival.object,
            size: arrival.size,
        };
        state.bytes += item.size;
        if !state.ordered || index == state.index {
            state.items.push_back(item);
            state.index += 1;
            loop {
                let next = state.index;
                let Some(item) = state.unsorted.remove(&next) else {
                    break;
                };
                state.items.push_back(item);
                state.index += 1;
            }
        } else {
            state.unsorted.insert(index, item);
        }
        Self::announce(slf, state);
    }

    /// Says how many results there will be.
    pub fn set_length(slf: &Bound<'_, Self>, length: usize) {
        let mut state = slf.get().state();
        state.length = Some(length);
        Self::announce(slf, state);
    }

    /// Tells whether the tasks that were not made yet are not wanted.
    pub fn is_cancelled(&self) -> bool {
        self.state().cancelled
    }

    /// Ends it with an error at `index`, unless its end is known: no more will come.
    pub fn cut_off(slf: &Bound<'_, Self>, index: usize, arrival: Arrival) {
        if slf.get().state().length.is_none() {
            Self::arrive(slf, index, arrival);
            Self::set_length(slf, index + 1);
        }
    }

    fn announce(slf: &Bound<'_, Self>, mut state: MutexGuard<'_, State>) {
        let py = slf.py();
        let complete = state.length == Some(state.index);
        let (pool, function) = match complete {
            true => (state.pool.take(), state.function.take()),
            false => (None, None),
        };
        let cache = complete.then(|| state.cache.clone_ref(py));
        drop(state);
        slf.get().signal.notify();
        if let Some(cache) = cache {
            // A cache that the user has emptied is no reason to fail.
            let _ = cache.bind(py).del_item(slf.get().job);
        }
        drop((pool, function));
    }

    /// Tells whether no more tasks are to be made before results were fetched; then
    /// the pool is told when they were.
    pub fn is_full(&self) -> bool {
        let mut state = self.state();
        let is_full = !state.unbounded && !state.has_room(1);
        state.paused |= is_full;
        is_full
    }

    /// Has all tasks made, however many results there are.
    pub fn make_all(&self) -> PyResult<()> {
        let mut state = self.state();
        state.unbounded = true;
        self.resume(state)
    }

    /// Has the pool make tasks again, if it has stopped for want of room.
    fn resume(&self, mut state: MutexGuard<'_, State>) -> PyResult<()> {
        let core = self.core.as_ref().filter(|_| state.paused);
        state.paused = false;
        drop(state);
        match core {
            Some(core) => core.resume(),
            None => Ok(()),
        }
    }

    fn has_news(&self) -> bool {
        let state = self.state();
        !state.items.is_empty() || state.closed || state.length == Some(state.index)
    }

    fn fetch(&self) -> PyResult<Option<Item>> {
        let mut state = self.state();
        match state.items.pop_front() {
            Some(item) => {
                state.bytes -= item.size;
                if state.paused && state.has_room(2) {
                    self.resume(state)?;
                }
                Ok(Some(item))
            }
            None if state.closed || state.length == Some(state.index) => {
                Err(PyStopIteration::new_err(()))
            }
            None => Ok(None),
        }
    }
}

#[pymethods]
impl IMapIterator {
    /// Makes an iterator over results that threads bring.
    #[new]
    fn py_new(pool: &Bound<'_, PyAny>) -> PyResult<Self> {
        let cache = pool.getattr("_cache")?.cast_into::<PyDict>()?;
        Ok(Self::new(None, pool, &cache, true))
    }

    /// Errors that were raised know the frame that holds the iterator.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.made.is_made() {
            return Ok(());
        }
        // Whoever has it locked keeps it alive.
        let Ok(state) = self.state.try_lock() else {
            return Ok(());
        };
        visit.call(&state.cache)?;
        visit.call(&state.pool)?;
        visit.call(&state.function)?;
        for item in state.items.iter().chain(state.unsorted.values()) {
            visit.call(&item.object)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        let mut state = self.state();
        let dropped = (
            state.pool.take(),
            state.function.take(),
            std::mem::take(&mut state.items),
            std::mem::take(&mut state.unsorted),
        );
        drop(state);
        drop(dropped);
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.next(py, None)
    }

    #[pyo3(signature = (timeout=None))]
    fn next(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let end = deadline(timeout)?;
        loop {
            match self.fetch()? {
                Some(item) if item.success => return Ok(item.object),
                Some(item) => {
                    // As in `ApplyResult::open`.
                    py.check_signals()?;
                    return Err(PyErr::from_value(item.object.into_bound(py)));
                }
                None => {}
            }
            let driven = match &self.core {
                Some(core) => core.drive(py, &|| self.has_news(), end)?,
                None => false,
            };
            // Another thread may fetch what has come, so it is looked for again.
            if !driven && !self.signal.wait(py, &|| self.has_news(), end)? {
                return Err(error::timed_out());
            }
        }
    }

    #[pyo3(signature = (kill=false))]
    fn cancel(slf: &Bound<'_, Self>, kill: bool) -> PyResult<bool> {
        let this = slf.get();
        let core = this.core.as_ref().ok_or_else(error::not_cancellable)?;
        let was_fed = {
            let mut state = this.state();
            if state.length == Some(state.index) {
                return Ok(false);
            }
            !std::mem::replace(&mut state.cancelled, true) && state.length.is_none()
        };
        let count = core.cancel(slf.py(), slf.as_ptr() as usize, kill)?;
        Ok(was_fed || count > 0)
    }

    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        let mut state = this.state();
        state.closed = true;
        state.bytes = 0;
        let items = std::mem::take(&mut state.items);
        let unsorted = std::mem::take(&mut state.unsorted);
        // They have come, though nobody fetches them.
        state.index += unsorted.len();
        drop(state);
        drop((items, unsorted));
        match this.core {
            Some(_) => Self::cancel(slf, false).map(drop),
            None => Ok(()),
        }
    }

    fn _set(slf: &Bound<'_, Self>, i: usize, obj: (bool, Py<PyAny>)) {
        let (success, object) = obj;
        let arrival = Arrival {
            success,
            object,
            told: true,
            size: 0,
        };
        Self::arrive(slf, i, arrival);
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
        self.state().index
    }

    #[getter]
    fn _length(&self) -> Option<usize> {
        self.state().length
    }
}

#[pymethods]
impl IMapUnorderedIterator {
    /// Makes an iterator over results that threads bring.
    #[new]
    fn py_new(pool: &Bound<'_, PyAny>) -> PyResult<PyClassInitializer<Self>> {
        let base = IMapIterator::py_new(pool)?;
        base.state().ordered = false;
        Ok(PyClassInitializer::from(base).add_subclass(Self))
    }
}
