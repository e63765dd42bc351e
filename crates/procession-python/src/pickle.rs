//! Python objects as messages: pickle protocol 5, with buffers beside the pickle.
//!
//! A message is either a plain pickle, whose first byte is 0x80, or, when the
//! object holds buffers of a few kilobytes or more (numpy arrays and the
//! like): a head that begins with [`BESIDE`], the pickle, and the buffers, each
//! at a multiple of [`ALIGNMENT`]. Nothing is put together here: the parts are
//! handed to the engine one by one, which copies each once, into the arena.
//!
//! A program may have replaced `ForkingPickler` or its methods. Then messages are written and read
//! by the program's own (`reduction.dumps` and `loads`), and a message whose first byte is not a
//! pickle's gets the byte [`FOREIGN`] before it.
//!
//! The picklers are C picklers that are used again and again, because making
//! one costs more than pickling a small object. They share the table of
//! reducers of `ForkingPickler`.
//!
//! # Safety
//! Buffers are read as bytes while their views are held: the memory stays where
//! it is, and whatever another thread writes to it meanwhile is a valid byte. A view of memory of
//! ours ends before the memory is used for something else.

#![expect(unsafe_code, reason = "reads buffers that Python keeps alive")]

use std::cell::RefCell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyTuple};

use crate::buffer::{BlockView, Copied};
use crate::error::{IntoPython, value_error};
use crate::interpreter::stay_when_ended;
use crate::once::PyOnce;
use crate::transfer;

use std::sync::Arc;

use procession_engine::shm::{self, Loans};

/// First byte of a message with buffers; no pickle begins with it.
const BESIDE: u8 = 0x05;

/// First byte of a message that is no pickle, but what a program's own pickler wrote.
const FOREIGN: u8 = 0x06;

/// First byte of a pickle: its code `PROTO`.
const PICKLE: u8 = 0x80;

// Other codes, by their names in `pickletools`.
const NEWTRUE: u8 = 0x88;
const NEWFALSE: u8 = 0x89;
const BININT: u8 = b'J';
const BINFLOAT: u8 = b'G';
const TUPLE2: u8 = 0x86;
const STOP: u8 = b'.';

/// Whether a program has replaced how messages are pickled; it says so by
/// [`pickle_by_program`].
static REPLACED: AtomicBool = AtomicBool::new(false);

/// Chooses whether messages are written and read by a pickler of the program's own, or by ours.
#[pyfunction]
pub fn pickle_by_program(is_replaced: bool) {
    // Relaxed: a thread that must see it has learnt of it by other means.
    REPLACED.store(is_replaced, Ordering::Relaxed);
}

/// Tells whether the program pickles messages by itself.
pub fn is_replaced() -> bool {
    // Relaxed: pairs with nothing, see `pickle_by_program`.
    REPLACED.load(Ordering::Relaxed)
}

/// Bytes from which on a buffer goes beside the pickle. Below, the view that
/// the receiver needs costs more than copying (found by trial, numpy arrays).
const BESIDE_FROM: usize = 4096;

/// Bytes from which on a pickle is read where it lies. Below, the view costs more than copying.
const VIEWED_FROM: usize = 64 << 10;

/// Bytes of a cache line, and more than any type of numpy asks for.
pub const ALIGNMENT: usize = 64;

/// Bytes of a number in a message's head.
const NUMBER: usize = 8;

/// Set in the length of a buffer that was read-only in the sender.
const READ_ONLY: u64 = 1 << 63;

/// Holds a pickled object as the parts of a message, in order.
pub struct Pickled {
    head: Vec<u8>,
    pickle: Vec<Chunk>,
    buffers: Vec<PyBuffer<u8>>,
}

enum Chunk {
    /// The bytes that the pickler wrote.
    Written(Vec<u8>),
    /// A large bytes object that the pickler passed on as it is.
    Bytes(Py<PyBytes>),
}

impl Pickled {
    /// Copies the message into a block that carries the loans of its handles; returns the block and
    /// how many of its bytes count.
    pub fn ride(&self, py: Python<'_>, loans: Loans) -> PyResult<(shm::Block, usize)> {
        let len = self.len(py);
        let block = self.with_parts(py, |parts| {
            loans.into_message(procession_engine::family()?, parts, len)
        });
        Ok((block.or_raise()?, len))
    }

    /// Pickles an object by plain pickle. If the program has a pickler of its own, a
    /// function of `reduction` calls that.
    pub fn plain(object: &Bound<'_, PyAny>, function: &str) -> PyResult<Self> {
        if is_replaced() {
            Self::by_program(object, function)
        } else {
            Self::dump(object)
        }
    }

