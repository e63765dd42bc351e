//! One end of a pipe or a socket: messages over a descriptor.
//!
//! The bytes on the wire are the engine's business (`channel::pipe::framing`): those of
//! CPython, but for large messages over a pipe that procession made.
//!
//! # Safety
//! Python passes descriptors as plain numbers, and may close them behind a
//! connection's back. So before a use, this file looks whether the number still means
//! the same file, unless it has looked a moment ago.

#![expect(unsafe_code, reason = "descriptors that are plain numbers")]

use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use procession_engine::channel::pipe::receiving::{Begun, Receiving};
use procession_engine::channel::pipe::sending::Sending;
use procession_engine::channel::{self, Message, PipeHandle, PipeShared, SendWait};
use procession_engine::shm::Handle;
use procession_engine::sys::fd::kept_fd::Known;
use procession_engine::sys::wait::poll::wait_readable;
use procession_engine::sys::wait::time::Deadline;
use procession_engine::{Error, ErrorKind};
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::awaited::{Armed, AwaitedFd};
use crate::blocking::{deadline, nothing_yet, waiting};
use crate::error::{
    IntoPython, broken_pipe, buffer_too_short, end_of_file, os_error, to_python, value_error,
};
use crate::interpreter::stay_when_ended;
use crate::once::PyOnce;
use crate::outgoing::Outgoing;
use crate::pickle::{self, Pickled, bytes_of};
use crate::transfer;

/// How a pipe's end travels beside its descriptor: the offset and serial of
/// what both ends share, and which end it is.
type TrackNumbers = (u64, u64, u8);

/// One end of a pipe or a socket; the base of the class in `connection`.
#[pyclass(subclass, frozen, weakref, module = "procession._procession")]
pub struct Connection {
    /// The descriptor; -1 once closed.
    fd: AtomicI32,
    /// The file that it is open on.
    known: Known,
    readable: AtomicBool,
    writable: AtomicBool,
    /// What both ends of a pipe share; a connection to a stranger has none.
    track: Option<PipeShared>,
    /// Whether the other end is known to be procession, too.
    is_ours: AtomicBool,
    /// The part that has come of a message which a task has begun to receive.
    begun: Mutex<Option<Begun>>,
    awaited: AwaitedFd,
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

