//! One end of a pipe or a socket: messages over a descriptor.
//!
//! On the wire a message is what CPython's is: its length as a big-endian i32,
//! or -1 and then a u64, and its bytes. Between relatives a large message lies
//! in the arena instead: -2, then offset and length of its block as u64.
//!
//! # Safety
//! Python passes descriptors as plain numbers, and may close them behind a
//! connection's back, as with any file. A call then fails, or reaches whatever
//! has the number by then.

#![expect(unsafe_code, reason = "descriptors that are plain numbers")]

use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use procession_engine::arena::{Block, Stamp};
use procession_engine::os::poll::wait_readable;
use procession_engine::os::socket;
use procession_engine::os::time::Deadline;
use procession_engine::{Error, ErrorKind};
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::{
    IntoPython, broken_pipe, buffer_too_short, end_of_file, os_error, to_python, value_error,
};
use crate::pickle::{self, Pickled, bytes_of};
use crate::wait::{deadline, detached};

/// Bytes from which on a message for a relative lies in the arena.
const APART_FROM: usize = 128 * 1024;

/// Bytes that may wait in a socket for a message to still go through the arena;
/// some ten messages. Beyond, it goes through the socket, which makes a sender
/// wait that is faster than its receiver.
const IN_FLIGHT: usize = 8 * 1024;

const LONG: i32 = -1;
const APART: i32 = -2;

/// One end of a pipe or a socket; the base of the class in `connection`.
#[pyclass(subclass, frozen, weakref, module = "procession._procession")]
pub struct Connection {
    /// The descriptor; -1 once closed.
    fd: AtomicI32,
    readable: AtomicBool,
    writable: AtomicBool,
    /// Whether the other end is a relative's.
    #[pyo3(get)]
    _family: bool,
}

/// A message as it came.
enum Message {
    Bytes(Vec<u8>),
    Block(Block, usize),
}

impl Message {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Block(block, len) => &block[..*len],
        }
    }
}

