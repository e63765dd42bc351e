//! Bytes of the arena that Python objects look into: a received message's buffers.
//!
//! # Safety
//! A view keeps the block alive, and the block is this process's alone: the
//! sender gave it away. So the memory may be written, and lives as long as
//! anything that was built on it, such as a numpy array.

#![expect(unsafe_code, reason = "the buffer protocol")]

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::sync::Arc;

use procession_engine::shm;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;

/// Shows a part of a block that this process owns; the last view frees it.
#[pyclass(frozen, module = "procession._procession")]
pub struct BlockView {
    block: Arc<shm::Block>,
    start: usize,
    len: usize,
    /// The sender's buffer was read-only: this view is, too, for a caller that does not
    /// ask to write.
    ///
    /// If the pickle says that the sender's buffer could not be written, an unpickler
    /// hands on a view that cannot be written either. So an array gets this object
    /// itself, asks to write, and may: no other process has the memory.
    read_only: bool,
}

impl BlockView {
    /// Makes a view of `len` bytes at `start`; the caller has checked them.
    pub fn new(block: Arc<shm::Block>, start: usize, len: usize) -> Self {
        debug_assert!((start + len) as u64 <= block.capacity());
        Self {
            block,
            start,
            len,
            read_only: false,
        }
    }

    /// Has the view call itself read-only for callers that do not ask to write.
    pub fn read_only(self, read_only: bool) -> Self {
        Self { read_only, ..self }
    }
}

#[pymethods]
impl BlockView {
    fn __len__(&self) -> usize {
        self.len
    }

    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let this = slf.get();
        // SAFETY: `start` is inside the block.
        let at = unsafe { this.block.as_ptr().add(this.start) };
        let len = this.len;
        let read_only = this.read_only;
        // SAFETY: Python passes a view to fill; the bytes live as long as `slf`.
        unsafe { fill(view, flags, slf.into_any(), (at, len), read_only) }
    }
}

/// Holds bytes of a message that had no block; for a message with a block, [`BlockView`]
/// does the same.
#[pyclass(frozen, module = "procession._procession")]
pub struct Copied(Box<[UnsafeCell<u8>]>);

// SAFETY: Rust never looks at the bytes once Python has the object.
unsafe impl Sync for Copied {}

impl Copied {
    /// Copies bytes that were read-only in the sender.
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.iter().copied().map(UnsafeCell::new).collect())
    }
}

#[pymethods]
impl Copied {
    fn __len__(&self) -> usize {
        self.0.len()
    }

    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let bytes = &slf.get().0;
        let (at, len) = (bytes.as_ptr().cast::<u8>().cast_mut(), bytes.len());
        // SAFETY: Python passes a view to fill; the bytes live as long as `slf`.
        unsafe { fill(view, flags, slf.into_any(), (at, len), true) }
    }
}

/// Fills in a view of bytes that live as long as `owner`: writable, or `read_only` for
/// callers that do not ask to write.
///
/// # Safety
/// `view` is Python's to fill, and `at` is valid for `len` bytes while `owner` lives.
pub unsafe fn fill(
    view: *mut ffi::Py_buffer,
    flags: c_int,
    owner: Bound<'_, PyAny>,
    (at, len): (*mut u8, usize),
    read_only: bool,
) -> PyResult<()> {
    if view.is_null() {
        return Err(PyBufferError::new_err("no view was given to fill"));
    }
    let read_only = read_only && flags & ffi::PyBUF_WRITABLE == 0;
    // SAFETY: `view` is valid; the call takes its own reference of `owner`.
    let code = unsafe {
        ffi::PyBuffer_FillInfo(
            view,
            owner.as_ptr(),
            at.cast::<c_void>(),
            isize::try_from(len).unwrap_or(isize::MAX),
            c_int::from(read_only),
            flags,
        )
    };
    if code < 0 {
        return Err(PyErr::fetch(owner.py()));
    }
    Ok(())
}
