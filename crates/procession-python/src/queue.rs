//! A queue of pickled objects.
//!
//! `put` and `get` are all that a program's hot loop calls, so the classes in
//! Python inherit them as they are. What can be done at once is done without
//! letting go of the GIL.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use procession_engine::ErrorKind;
use procession_engine::arena::Block;
use procession_engine::channel::{self, Message};
use procession_engine::os::time::Deadline;
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};

use crate::error::{self, IntoPython, to_python, value_error};
use crate::pickle::{self, Pickled, bytes_of};
use crate::shared::{Numbers, Shared};
use crate::wait::{deadline, deadline_of, waiting};

/// A queue of pickled objects; the base of the classes in `queues`.
#[pyclass(frozen, subclass, weakref, module = "procession._procession")]
pub struct Queue {
    queue: Shared<channel::Queue>,
    /// Whether this process is done with it; others may go on.
    closed: AtomicBool,
    /// Whether this process has put anything.
    fed: AtomicBool,
}

impl Queue {
    /// Returns what the engine waits for.
    pub fn engine(&self) -> PyResult<&channel::Queue> {
        self.queue.get()
    }

    /// Returns the queue, for a process that has not closed it.
    fn open<'a>(slf: &'a Bound<'_, Self>) -> PyResult<&'a channel::Queue> {
        let this = slf.get();
        // Relaxed: the flag stands for itself.
        if this.closed.load(Ordering::Relaxed) {
            return Err(value_error(format!("Queue {} is closed", slf.repr()?)));
        }
        this.queue.get()
    }

    fn put_parts(
        py: Python<'_>,
        queue: &channel::Queue,
        parts: &[&[u8]],
        block: bool,
        timeout: Option<f64>,
    ) -> PyResult<()> {
        match queue.put(parts, Deadline::now()) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Full => {}
            Err(error) => return Err(to_python(error)),
        }
        if !block {
            return Err(error::full());
        }
        let end = deadline(timeout)?;
        let put = waiting(py, end, |end| queue.put(parts, end))?;
        if put.is_some() {
            Ok(())
        } else {
            Err(error::full())
        }
    }

    /// Puts a block of which so many bytes are a message.
    fn put_block(
        py: Python<'_>,
        queue: &channel::Queue,
        (message, len): (Block, u64),
        block: bool,
        timeout: Option<f64>,
    ) -> PyResult<()> {
        let end = deadline_of(block, timeout)?;
        let message = Mutex::new(Some(message));
        let put = waiting(py, end, |end| {
            let mut message = message.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(block) = message.take() else {
                return Ok(());
            };
            queue.put_block(block, len, end).map_err(|back| {
                *message = Some(back.block);
                back.error
            })
        })?;
        put.ok_or_else(error::full)
    }

    fn get_message(
        py: Python<'_>,
        queue: &channel::Queue,
        block: bool,
        timeout: Option<f64>,
    ) -> PyResult<Message> {
        if let Some(message) = queue.try_get().or_raise()? {
            return Ok(message);
        }
        if !block {
            return Err(error::empty());
        }
        let end = deadline(timeout)?;
        let message = waiting(py, end, |end| queue.get(end))?;
        message.ok_or_else(error::empty)
    }
}

#[pymethods]
impl Queue {
    /// Takes any arguments: they are those of the subclass's `__init__`.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            queue: Shared::default(),
            closed: AtomicBool::new(false),
            fed: AtomicBool::new(false),
        }
    }

    fn _create(&self, maxsize: u64) -> PyResult<()> {
        self.queue.set(channel::Queue::create(maxsize).or_raise()?)
    }

    fn _lend(&self) -> PyResult<Numbers> {
        Ok(self.queue.get()?.lend().into())
    }

    fn _attach(&self, handle: Numbers) -> PyResult<()> {
        self.queue
            .set(channel::Queue::attach(handle.into()).or_raise()?)
    }

    #[getter]
    fn _closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    #[setter(_closed)]
    fn set_closed(&self, closed: bool) {
        self.closed.store(closed, Ordering::Relaxed);
    }

    #[getter]
    fn _maxsize(&self) -> PyResult<u64> {
        Ok(self.queue.get()?.maxsize())
    }

    #[pyo3(signature = (obj, block=true, timeout=None))]
    fn put(
        slf: &Bound<'_, Self>,
        obj: &Bound<'_, PyAny>,
        block: bool,
        timeout: Option<f64>,
    ) -> PyResult<()> {
        let py = slf.py();
        let queue = Self::open(slf)?;
        // Relaxed: the flag stands for itself.
        slf.get().fed.store(true, Ordering::Relaxed);
        let (pickled, loans) = match Pickled::lending(obj) {
            Ok(lending) => lending,
            Err(error) => {
                // By default it raises; a subclass may do otherwise.
                slf.call_method1("_on_queue_feeder_error", (error, obj))?;
                return Ok(());
            }
        };
        if loans.is_empty() {
            return pickled.with_parts(py, |parts| {
                Self::put_parts(py, queue, parts, block, timeout)
            });
        }
        let (message, len) = pickled.ride(py, loans)?;
        Self::put_block(py, queue, (message, len as u64), block, timeout)
    }

    fn put_nowait(slf: &Bound<'_, Self>, obj: &Bound<'_, PyAny>) -> PyResult<()> {
        // Through the method, which a subclass may override.
        slf.call_method1(pyo3::intern!(slf.py(), "put"), (obj, false))?;
        Ok(())
    }

    #[pyo3(signature = (block=true, timeout=None))]
    fn get<'py>(
        slf: &Bound<'py, Self>,
        block: bool,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let message = Self::get_message(py, Self::open(slf)?, block, timeout)?;
        match message.into_block() {
            Ok((block, len)) => pickle::receive(py, block, len),
            Err(message) => pickle::load(py, &message),
        }
    }

    fn get_nowait<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.call_method1(pyo3::intern!(slf.py(), "get"), (false,))
    }

    fn put_bytes(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let buffer = PyBuffer::get(data)?;
        Self::put_parts(slf.py(), Self::open(slf)?, &[bytes_of(&buffer)], true, None)
    }

    fn get_bytes<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyBytes>> {
        let message = Self::get_message(slf.py(), Self::open(slf)?, true, None)?;
        message.read(|bytes| Ok(PyBytes::new(slf.py(), bytes)))
    }

    fn qsize(&self) -> PyResult<u64> {
        Ok(self.queue.get()?.len())
    }

    /// As in `multiprocessing`, one that has put may not ask once it has closed.
    fn empty(&self) -> PyResult<bool> {
        if self.closed.load(Ordering::Relaxed) && self.fed.load(Ordering::Relaxed) {
            return Err(error::os_error("the queue is closed"));
        }
        Ok(self.queue.get()?.is_empty())
    }

    fn full(&self) -> PyResult<bool> {
        Ok(self.queue.get()?.is_full())
    }

    fn fileno(&self) -> PyResult<i32> {
        // The queue itself keeps the descriptor open.
        Ok(self
            .queue
            .get()?
            .readable_fd()
            .or_raise()?
            .as_fd()
            .as_raw_fd())
    }
}