impl Connection {
    fn open(&self) -> PyResult<BorrowedFd<'_>> {
        let fd = self.fd.load(Ordering::Relaxed);
        if fd < 0 {
            return Err(os_error("handle is closed"));
        }
        // SAFETY: not negative; see the head of this file.
        Ok(unsafe { BorrowedFd::borrow_raw(fd) })
    }

    fn to_read(&self) -> PyResult<BorrowedFd<'_>> {
        let fd = self.open()?;
        if !self.readable.load(Ordering::Relaxed) {
            return Err(os_error("connection is write-only"));
        }
        Ok(fd)
    }

    fn to_write(&self) -> PyResult<BorrowedFd<'_>> {
        let fd = self.open()?;
        if !self.writable.load(Ordering::Relaxed) {
            return Err(os_error("connection is read-only"));
        }
        Ok(fd)
    }

    /// Sends one message, its bytes taken from the parts in turn.
    fn send_parts(&self, py: Python<'_>, parts: &[&[u8]]) -> PyResult<()> {
        let fd = self.to_write()?;
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if self._family
            && len >= APART_FROM
            && socket::unsent(fd).is_ok_and(|waiting| waiting < IN_FLIGHT)
            && let Ok(block) = Block::new(len as u64)
        {
            return send_apart(py, fd, block, parts, len);
        }
        let mut head = Vec::with_capacity(12);
        match i32::try_from(len) {
            Ok(short) => head.extend_from_slice(&short.to_be_bytes()),
            Err(_) => {
                head.extend_from_slice(&LONG.to_be_bytes());
                head.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        let all: Vec<&[u8]> = std::iter::once(head.as_slice())
            .chain(parts.iter().copied())
            .collect();
        send_all(py, fd, &all)
    }

    /// Receives one message; `None` when it is longer than it may be.
    fn recv_message(&self, py: Python<'_>, most: Option<usize>) -> PyResult<Option<Message>> {
        let fd = self.to_read()?;
        let first = i32::from_be_bytes(recv_array(py, fd, true)?);
        if first == APART && self._family {
            let offset = u64::from_be_bytes(recv_array(py, fd, false)?);
            let len = u64::from_be_bytes(recv_array(py, fd, false)?) as usize;
            let block = Block::claim(offset, Stamp::NOBODY).or_raise()?;
            let fits = most.is_none_or(|most| len <= most) && len as u64 <= block.capacity();
            return Ok(fits.then_some(Message::Block(block, len)));
        }
        let len = match first {
            LONG => u64::from_be_bytes(recv_array(py, fd, false)?),
            other => u64::try_from(other).unwrap_or(u64::MAX),
        };
        let Some(len) = usize::try_from(len)
            .ok()
            .filter(|&len| most.is_none_or(|most| len <= most))
        else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        loop {
            match py.detach(|| socket::recv_vec(fd, &mut bytes, len, Deadline::NEVER)) {
                Ok(()) => return Ok(Some(Message::Bytes(bytes))),
                Err(error) => recv_failed(py, error, false)?,
            }
        }
    }

    /// Gives up what cannot be in step any more: a message of a length it may not have.
    fn bad_length(&self) -> PyErr {
        if self.writable.load(Ordering::Relaxed) {
            self.readable.store(false, Ordering::Relaxed);
        } else {
            self.close();
        }
        os_error("bad message length")
    }
}

#[pymethods]
impl Connection {
    #[new]
    #[pyo3(signature = (handle, readable=true, writable=true, *, _family=false))]
    fn new(handle: i32, readable: bool, writable: bool, _family: bool) -> PyResult<Self> {
        if handle < 0 {
            return Err(value_error("invalid handle"));
        }
        if !readable && !writable {
            return Err(value_error(
                "at least one of `readable` and `writable` must be True",
            ));
        }
        Ok(Self {
            fd: AtomicI32::new(handle),
            readable: AtomicBool::new(readable),
            writable: AtomicBool::new(writable),
            _family,
        })
    }

    #[getter]
    fn _handle(&self) -> Option<i32> {
        Some(self.fd.load(Ordering::Relaxed)).filter(|&fd| fd >= 0)
    }

    /// Sets the descriptor; the one before is not closed, as clients expect
    /// who take it away.
    #[setter(_handle)]
    fn set_handle(&self, handle: Option<i32>) {
        self.fd.store(handle.unwrap_or(-1), Ordering::Relaxed);
    }

    #[getter]
    fn _readable(&self) -> bool {
        self.readable.load(Ordering::Relaxed)
    }

    #[setter(_readable)]
    fn set_readable(&self, readable: bool) {
        self.readable.store(readable, Ordering::Relaxed);
    }

    #[getter]
    fn _writable(&self) -> bool {
        self.writable.load(Ordering::Relaxed)
    }

    #[setter(_writable)]
    fn set_writable(&self, writable: bool) {
        self.writable.store(writable, Ordering::Relaxed);
    }

    #[getter]
    fn closed(&self) -> bool {
        self._handle().is_none()
    }

    #[getter]
    fn readable(&self) -> bool {
        self._readable()
    }

    #[getter]
    fn writable(&self) -> bool {
        self._writable()
    }

    fn fileno(&self) -> PyResult<i32> {
        self.open()?;
        Ok(self.fd.load(Ordering::Relaxed))
    }

    fn close(&self) {
        let fd = self.fd.swap(-1, Ordering::Relaxed);
        if fd >= 0 {
            // SAFETY: the descriptor was ours, and nobody finds it here again.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
        }
    }

    fn send(&self, py: Python<'_>, obj: &Bound<'_, PyAny>) -> PyResult<()> {
        self.to_write()?;
        let pickled = Pickled::new(obj)?;
        pickled.with_parts(py, |parts| self.send_parts(py, parts))
    }

    fn recv<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.recv_message(py, None)? {
            Some(Message::Bytes(bytes)) => pickle::load(py, &bytes),
            Some(Message::Block(block, len)) => pickle::load_block(py, block, 0, len),
            None => Err(self.bad_length()),
        }
    }

    #[pyo3(signature = (buf, offset=0, size=None))]
    fn send_bytes(
        &self,
        py: Python<'_>,
        buf: &Bound<'_, PyAny>,
        offset: isize,
        size: Option<isize>,
    ) -> PyResult<()> {
        self.to_write()?;
        let buffer = as_bytes(buf)?;
        let bytes = bytes_of(&buffer);
        let offset = usize::try_from(offset).map_err(|_| value_error("offset is negative"))?;
        let rest = bytes
            .get(offset..)
            .ok_or_else(|| value_error("buffer length < offset"))?;
        let part = match size {
            None => rest,
            Some(size) => {
                let size = usize::try_from(size).map_err(|_| value_error("size is negative"))?;
                rest.get(..size)
                    .ok_or_else(|| value_error("buffer length < offset + size"))?
            }
        };
        self.send_parts(py, &[part])
    }

    #[pyo3(signature = (maxlength=None))]
    fn recv_bytes<'py>(
        &self,
        py: Python<'py>,
        maxlength: Option<isize>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        self.to_read()?;
        let most = maxlength.map(usize::try_from).transpose();
        let most = most.map_err(|_| value_error("negative maxlength"))?;
        match self.recv_message(py, most)? {
            Some(message) => Ok(PyBytes::new(py, message.bytes())),
            None => Err(self.bad_length()),
        }
    }

    #[pyo3(signature = (buf, offset=0))]
    fn recv_bytes_into(
        &self,
        py: Python<'_>,
        buf: &Bound<'_, PyAny>,
        offset: isize,
    ) -> PyResult<usize> {
        self.to_read()?;
        let buffer = as_bytes(buf)?;
        if buffer.readonly() {
            return Err(crate::error::type_error("the buffer is read-only"));
        }
        let offset = usize::try_from(offset).map_err(|_| value_error("negative offset"))?;
        if offset > buffer.len_bytes() {
            return Err(value_error("offset too large"));
        }
        let Some(message) = self.recv_message(py, None)? else {
            return Err(self.bad_length());
        };
        let bytes = message.bytes();
        if buffer.len_bytes() - offset < bytes.len() {
            return Err(buffer_too_short(PyBytes::new(py, bytes).into_any()));
        }
        // SAFETY: there is room for them behind `offset`, as was just checked.
        let to = unsafe { buffer.buf_ptr().cast::<u8>().add(offset) };
        // SAFETY: the view is writable and held; a fresh message does not overlap it.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        Ok(bytes.len())
    }

    #[pyo3(signature = (timeout=Some(0.0)), text_signature = "($self, timeout=0.0)")]
    fn poll(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let fd = self.to_read()?;
        let end = deadline(timeout)?;
        detached(py, || wait_readable(fd, end))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}