    /// As `open`, for uses that would do damage if the number meant another file.
    fn ours(&self) -> PyResult<BorrowedFd<'_>> {
        let fd = self.open()?;
        if !self.known.was_lately(fd) {
            return Err(os_error(
                "the program has closed the descriptor of this connection",
            ));
        }
        Ok(fd)
    }

    fn to_read(&self) -> PyResult<BorrowedFd<'_>> {
        let fd = self.ours()?;
        if !self.readable.load(Ordering::Relaxed) {
            return Err(os_error("connection is write-only"));
        }
        Ok(fd)
    }

    fn to_write(&self) -> PyResult<BorrowedFd<'_>> {
        let fd = self.ours()?;
        if !self.writable.load(Ordering::Relaxed) {
            return Err(os_error("connection is read-only"));
        }
        Ok(fd)
    }

    /// Sends one message, its bytes taken from the parts in turn.
    fn send_parts(&self, py: Python<'_>, parts: &[&[u8]]) -> PyResult<()> {
        let sending = Sending::new(self.to_write()?, self.track.as_ref(), parts);
        Self::go_on(py, sending)
    }

    fn go_on(py: Python<'_>, mut sending: Sending<'_>) -> PyResult<()> {
        loop {
            match py.detach(|| sending.go_on(Deadline::NEVER)) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => py.check_signals()?,
                Err(error) if error.kind() == ErrorKind::Closed => return Err(broken_pipe()),
                Err(error) => return Err(to_python(error)),
            }
        }
    }

    /// Receives one message.
    fn recv_message(&self, py: Python<'_>, most: usize) -> PyResult<Message> {
        self.recv_until(py, most, Deadline::NEVER)
    }

    /// Receives one message that must be whole at the deadline.
    fn recv_until(&self, py: Python<'_>, most: usize, end: Deadline) -> PyResult<Message> {
        let mut receiving = self.receiving(most)?;
        loop {
            // Without breaks: a receive that is told to block takes half the
            // time of one that polls with a timeout first.
            let error = match py.detach(|| receiving.go_on(end)) {
                Ok(message) => return Ok(message),
                Err(error) => error,
            };
            let error = match error.kind() {
                ErrorKind::TimedOut if end.has_passed() => to_python(error),
                ErrorKind::Interrupted | ErrorKind::TimedOut => match py.check_signals() {
                    Ok(()) => continue,
                    Err(raised) => raised,
                },
                _ => not_received(error),
            };
            if receiving.is_cut() {
                self.receive_no_more();
            }
            return Err(error);
        }
    }

    /// Gets ready for the next message, or for the rest of one.
    fn receiving(&self, most: usize) -> PyResult<Receiving<'_>> {
        let (fd, track) = (self.to_read()?, self.track.as_ref());
        Ok(match self.begun().take() {
            Some(begun) => Receiving::going_on(fd, track, most, begun),
            None => Receiving::new(fd, track, most),
        })
    }

    /// Receives one message if all of it is there, and otherwise keeps the part that has come.
    fn recv_now(&self, most: usize) -> PyResult<Option<Message>> {
        let mut receiving = self.receiving(most)?;
        loop {
            let error = match receiving.go_on(Deadline::now()) {
                Ok(message) => return Ok(Some(message)),
                Err(error) => error,
            };
            let error = match error.kind() {
                // More came meanwhile: try again.
                ErrorKind::Interrupted => continue,
                ErrorKind::TimedOut if receiving.is_broken_off().or_raise()? => {
                    os_error("got end of file during message: the sender has died")
                }
                ErrorKind::TimedOut => {
                    *self.begun() = receiving.into_begun();
                    return Ok(None);
                }
                _ => not_received(error),
            };
            if receiving.is_cut() {
                self.receive_no_more();
            }
            return Err(error);
        }
    }

    fn begun(&self) -> MutexGuard<'_, Option<Begun>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives up receiving: the next bytes do not begin a message.
    fn receive_no_more(&self) {
        if self.writable.load(Ordering::Relaxed) {
            self.readable.store(false, Ordering::Relaxed);
        } else {
            self.close();
        }
    }
}

#[pymethods]
impl Connection {
    #[new]
    #[pyo3(signature = (handle, readable=true, writable=true, *, _track=None))]
    fn new(
        handle: i32,
        readable: bool,
        writable: bool,
        _track: Option<TrackOf<'_>>,
    ) -> PyResult<Self> {
        if handle < 0 {
            return Err(value_error("invalid handle"));
        }
        if !readable && !writable {
            return Err(value_error(
                "at least one of `readable` and `writable` must be True",
            ));
        }
        // SAFETY: not negative; see the head of this file.
        let known = Known::by(unsafe { BorrowedFd::borrow_raw(handle) });
        Ok(Self {
            fd: AtomicI32::new(handle),
            known,
            readable: AtomicBool::new(readable),
            writable: AtomicBool::new(writable),
            is_ours: AtomicBool::new(_track.is_some()),
            track: _track.map(TrackOf::take).transpose()?,
            begun: Mutex::new(None),
            awaited: AwaitedFd::default(),
        })
    }

    #[getter]
    fn _is_ours(&self) -> bool {
        self.is_ours.load(Ordering::Relaxed)
    }

    #[setter(_is_ours)]
    fn set_is_ours(&self, is_ours: bool) {
        self.is_ours.store(is_ours, Ordering::Relaxed);
    }

    /// Returns the numbers from which, with the descriptor, another process makes the
    /// same end.
    fn _lend_track(&self) -> Option<TrackNumbers> {
        self.track.as_ref().map(lent)
    }