    /// Tells whether the pickle contains the bytes of a name. They may be something else.
    pub fn names(&self, py: Python<'_>, name: &[u8]) -> bool {
        let has = |chunk: &Chunk| chunk.bytes(py).windows(name.len()).any(|part| part == name);
        self.pickle.iter().any(has)
    }

    /// Pickles an object by the program's own pickler.
    fn by_program(object: &Bound<'_, PyAny>, function: &str) -> PyResult<Self> {
        let written = reduction(object.py())?.call_method1(function, (object,))?;
        let mut bytes = bytes_of(&PyBuffer::get(&written)?).to_vec();
        if bytes.first() != Some(&PICKLE) {
            bytes.insert(0, FOREIGN);
        }
        Ok(Self {
            head: Vec::new(),
            pickle: vec![Chunk::Written(bytes)],
            buffers: Vec::new(),
        })
    }

    fn dump(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        stay_when_ended();
        let py = object.py();
        let encoder = match IDLE
            .with_borrow_mut(|idle| idle.0.pop())
            .or_else(left_behind)
        {
            Some(encoder) => encoder,
            None => Encoder::new(py)?,
        };
        // An encoder is not used again once its pickler has failed.
        encoder.dump.call1(py, (object,))?;
        encoder.clear_memo.call0(py)?;
        let pickled = Self::of_sink(py, &mut encoder.sink.borrow_mut(py));
        IDLE.with_borrow_mut(|idle| idle.0.push(encoder));
        Ok(pickled)
    }

    /// Takes the bytes that a pickler has written.
    pub fn of_sink(py: Python<'_>, sink: &mut Sink) -> Self {
        let mut pickled = Self {
            head: Vec::new(),
            pickle: std::mem::take(&mut sink.pickle),
            buffers: std::mem::take(&mut sink.buffers),
        };
        if !pickled.buffers.is_empty() {
            pickled.head = pickled.write_head(py);
        }
        pickled
    }

    /// Says how long the pickle and each buffer are, and pads for the first buffer.
    fn write_head(&self, py: Python<'_>) -> Vec<u8> {
        let pickle_len: usize = self.pickle.iter().map(|chunk| chunk.bytes(py).len()).sum();
        let mut head = Vec::with_capacity(NUMBER * (3 + self.buffers.len()));
        head.extend_from_slice(&u64::from(BESIDE).to_le_bytes());
        head.extend_from_slice(&(self.buffers.len() as u64).to_le_bytes());
        head.extend_from_slice(&(pickle_len as u64).to_le_bytes());
        for buffer in &self.buffers {
            let read_only = u64::from(buffer.readonly()) * READ_ONLY;
            head.extend_from_slice(&(buffer.len_bytes() as u64 | read_only).to_le_bytes());
        }
        head
    }

    /// Calls `send` with the parts, the filling between them included.
    ///
    /// The memory belongs to the objects: if another thread changes it meanwhile,
    /// `send` sees the change, as with any buffer.
    pub fn with_parts<T>(&self, py: Python<'_>, send: impl FnOnce(&[&[u8]]) -> T) -> T {
        if self.head.is_empty()
            && let [chunk] = self.pickle.as_slice()
        {
            return send(&[chunk.bytes(py)]);
        }
        let mut parts: Vec<&[u8]> =
            Vec::with_capacity(2 + self.pickle.len() + 2 * self.buffers.len());
        let mut len = 0;
        let mut add = |part| {
            len += <[u8]>::len(part);
            parts.push(part);
            len
        };
        add(&self.head);
        let mut end = 0;
        for chunk in &self.pickle {
            end = add(chunk.bytes(py));
        }
        for buffer in &self.buffers {
            add(filling(end));
            end = add(bytes_of(buffer));
        }
        send(&parts)
    }

    /// Returns the bytes of the whole message.
    pub fn len(&self, py: Python<'_>) -> usize {
        self.with_parts(py, |parts| parts.iter().map(|part| part.len()).sum())
    }

    /// Copies the message into one piece of memory.
    pub fn copy_to(&self, py: Python<'_>, target: &mut [u8]) {
        self.with_parts(py, |parts| {
            let mut at = 0;
            for part in parts {
                target[at..at + part.len()].copy_from_slice(part);
                at += part.len();
            }
        });
    }
}

impl Chunk {
    fn bytes<'a>(&'a self, py: Python<'a>) -> &'a [u8] {
        match self {
            Self::Written(bytes) => bytes,
            Self::Bytes(bytes) => bytes.as_bytes(py),
        }
    }
}

