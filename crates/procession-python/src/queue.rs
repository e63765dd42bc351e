//! A queue of pickled objects.
//!
//! `put` and `get` are all that a program's hot loop calls, so the classes in
//! Python inherit them as they are. A call that need not wait stays attached to the
//! interpreter.

use std::cell::Cell;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use procession_engine::ErrorKind;
use procession_engine::channel::{self, Message};
use procession_engine::shm::Block;
use procession_engine::sys::wait::time::Deadline;
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};

use crate::awaited::{AwaitedFd, Watched};
use crate::blocking::{deadline, deadline_of, waiting, waiting_raising};
use crate::error::{self, IntoPython, to_python, value_error};
use crate::pickle::{self, Pickled, bytes_of};
use crate::shared::{HandleParts, Shared};
use crate::transfer;

/// A queue of pickled objects; the base of the classes in `queues`.
#[pyclass(frozen, subclass, weakref, module = "procession._procession")]
pub struct Queue {
    queue: Shared<channel::Queue>,
    /// Whether this process has closed it; other processes may go on.
    closed: AtomicBool,
    /// Whether this process has put anything.
    fed: AtomicBool,
    awaited_items: AwaitedFd,
    awaited_room: AwaitedFd,
}

/// An item on its way into a queue, for a task that may try several times to put it.
#[pyclass(frozen, module = "procession._procession")]
pub struct PendingItem(Mutex<Option<Pending>>);

enum Pending {
    Bytes(Vec<u8>),
    Block(Block, u64),
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
            Err(error) => return Err(raised(error)),
        }
        if !block {
            return Err(full(queue, None));
        }
        let end = deadline(timeout)?;
        let put = waiting_raising(py, end, raised, |end| queue.put(parts, end))?;
        put.ok_or_else(|| full(queue, timeout))
    }

    /// Puts a block whose first bytes, as many as the number says, are a message; tells
    /// whether there was room before the end.
    fn put_block(
        py: Python<'_>,
        queue: &channel::Queue,
        (message, len): (Block, u64),
        end: Deadline,
    ) -> PyResult<bool> {
        let message = Mutex::new(Some(message));
        let put = waiting_raising(py, end, raised, |end| {
            let mut message = message.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(block) = message.take() else {
                return Ok(());
            };
            queue.put_block(block, len, end).map_err(|back| {
                *message = Some(back.block);
                back.error
            })
        })?;
        Ok(put.is_some())
    }

    fn get_message(
        py: Python<'_>,
        queue: &channel::Queue,
        block: bool,
        timeout: Option<f64>,
    ) -> PyResult<Message> {
        if let Some(message) = queue.try_get().map_err(raised)? {
            return Ok(message);
        }
        if !block {
            return Err(empty(queue, None));
        }
        let end = deadline(timeout)?;
        let message = waiting_raising(py, end, raised, |end| queue.get(end))?;
        message.ok_or_else(|| empty(queue, timeout))
    }

    /// Puts messages that are in no block, and forgets them first: if a handler raises in
    /// the middle, none of them may be put a second time. Tells how many it has put, too.
    fn put_batch(
        py: Python<'_>,
        queue: &channel::Queue,
        batch: &mut Vec<Vec<u8>>,
        (end, count): (Deadline, &Cell<usize>),
    ) -> PyResult<bool> {
        let batch = std::mem::take(batch);
        let mut rest: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
        while !rest.is_empty() {
            let done = waiting_raising(py, end, raised, |end| queue.put_many(&rest, end))?;
            let Some(done) = done else {
                return Ok(false);
            };
            count.set(count.get() + done);
            rest.drain(..done);
        }
        Ok(true)
    }

    fn load<'py>(py: Python<'py>, message: Message) -> PyResult<Bound<'py, PyAny>> {
        match message.into_block() {
            Ok((block, len)) => pickle::receive(py, block, len),
            Err(message) => pickle::load(py, &message),
        }
    }
}

/// Messages that are put in one step. Found by trial: more gain little.
const BATCH: usize = 64;

/// Bytes of a message that the queue copies rather than link.
const SHORT: usize = 1024;

/// Returns the exception for an error; a queue that is closed for all processes was shut down.
fn raised(error: procession_engine::Error) -> PyErr {
    match error.kind() {
        ErrorKind::Closed => error::shut_down(),
        _ => to_python(error),
    }
}

/// Returns the Full of a queue, after a wait of so many seconds or without one.
fn full(queue: &channel::Queue, waited: Option<f64>) -> PyErr {
    let (was, most) = (state("full", waited), queue.maxsize());
    let number = queue.handle().serial;
    let items = if most == 1 { "item" } else { "items" };
    error::full(format!(
        "queue #{number} {was}: it holds at most {most} {items}"
    ))
}