/// Returns two descriptors that are connected in both directions.
#[pyfunction]
pub fn pipe() -> PyResult<(i32, i32)> {
    let (first, second) = socket::stream_pair().or_raise()?;
    Ok((first.into_raw_fd(), second.into_raw_fd()))
}

/// Returns the bytes of any object that has a buffer of one piece.
fn as_bytes(object: &Bound<'_, PyAny>) -> PyResult<PyBuffer<u8>> {
    match PyBuffer::get(object) {
        Ok(buffer) if buffer.is_c_contiguous() => Ok(buffer),
        // Of other items than bytes.
        _ => {
            let view = pyo3::types::PyMemoryView::from(object)?;
            PyBuffer::get(&view.call_method1("cast", ("B",))?)
        }
    }
}

/// Puts a message into a block, and tells the other end where it is.
fn send_apart(
    py: Python<'_>,
    fd: BorrowedFd<'_>,
    mut block: Block,
    parts: &[&[u8]],
    len: usize,
) -> PyResult<()> {
    let mut at = 0;
    for part in parts {
        block[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    // Nobody's while it is on its way: the sender may exit before it is read.
    let offset = block.disown().or_raise()?;
    let mut head = Vec::with_capacity(20);
    head.extend_from_slice(&APART.to_be_bytes());
    head.extend_from_slice(&offset.to_be_bytes());
    head.extend_from_slice(&(len as u64).to_be_bytes());
    let sent = send_all(py, fd, &[&head]);
    if sent.is_err() {
        drop(Block::claim(offset, Stamp::NOBODY));
    }
    sent
}

fn send_all(py: Python<'_>, fd: BorrowedFd<'_>, parts: &[&[u8]]) -> PyResult<()> {
    let mut sent = 0;
    loop {
        match py.detach(|| socket::send_all(fd, parts, &mut sent, Deadline::NEVER)) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => py.check_signals()?,
            Err(error) if error.kind() == ErrorKind::Closed => return Err(broken_pipe()),
            Err(error) => return Err(to_python(error)),
        }
    }
}

/// Receives a few bytes; `first` says that a message begins with them.
fn recv_array<const N: usize>(
    py: Python<'_>,
    fd: BorrowedFd<'_>,
    first: bool,
) -> PyResult<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    loop {
        match py.detach(|| socket::recv_exact(fd, &mut bytes, &mut filled, Deadline::NEVER)) {
            Ok(()) => return Ok(bytes),
            Err(error) => recv_failed(py, error, first && filled == 0)?,
        }
    }
}

/// Returns if it was a signal, and the rest may be received.
fn recv_failed(py: Python<'_>, error: Error, between_messages: bool) -> PyResult<()> {
    match error.kind() {
        ErrorKind::Interrupted => py.check_signals(),
        ErrorKind::Closed if between_messages => Err(end_of_file()),
        ErrorKind::Closed => Err(os_error("got end of file during message")),
        _ => Err(to_python(error)),
    }
}