/// Returns the pickle of an outcome whose value is true, false or a number; `None` for any other.
///
/// In a forked child, to make a pickler and call it writes to some sixty pages, which are copied
/// therefore: a tenth of the time of a process that does no more than return true.
pub fn pickle_of_simple(outcome: &Bound<'_, PyTuple>) -> PyResult<Option<Vec<u8>>> {
    if is_replaced() {
        return Ok(None);
    }
    let (succeeded, value) = outcome.extract::<(bool, Bound<'_, PyAny>)>()?;
    let flag = |is_true| if is_true { NEWTRUE } else { NEWFALSE };
    let mut pickle = vec![PICKLE, 2, flag(succeeded)];
    // Exactly these types: a subclass may pickle itself otherwise.
    if let Ok(value) = value.cast_exact::<PyBool>() {
        pickle.push(flag(value.is_true()));
    } else if let Ok(value) = value.cast_exact::<PyInt>()
        && let Ok(number) = value.extract::<i32>()
    {
        pickle.push(BININT);
        pickle.extend(number.to_le_bytes());
    } else if let Ok(value) = value.cast_exact::<PyFloat>() {
        pickle.push(BINFLOAT);
        pickle.extend(value.value().to_be_bytes());
    } else {
        return Ok(None);
    }
    pickle.extend([TUPLE2, STOP]);
    Ok(Some(pickle))
}

/// Returns the object of a message that lies in memory of ours.
pub fn load<'py>(py: Python<'py>, message: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    if let Some(&first) = message.first()
        && first != BESIDE
        && (first == FOREIGN || is_replaced())
    {
        let start = usize::from(first == FOREIGN);
        return load_by_program(PyBytes::new(py, &message[start..]).into_any());
    }
    load_started(py, message)
}

/// As [`load`], for the payload that a process was started with.
pub fn load_started<'py>(py: Python<'py>, message: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    if message.first() != Some(&BESIDE) {
        return match message.len() < VIEWED_FROM {
            true => loads(py)?.call1((PyBytes::new(py, message),)),
            false => load_in_place(py, message),
        };
    }
    // The message has buffers although it is too small for a block of its own: they are copied into
    // memory of the interpreter.
    let layout = Layout::read(message)?;
    let buffers = PyList::empty(py);
    for (start, len, read_only) in layout.buffers {
        let bytes = part(message, start, len)?;
        if read_only {
            buffers.append(Py::new(py, Copied::new(bytes))?)?;
        } else {
            buffers.append(pyo3::types::PyByteArray::new(py, bytes))?;
        }
    }
    let pickle = PyBytes::new(py, part(message, layout.pickle.0, layout.pickle.1)?);
    load_beside(py, pickle.as_any(), buffers)
}

/// Returns the object of a message that lies in a block of ours; if that fails, gives
/// back the handles that were lent with it.
pub fn receive<'py>(
    py: Python<'py>,
    block: impl Into<Arc<shm::Block>>,
    len: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let block = block.into();
    transfer::reading_block(&block, || load_block(py, Arc::clone(&block), 0, len))
}

/// Returns the object of a message that begins at `start` in a block of ours.
pub fn load_block<'py>(
    py: Python<'py>,
    block: impl Into<Arc<shm::Block>>,
    start: usize,
    len: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let block = block.into();
    let message = part(&block, start, len)?;
    if let Some(&first) = message.first()
        && first != BESIDE
        && (first == FOREIGN || is_replaced())
    {
        let skipped = usize::from(first == FOREIGN);
        let view = Py::new(py, BlockView::new(block, start + skipped, len - skipped))?;
        return load_by_program(view.into_bound(py).into_any());
    }
    load_started_block(py, block, start, len)
}

/// As [`load_block`], for the payload that a process was started with.
pub fn load_started_block<'py>(
    py: Python<'py>,
    block: impl Into<Arc<shm::Block>>,
    start: usize,
    len: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let block = block.into();
    let message = part(&block, start, len)?;
    if message.first() != Some(&BESIDE) {
        let view = Py::new(py, BlockView::new(block, start, len))?;
        return loads(py)?.call1((view,));
    }
    let layout = Layout::read(message)?;
    let (pickle_at, pickle_len) = layout.pickle;
    let pickle = (pickle_at, pickle_len, false);
    let is_outside =
        |&(at, size, _): &(usize, usize, bool)| at.checked_add(size).is_none_or(|end| end > len);
    if is_outside(&pickle) || layout.buffers.iter().any(is_outside) {
        return Err(value_error(
            "a message is shorter than its head says: another process has damaged it",
        ));
    }
    let view = |(at, size, read_only)| {
        let view = BlockView::new(block.clone(), start + at, size);
        Py::new(py, view.read_only(read_only))
    };
    let buffers = PyList::empty(py);
    for place in layout.buffers {
        buffers.append(view(place)?)?;
    }
    load_beside(py, view(pickle)?.bind(py), buffers)
}