/// Returns the Empty of a queue, as [`full`] does.
fn empty(queue: &channel::Queue, waited: Option<f64>) -> PyErr {
    let number = queue.handle().serial;
    error::empty(format!("queue #{number} {}", state("empty", waited)))
}

fn state(what: &str, waited: Option<f64>) -> String {
    match waited {
        Some(seconds) if seconds > 0.0 => format!("was {what} for {seconds} s"),
        _ => format!("is {what}"),
    }
}

#[pymethods]
impl Queue {
    /// Takes any arguments, which are those of the subclass's `__init__`.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            queue: Shared::default(),
            closed: AtomicBool::new(false),
            fed: AtomicBool::new(false),
            awaited_items: AwaitedFd::default(),
            awaited_room: AwaitedFd::default(),
        }
    }

    fn _create(&self, maxsize: u64) -> PyResult<()> {
        self.queue.set(channel::Queue::create(maxsize).or_raise()?)
    }

    fn _lend(&self) -> PyResult<HandleParts> {
        let queue = self.queue.get()?;
        Ok(transfer::lend(|loans| queue.lend(loans)).into())
    }

    fn _attach(&self, handle: HandleParts) -> PyResult<()> {
        let attach = |source: &_| channel::Queue::attach(handle.into(), source);
        self.queue.set(transfer::attach(attach).or_raise()?)
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

    /// Puts an item, which is pickled first, in this thread.
    ///
    /// Args:
    ///     obj: The item.
    ///     block: Whether to wait for room.
    ///     timeout: The seconds to wait at most; None for as long as it takes.
    ///
    /// Raises:
    ///     ValueError: This process has closed the queue.
    ///     queue.Full: There was no room before the time was over.
    ///     ShutDown: The queue was shut down.
    ///
    /// Example:
    ///
    ///     >>> import procession
    ///     >>> from queue import Full
    ///     >>> queue = procession.Queue(maxsize=1)
    ///     >>> queue.put("a parcel")
    ///     >>> try:
    ///     ...     queue.put("one more", timeout=0.01)
    ///     ... except Full:
    ///     ...     print("no room")
    ///     no room
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
                // This raises the error, unless a subclass overrides it.
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
        let end = deadline_of(block, timeout)?;
        match Self::put_block(py, queue, (message, len as u64), end)? {
            true => Ok(()),
            false => Err(full(queue, timeout.filter(|_| block))),
        }
    }

    /// Pickles an item, once; None when a subclass has dealt with an error.
    fn _prepare(slf: &Bound<'_, Self>, obj: &Bound<'_, PyAny>) -> PyResult<Option<PendingItem>> {
        let py = slf.py();
        Self::open(slf)?;
        // Relaxed: the flag stands for itself.
        slf.get().fed.store(true, Ordering::Relaxed);
        let (pickled, loans) = match Pickled::lending(obj) {
            Ok(lending) => lending,
            Err(error) => {
                slf.call_method1("_on_queue_feeder_error", (error, obj))?;
                return Ok(None);
            }
        };
        let pending = if loans.is_empty() && pickled.len(py) <= SHORT {
            Pending::Bytes(pickled.with_parts(py, |parts| parts.concat()))
        } else {
            let (block, len) = pickled.ride(py, loans)?;
            Pending::Block(block, len as u64)
        };
        Ok(Some(PendingItem(Mutex::new(Some(pending)))))
    }

    /// Puts an item if there is room; tells whether it is in.
    fn _put_now(slf: &Bound<'_, Self>, item: &PendingItem) -> PyResult<bool> {
        let queue = Self::open(slf)?;
        let mut pending = item.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (error, back) = match pending.take() {
            None => return Ok(true),
            Some(Pending::Bytes(bytes)) => match queue.put(&[&bytes], Deadline::now()) {
                Ok(()) => return Ok(true),
                Err(error) => (error, Pending::Bytes(bytes)),
            },
            Some(Pending::Block(block, len)) => {
                match queue.put_block(block, len, Deadline::now()) {
                    Ok(()) => return Ok(true),
                    Err(back) => (back.error, Pending::Block(back.block, len)),
                }
            }
        };
        if error.kind() != ErrorKind::Full {
            return Err(raised(error));
        }
        *pending = Some(back);
        Ok(false)
    }

    fn _arm_for_items(&self) -> PyResult<Watched> {
        let queue = self.queue.get()?;
        self.awaited_items
            .arm(|| queue.await_items(), |fd| queue.arm_for_items(fd))
    }

    fn _arm_for_room(&self) -> PyResult<Watched> {
        let queue = self.queue.get()?;
        self.awaited_room
            .arm(|| queue.await_room(), |fd| queue.arm_for_room(fd))
    }

    fn _arm_for_tasks(&self) -> PyResult<Watched> {
        let queue = self.queue.get()?;
        self.awaited_room
            .arm(|| queue.await_room(), |fd| queue.arm_for_tasks(fd))
    }

    /// Puts an item if there is room now.
    ///
    /// Raises:
    ///     queue.Full: There is no room.
    ///
    /// Example:
    ///
    ///     >>> import procession
    ///     >>> queue = procession.Queue(maxsize=1)
    ///     >>> queue.full()
    ///     False
    ///     >>> queue.put_nowait("only one")
    ///     >>> queue.full(), queue.empty(), queue.qsize()
    ///     (True, False, 1)
    fn put_nowait(slf: &Bound<'_, Self>, obj: &Bound<'_, PyAny>) -> PyResult<()> {
        // Through the method, which a subclass may override.
        slf.call_method1(crate::once::intern!(slf.py(), "put"), (obj, false))?;
        Ok(())
    }

    /// Takes an item out, and returns it.
    ///
    /// Args:
    ///     block: Whether to wait for an item.
    ///     timeout: The seconds to wait at most; None for as long as it takes.
    ///
    /// Raises:
    ///     ValueError: This process has closed the queue.
    ///     queue.Empty: There was no item before the time was over.
    ///     ShutDown: The queue was shut down, and is empty.
    ///
    /// Example:
    ///
    ///     >>> import procession
    ///     >>> from queue import Empty
    ///     >>> queue = procession.Queue()
    ///     >>> try:
    ///     ...     queue.get(timeout=0.01)
    ///     ... except Empty:
    ///     ...     print("nothing yet")
    ///     nothing yet
    #[pyo3(signature = (block=true, timeout=None))]
    fn get<'py>(
        slf: &Bound<'py, Self>,
        block: bool,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        Self::load(py, Self::get_message(py, Self::open(slf)?, block, timeout)?)
    }

    /// Puts many items, in fewer steps than one by one.
    ///
    /// Those that were put stay, though the time is over before all are, or one of them cannot
    /// be pickled.
    ///
    /// Args:
    ///     items: What yields the items. It may be asked for some more than are put.
    ///     block: Whether to wait for room.
    ///     timeout: The seconds to wait for room at most, in all; None for as long as it takes.
    ///
    /// Raises:
    ///     ValueError: This process has closed the queue.
    ///     queue.Full: There was no room for all before the time was over; `items_put` of the
    ///         error says how many were put.
    ///     ShutDown: The queue was shut down; `items_put` as above.
    ///
    /// Example:
    ///
    ///     >>> import procession
    ///     >>> from queue import Full
    ///     >>> queue = procession.Queue(5)
    ///     >>> queue.put_many(n * n for n in range(4))
    ///     >>> queue.qsize()
    ///     4
    ///     >>> try:
    ///     ...     queue.put_many("abc", timeout=0.1)
    ///     ... except Full as error:
    ///     ...     print(error.items_put)
    ///     1
    #[pyo3(signature = (items, block=true, timeout=None))]
    fn put_many(
        slf: &Bound<'_, Self>,
        items: &Bound<'_, PyAny>,
        block: bool,
        timeout: Option<f64>,
    ) -> PyResult<()> {
        let py = slf.py();
        let queue = Self::open(slf)?;
        let end = deadline_of(block, timeout)?;
        let waited = timeout.filter(|_| block);
        let mut batch = Vec::new();
        let count = Cell::new(0);
        slf.get().fed.store(true, Ordering::Relaxed);
        let put_batch =
            |batch: &mut Vec<Vec<u8>>| match Self::put_batch(py, queue, batch, (end, &count))? {
                true => Ok(()),
                false => Err(full(queue, waited)),
            };
        let result = (|| {
            for item in items.try_iter()? {
                let (pickled, loans) = Pickled::lending(&item?)?;
                if loans.is_empty() {
                    batch.push(pickled.with_parts(py, |parts| parts.concat()));
                    if batch.len() == BATCH {
                        put_batch(&mut batch)?;
                    }
                } else {
                    // An item that carries handles is in a block of its own.
                    put_batch(&mut batch)?;
                    let (message, len) = pickled.ride(py, loans)?;
                    if !Self::put_block(py, queue, (message, len as u64), end)? {
                        return Err(full(queue, waited));
                    }
                    count.set(count.get() + 1);
                }
            }
            Ok(())
        })();
        // The items before the one that failed are put all the same.
        let result = result.and(put_batch(&mut batch));
        result.inspect_err(|error| {
            if error::is_refusal_of_queue(py, error) {
                // Nothing keeps an exception from having another attribute.
                let _ = error.value(py).setattr("items_put", count.get());
            }
        })
    }

    /// Waits for an item, and returns it with those that are there, up to `max`.
    ///
    /// Args:
    ///     max: The most items to return.
    ///     block: Whether to wait for the first item.
    ///     timeout: The seconds to wait at most; None for as long as it takes.
    ///
    /// Raises:
    ///     ValueError: `max` is negative, or this process has closed the queue.
    ///     queue.Empty: There was no item before the time was over.
    ///     ShutDown: The queue was shut down, and is empty.
    ///
    /// Example:
    ///
    ///     >>> import procession
    ///     >>> queue = procession.Queue()
    ///     >>> queue.put_many("abcde")
    ///     >>> queue.get_many(3), queue.get_many(100)
    ///     (['a', 'b', 'c'], ['d', 'e'])
    #[pyo3(signature = (max, block=true, timeout=None))]
    fn get_many<'py>(
        slf: &Bound<'py, Self>,
        max: isize,
        block: bool,
        timeout: Option<f64>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let py = slf.py();
        let max = usize::try_from(max)
            .map_err(|_| value_error(format!("max must be 0 or more, not {max}")))?;
        let queue = Self::open(slf)?;
        let end = deadline_of(block, timeout)?;
        let messages = waiting_raising(py, end, raised, |end| queue.get_many(max, end))?;
        messages
            .ok_or_else(|| empty(queue, timeout.filter(|_| block)))?
            .into_iter()
            .map(|message| Self::load(py, message))
            .collect()
    }

    fn _shut_down(&self, py: Python<'_>, immediate: bool) -> PyResult<()> {
        let queue = self.queue.get()?;
        py.detach(|| match immediate {
            true => queue.close_now(),
            false => queue.close(),
        })
        .or_raise()
    }

    fn _unfinished(&self) -> PyResult<u64> {
        Ok(self.queue.get()?.unfinished())
    }

    fn _task_done(&self) -> PyResult<()> {
        self.queue.get()?.task_done().or_raise()
    }

    /// Tells whether all tasks were done in time.
    #[pyo3(signature = (timeout=None))]
    fn _join(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let queue = self.queue.get()?;
        Ok(waiting(py, deadline(timeout)?, |end| queue.join(end))?.is_some())
    }

    /// Takes an item out if there is one now, and returns it.
    ///
    /// Raises:
    ///     queue.Empty: There is no item.
    ///
    /// Example:
    ///
    ///     >>> import procession
    ///     >>> queue = procession.Queue()
    ///     >>> queue.put(("id", 1))
    ///     >>> queue.get_nowait()
    ///     ('id', 1)
    fn get_nowait<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.call_method1(crate::once::intern!(slf.py(), "get"), (false,))
    }

    /// Puts an item that is pickled already.
    fn put_bytes(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let buffer = PyBuffer::get(data)?;
        Self::put_parts(slf.py(), Self::open(slf)?, &[bytes_of(&buffer)], true, None)
    }

    /// Waits for an item, takes it out, and returns its pickle.
    ///
    /// Example:
    ///
    ///     >>> import pickle
    ///     >>> import procession
    ///     >>> queue = procession.Queue()
    ///     >>> queue.put_bytes(pickle.dumps({"a": 1}))
    ///     >>> pickle.loads(queue.get_bytes())
    ///     {'a': 1}
    fn get_bytes<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyBytes>> {
        let message = Self::get_message(slf.py(), Self::open(slf)?, true, None)?;
        message.read(|bytes, _| Ok(PyBytes::new(slf.py(), bytes)))
    }

    /// Returns how many items the queue has; the number is exact.
    fn qsize(&self) -> PyResult<u64> {
        Ok(self.queue.get()?.len())
    }

    /// Returns whether the queue has no items; the answer is exact.
    ///
    /// Raises:
    ///     OSError: This process has put items, and closed the queue.
    fn empty(&self) -> PyResult<bool> {
        if self.closed.load(Ordering::Relaxed) && self.fed.load(Ordering::Relaxed) {
            return Err(error::os_error("the queue is closed"));
        }
        Ok(self.queue.get()?.is_empty())
    }

    /// Returns whether the queue has no room; the answer is exact.
    fn full(&self) -> PyResult<bool> {
        Ok(self.queue.get()?.is_full())
    }

    /// Returns a descriptor that is readable while the queue has items.
    ///
    /// Example:
    ///
    ///     >>> import procession
    ///     >>> import select
    ///     >>> queue = procession.Queue()
    ///     >>> queue.put("news")
    ///     >>> readable, _, _ = select.select([queue], [], [], 30)
    ///     >>> readable[0].get(), queue.fileno() > 2
    ///     ('news', True)
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