    #[getter]
    fn _handle(&self) -> Option<i32> {
        Some(self.fd.load(Ordering::Relaxed)).filter(|&fd| fd >= 0)
    }

    /// Sets the descriptor. The one before is not closed, because clients that take it away expect
    /// that.
    #[setter(_handle)]
    fn set_handle(&self, handle: Option<i32>) {
        let handle = handle.unwrap_or(-1);
        if handle >= 0 {
            // SAFETY: not negative; see the head of this file.
            self.known.set(unsafe { BorrowedFd::borrow_raw(handle) });
        }
        self.fd.store(handle, Ordering::Relaxed);
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

    /// Whether the connection is closed.
    #[getter]
    fn closed(&self) -> bool {
        self._handle().is_none()
    }

    /// Whether the connection can be read from.
    #[getter]
    fn readable(&self) -> bool {
        self._readable()
    }

    /// Whether the connection can be written to.
    #[getter]
    fn writable(&self) -> bool {
        self._writable()
    }

    /// Returns the descriptor.
    ///
    /// Example:
    ///
    ///     >>> import procession
    ///     >>> import select
    ///     >>> here, there = procession.Pipe()
    ///     >>> there.send("ring")
    ///     >>> readable, _, _ = select.select([here.fileno()], [], [], 30)
    ///     >>> readable == [here.fileno()], here.recv()
    ///     (True, 'ring')
    fn fileno(&self) -> PyResult<i32> {
        let fd = self._fileno()?;
        if let Some(track) = &self.track {
            track.keep_to_socket();
        }
        Ok(fd)
    }

    /// Returns the descriptor to one who only polls it, or hands it to another process.
    fn _fileno(&self) -> PyResult<i32> {
        self.ours()?;
        Ok(self.fd.load(Ordering::Relaxed))
    }

    /// Closes the connection. The other end reads what was sent, and then `EOFError`.
    ///
    /// Example:
    ///
    ///     >>> import procession
    ///     >>> here, there = procession.Pipe()
    ///     >>> there.send("last words")
    ///     >>> there.close()
    ///     >>> here.recv()
    ///     'last words'
    ///     >>> here.recv()
    ///     Traceback (most recent call last):
    ///     EOFError
    fn close(&self) {
        let fd = self.fd.swap(-1, Ordering::Relaxed);
        // SAFETY: not negative where it is used.
        if fd >= 0 && self.known.is(unsafe { BorrowedFd::borrow_raw(fd) }) {
            // SAFETY: the descriptor was ours, and nobody finds it here again.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
        }
    }

    /// Sends an object, which is pickled first.
    ///
    /// Raises:
    ///     OSError: The connection is closed or cannot be written to, or nobody has the other end.
    fn send(&self, py: Python<'_>, obj: &Bound<'_, PyAny>) -> PyResult<()> {
        self.to_write()?;
        if !self._is_ours() {
            let buffer = PyBuffer::get(&dumps_for_strangers(py)?.call1((obj,))?)?;
            return self.send_parts(py, &[bytes_of(&buffer)]);
        }
        let (pickled, loans) = Pickled::lending(obj)?;
        if let Some(track) = &self.track
            && !loans.is_empty()
        {
            let (block, len) = pickled.ride(py, loans)?;
            return Self::go_on(py, Sending::carrying(self.to_write()?, track, block, len));
        }
        loans.send_untracked();
        pickled.with_parts(py, |parts| self.send_parts(py, parts))
    }

    /// Pickles an object as a message to send.
    fn _prepare(&self, py: Python<'_>, obj: &Bound<'_, PyAny>) -> PyResult<Outgoing> {
        self.to_write()?;
        if !self._is_ours() {
            let buffer = PyBuffer::get(&dumps_for_strangers(py)?.call1((obj,))?)?;
            return Ok(Outgoing::new(bytes_of(&buffer).to_vec(), None));
        }
        let (pickled, loans) = Pickled::lending(obj)?;
        if self.track.is_some() && !loans.is_empty() {
            return Ok(Outgoing::new(Vec::new(), Some(pickled.ride(py, loans)?)));
        }
        loans.send_untracked();
        let bytes = pickled.with_parts(py, |parts| parts.concat());
        Ok(Outgoing::new(bytes, None))
    }

    /// Returns bytes as a message to send.
    #[pyo3(signature = (buf, offset=0, size=None))]
    fn _prepare_bytes(
        &self,
        buf: &Bound<'_, PyAny>,
        offset: isize,
        size: Option<isize>,
    ) -> PyResult<Outgoing> {
        self.to_write()?;
        let buffer = as_bytes(buf)?;
        let part = part_of(bytes_of(&buffer), offset, size)?;
        Ok(Outgoing::new(part.to_vec(), None))
    }

    /// Sends as much of a message as can be sent without a wait; tells whether that was all of it.
    fn _send_now(&self, message: &Outgoing) -> PyResult<bool> {
        message.send_now(self.to_write()?, self.track.as_ref())
    }

    /// Returns what to watch until more of a message can be sent.
    fn _arm_to_send(&self, message: &Outgoing) -> PyResult<Option<(Vec<i32>, Option<Armed>)>> {
        match (message.waits_for(), &self.track) {
            (None, _) => Ok(None),
            (Some(SendWait::Turn | SendWait::Flight(_)), None) => Ok(None),
            // Inverted, which says that it is to be watched for writing.
            (Some(SendWait::Room), _) => Ok(Some((vec![!self.to_write()?.as_raw_fd()], None))),
            (Some(wait), Some(track)) => {
                let make = || track.await_fd();
                let armed = self.awaited.arm(make, |fd| track.arm(fd, wait))?;
                Ok(armed.map(|(fds, armed)| (fds, Some(armed))))
            }
        }
    }

    /// Gives up the rest of a message. If a part has left, nothing can be sent any more.
    fn _give_up(&self, message: &Outgoing) {
        message.give_up(self.ours().ok(), self.track.as_ref());
    }

    /// Waits for an object, and returns it.
    ///
    /// Raises:
    ///     EOFError: Nobody has the other end, and nothing is left to read.
    ///     OSError: The connection is closed, or cannot be read from.
    fn recv<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        load(py, self.recv_message(py, usize::MAX)?)
    }