/// Reads a plain pickle where it lies.
fn load_in_place<'py>(py: Python<'py>, pickle: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let (start, len) = (pickle.as_ptr().cast_mut().cast(), pickle.len());
    // SAFETY: the memory is there, and is `len` long, until the view is released below.
    let view = unsafe { ffi::PyMemoryView_FromMemory(start, len.cast_signed(), ffi::PyBUF_READ) };
    // SAFETY: it is new, or null with an exception.
    let view = unsafe { Bound::from_owned_ptr_or_err(py, view)? };
    let loaded = loads(py)?.call1((&view,));
    // Only the unpickler has seen the view, and it is gone.
    if view
        .call_method0(crate::once::intern!(py, "release"))
        .is_err()
    {
        std::process::abort();
    }
    loaded
}

fn load_beside<'py>(
    py: Python<'py>,
    pickle: &Bound<'py, PyAny>,
    buffers: Bound<'py, PyList>,
) -> PyResult<Bound<'py, PyAny>> {
    let keywords = PyDict::new(py);
    keywords.set_item(crate::once::intern!(py, "buffers"), buffers)?;
    loads(py)?.call((pickle,), Some(&keywords))
}

/// Tells where the parts of a message with buffers lie, as (start, length), and which
/// buffers were read-only.
struct Layout {
    pickle: (usize, usize),
    buffers: Vec<(usize, usize, bool)>,
}

impl Layout {
    fn read(message: &[u8]) -> PyResult<Self> {
        let word = |index: usize| -> PyResult<u64> {
            let bytes = part(message, index * NUMBER, NUMBER)?;
            let bytes = <[u8; NUMBER]>::try_from(bytes).expect("`part` returns what was asked");
            Ok(u64::from_le_bytes(bytes))
        };
        let number = |index| usize::try_from(word(index)?).map_err(|_| too_short());
        let count = number(1)?;
        // If the message is too short for the count, the first `number` fails.
        let mut at = count
            .checked_add(3)
            .and_then(|n| n.checked_mul(NUMBER))
            .ok_or_else(too_short)?;
        let pickle = (at, number(2)?);
        at = at.checked_add(pickle.1).ok_or_else(too_short)?;
        let mut buffers = Vec::new();
        for index in 0..count {
            at = at.checked_add(filling(at).len()).ok_or_else(too_short)?;
            let word = word(3 + index)?;
            let len = usize::try_from(word & !READ_ONLY).map_err(|_| too_short())?;
            buffers.push((at, len, word & READ_ONLY != 0));
            at = at.checked_add(len).ok_or_else(too_short)?;
        }
        Ok(Self { pickle, buffers })
    }
}

fn part(message: &[u8], start: usize, len: usize) -> PyResult<&[u8]> {
    let end = start.checked_add(len).ok_or_else(too_short)?;
    message.get(start..end).ok_or_else(too_short)
}

fn too_short() -> PyErr {
    value_error("a message is shorter than its head says: another process has damaged it")
}

/// Returns the zeros that lead from `end` to where a buffer may begin.
fn filling(end: usize) -> &'static [u8] {
    static ZEROS: [u8; ALIGNMENT] = [0; ALIGNMENT];
    &ZEROS[..end.next_multiple_of(ALIGNMENT) - end]
}

thread_local! {
    /// Encoders that this thread has made and does not use right now. More than one
    /// exists only where an object's own reducer sends a message itself.
    static IDLE: RefCell<Idle> = const { RefCell::new(Idle(Vec::new())) };
}

/// Encoders of threads that have ended, for those that need one.
///
/// Nobody waits for this lock: in a child that was forked while another thread had it, it is held
/// for ever.
static LEFT_BEHIND: Mutex<Vec<Encoder>> = Mutex::new(Vec::new());

struct Idle(Vec<Encoder>);

impl Drop for Idle {
    /// Leaves the encoders behind: a thread ends detached from the interpreter, where it must drop
    /// nothing of Python's.
    fn drop(&mut self) {
        if let Ok(mut left) = LEFT_BEHIND.try_lock() {
            left.append(&mut self.0);
        }
    }
}