    /// Receives an object if it is there. Returns it in a tuple, or None.
    fn _recv_now<'py>(&self, py: Python<'py>) -> PyResult<Option<(Bound<'py, PyAny>,)>> {
        let message = self.recv_now(usize::MAX)?;
        message.map(|message| Ok((load(py, message)?,))).transpose()
    }

    /// Receives a message of bytes if it is there. Returns it in a tuple, or None.
    #[pyo3(signature = (maxlength=None))]
    fn _recv_bytes_now<'py>(
        &self,
        py: Python<'py>,
        maxlength: Option<isize>,
    ) -> PyResult<Option<(Bound<'py, PyBytes>,)>> {
        self.to_read()?;
        let Some(message) = self.recv_now(longest(maxlength)?)? else {
            return Ok(None);
        };
        message.read(|bytes, _| Ok(Some((PyBytes::new(py, bytes),))))
    }

    /// Tells whether a part of a message has come; the rest may never come.
    #[getter]
    fn _has_begun(&self) -> bool {
        self.begun().is_some()
    }

    /// Sends bytes as one message.
    ///
    /// Args:
    ///     buf: What has the bytes.
    ///     offset: Where in `buf` the message begins.
    ///     size: The number of bytes; None for all that follow.
    ///
    /// Raises:
    ///     ValueError: `offset` or `size` is not within `buf`.
    ///     OSError: The connection is closed or cannot be written to, or nobody has the other end.
    ///
    /// Example:
    ///
    ///     >>> import procession
    ///     >>> here, there = procession.Pipe()
    ///     >>> here.send_bytes(b"0123456789", 2, 3)
    ///     >>> there.recv_bytes()
    ///     b'234'
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
        self.send_parts(py, &[part_of(bytes_of(&buffer), offset, size)?])
    }

    /// Waits for a message of bytes, and returns them.
    ///
    /// Args:
    ///     maxlength: The most bytes that the message may have; None for any number.
    ///
    /// Raises:
    ///     EOFError: Nobody has the other end, and nothing is left to read.
    ///     OSError: The message is longer, or the connection is closed or cannot be read from.
    #[pyo3(signature = (maxlength=None))]
    fn recv_bytes<'py>(
        &self,
        py: Python<'py>,
        maxlength: Option<isize>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        self.to_read()?;
        let message = self.recv_message(py, longest(maxlength)?)?;
        message.read(|bytes, _| Ok(PyBytes::new(py, bytes)))
    }

    /// Receives bytes that must all arrive in time, from a peer that is not known yet.
    fn _recv_bytes_within<'py>(
        &self,
        py: Python<'py>,
        maxlength: usize,
        timeout: f64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let message = self.recv_until(py, maxlength, deadline(Some(timeout))?)?;
        Ok(PyBytes::new(py, &message))
    }

    /// Waits for a message of bytes, and writes it into a buffer.
    ///
    /// Args:
    ///     buf: What the bytes are written to.
    ///     offset: Where in `buf` they begin.
    ///
    /// Returns:
    ///     The number of bytes.
    ///
    /// Raises:
    ///     BufferTooShort: The message does not fit; it is the error's `args[0]`.
    ///     EOFError: Nobody has the other end, and nothing is left to read.
    ///
    /// Example:
    ///
    ///     >>> import procession
    ///     >>> here, there = procession.Pipe()
    ///     >>> here.send_bytes(b"news")
    ///     >>> page = bytearray(b"no ....")
    ///     >>> there.recv_bytes_into(page, 3), page
    ///     (4, bytearray(b'no news'))
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
        let message = self.recv_message(py, usize::MAX)?;
        if buffer.len_bytes() - offset < message.len() {
            return Err(buffer_too_short(PyBytes::new(py, &message).into_any()));
        }
        // SAFETY: there is room for them behind `offset`, as was just checked.
        let to = unsafe { buffer.buf_ptr().cast::<u8>().add(offset) };
        message.read(|bytes, _| {
            // SAFETY: the view is writable and held; a fresh message does not overlap it.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
            Ok(bytes.len())
        })
    }

    /// Waits until there is something to read or the time is over.
    ///
    /// Args:
    ///     timeout: The seconds to wait at most; None for as long as it takes.
    ///
    /// Returns:
    ///     Whether there is something to read, which the end of the other side is, too.
    ///
    /// Example:
    ///
    ///     >>> import procession
    ///     >>> here, there = procession.Pipe()
    ///     >>> here.poll()
    ///     False
    ///     >>> there.send(1)
    ///     >>> here.poll(timeout=30)
    ///     True
    #[pyo3(signature = (timeout=Some(0.0)), text_signature = "($self, timeout=0.0)")]
    fn poll(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let fd = self.to_read()?;
        let end = deadline(timeout)?;
        if let Some(track) = &self.track
            && track.has_orphan().or_raise()?
        {
            return Ok(true);
        }
        let readable = waiting(py, end, |end| {
            wait_readable(fd, end)?
                .then_some(())
                .ok_or_else(nothing_yet)
        })?;
        Ok(readable.is_some())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}

/// Returns the object that a message has.
fn load(py: Python<'_>, message: Message) -> PyResult<Bound<'_, PyAny>> {
    match message.into_block() {
        Ok((block, len)) => pickle::receive(py, block, len),
        Err(message) => pickle::load(py, &message),
    }
}

/// Returns the part of the bytes that Python's arguments select.
fn part_of(bytes: &[u8], offset: isize, size: Option<isize>) -> PyResult<&[u8]> {
    let offset = usize::try_from(offset).map_err(|_| value_error("offset is negative"))?;
    let rest = bytes
        .get(offset..)
        .ok_or_else(|| value_error("buffer length < offset"))?;
    let Some(size) = size else { return Ok(rest) };
    let size = usize::try_from(size).map_err(|_| value_error("size is negative"))?;
    rest.get(..size)
        .ok_or_else(|| value_error("buffer length < offset + size"))
}

/// Returns how long a message may be, from Python's argument.
fn longest(maxlength: Option<isize>) -> PyResult<usize> {
    let most = maxlength.map(usize::try_from).transpose();
    let most = most.map_err(|_| value_error("negative maxlength"))?;
    Ok(most.unwrap_or(usize::MAX))
}

/// Returns the exception for a message that cannot be received.
fn not_received(error: Error) -> PyErr {
    match error.kind() {
        ErrorKind::Closed => end_of_file(),
        ErrorKind::Dead => os_error(format!("got end of file during message: {error}")),
        ErrorKind::Limit if error.errno().is_none() => {
            os_error(format!("bad message length: {error}"))
        }
        _ => to_python(error),
    }
}

/// Returns the function that pickles for a reader that may not be procession.
fn dumps_for_strangers(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    stay_when_ended();
    static DUMPS: PyOnce<PyAny> = PyOnce::new();
    DUMPS.import(py, "procession._strangers", "dumps")
}

/// The shared part of a pipe that was made in this process; it goes with the
/// descriptor.
#[pyclass(frozen, module = "procession._procession", name = "Track")]
pub struct OwnTrack(PipeShared);

/// Says where a connection finds the shared part that goes with its descriptor.
#[derive(FromPyObject)]
enum TrackOf<'py> {
    /// It was made in this process.
    Here(Bound<'py, OwnTrack>),
    /// Another process has lent it.
    Lent(TrackNumbers),
}

impl TrackOf<'_> {
    fn take(self) -> PyResult<PipeShared> {
        match self {
            Self::Here(track) => Ok(track.get().0.clone()),
            Self::Lent(numbers) => attach(numbers),
        }
    }
}