fn left_behind() -> Option<Encoder> {
    LEFT_BEHIND.try_lock().ok()?.pop()
}

/// A C pickler, and what it writes to.
struct Encoder {
    dump: Py<PyAny>,
    clear_memo: Py<PyAny>,
    sink: Py<Sink>,
}

impl Encoder {
    fn new(py: Python<'_>) -> PyResult<Self> {
        static CLASS: PyOnce<PyAny> = PyOnce::new();
        static TABLE: PyOnce<PyAny> = PyOnce::new();
        let class = CLASS.import(py, "_pickle", "Pickler")?;
        let table = TABLE.get_or_try_init(py, || {
            let module = py.import("procession.reduction")?;
            module.getattr("ForkingPickler")?.getattr("_extra_reducers")
        })?;
        let sink = Bound::new(py, Sink::default())?;
        let keywords = PyDict::new(py);
        keywords.set_item("protocol", 5)?;
        keywords.set_item("buffer_callback", sink.getattr("take")?)?;
        let pickler = class.call((&sink,), Some(&keywords))?;
        pickler.setattr("dispatch_table", table)?;
        Ok(Self {
            dump: pickler.getattr("dump")?.unbind(),
            clear_memo: pickler.getattr("clear_memo")?.unbind(),
            sink: sink.unbind(),
        })
    }
}

/// Collects what a pickler writes.
#[pyclass(module = "procession._procession")]
#[derive(Default)]
pub struct Sink {
    pickle: Vec<Chunk>,
    buffers: Vec<PyBuffer<u8>>,
}

#[pymethods]
impl Sink {
    /// Takes the next bytes of the pickle.
    fn write(&mut self, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let chunk = match data.cast::<PyBytes>() {
            Ok(bytes) if bytes.as_bytes().len() >= BESIDE_FROM => {
                Chunk::Bytes(bytes.clone().unbind())
            }
            Ok(bytes) => Chunk::Written(bytes.as_bytes().to_vec()),
            // A bytearray might change before it is sent.
            Err(_) => Chunk::Written(bytes_of(&PyBuffer::get(data)?).to_vec()),
        };
        self.pickle.push(chunk);
        Ok(())
    }

    /// Takes a buffer to be put beside the pickle; returns true if the pickler is to put it into
    /// the pickle.
    fn take(&mut self, buffer: &Bound<'_, PyAny>) -> PyResult<bool> {
        let raw = match buffer.call_method0(crate::once::intern!(buffer.py(), "raw")) {
            Ok(raw) => raw,
            // The buffer is not in one piece: the pickler itself raises the error.
            Err(error) if error.is_instance_of::<PyBufferError>(buffer.py()) => return Ok(true),
            Err(error) => return Err(error),
        };
        let bytes = PyBuffer::<u8>::get(&raw)?;
        // In the pickle it would become `bytes`, and an array built on those could not
        // be written to. Where the object is `bytes` itself, that is right.
        let becomes_fixed = || -> PyResult<bool> {
            let of = raw.getattr(crate::once::intern!(buffer.py(), "obj"))?;
            Ok(bytes.readonly() && !of.is_instance_of::<PyBytes>())
        };
        if bytes.len_bytes() < BESIDE_FROM && !becomes_fixed()? {
            return Ok(true);
        }
        self.buffers.push(bytes);
        Ok(false)
    }
}

/// Reads a message by the program's own function.
fn load_by_program(message: Bound<'_, PyAny>) -> PyResult<Bound<'_, PyAny>> {
    let py = message.py();
    reduction(py)?.call_method1(crate::once::intern!(py, "loads"), (message,))
}

/// Returns the module that knows which picklers the program has replaced.
pub fn reduction(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    stay_when_ended();
    py.import(crate::once::intern!(py, "procession.reduction"))
}

/// Returns `_pickle.loads`.
fn loads(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    stay_when_ended();
    static LOADS: PyOnce<PyAny> = PyOnce::new();
    LOADS.import(py, "_pickle", "loads")
}

/// Returns the bytes of a buffer, which is of one piece.
pub fn bytes_of(buffer: &PyBuffer<u8>) -> &[u8] {
    if buffer.len_bytes() == 0 {
        return &[];
    }
    // SAFETY: the view is held, so the memory stays where it is, and is as long
    // as the view says.
    unsafe { std::slice::from_raw_parts(buffer.buf_ptr().cast::<u8>(), buffer.len_bytes()) }
}