/// Returns both ends of a pipe, connections of a class. Each descriptor has an owner at
/// every moment.
#[pyfunction]
pub fn pipe<'py>(
    class: &Bound<'py, PyAny>,
    duplex: bool,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let py = class.py();
    let [first, second] = channel::pipe().or_raise()?;
    let connection = |(fd, track): (OwnedFd, PipeShared), readable: bool, writable: bool| {
        let keywords = PyDict::new(py);
        keywords.set_item("_track", Bound::new(py, OwnTrack(track))?)?;
        let made = class.call((fd.as_raw_fd(), readable, writable), Some(&keywords))?;
        // The connection owns the descriptor now.
        let _ = fd.into_raw_fd();
        Ok::<_, PyErr>(made)
    };
    Ok((
        connection(first, true, duplex)?,
        connection(second, duplex, true)?,
    ))
}

fn lent(track: &PipeShared) -> TrackNumbers {
    let PipeHandle { object, side } = transfer::lend(|loans| track.lend(loans));
    (object.offset, object.serial, side)
}

fn attach((offset, serial, side): TrackNumbers) -> PyResult<PipeShared> {
    let object = Handle { offset, serial };
    let handle = PipeHandle { object, side };
    transfer::attach(|source| PipeShared::attach(handle, source)).or_raise()
}

/// Returns the bytes of any object that has a buffer of one piece.
fn as_bytes(object: &Bound<'_, PyAny>) -> PyResult<PyBuffer<u8>> {
    match PyBuffer::get(object) {
        Ok(buffer) if buffer.is_c_contiguous() => Ok(buffer),
        // The buffer has items other than bytes.
        _ => {
            let view = pyo3::types::PyMemoryView::from(object)?;
            PyBuffer::get(&view.call_method1("cast", ("B",))?)
        }
    }
}
