//! Bytes of the arena that Python objects look into: a received message's buffers.
//!
//! # Safety
//! A view keeps the block alive, and the block is this process's alone: the
//! sender gave it away. So the memory may be written, and lives as long as
//! anything that was built on it, such as a numpy array.

#![expect(unsafe_code, reason = "the buffer protocol")]

use std::ffi::{c_int, c_void};
use std::sync::Arc;

use procession_engine::arena;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;

/// Shows a part of a block that this process owns; the last view frees it.
#[pyclass(frozen, module = "procession._procession")]
pub struct BlockView {
    block: Arc<arena::Block>,
    start: usize,
    len: usize,
}

impl BlockView {
    /// Makes a view of `len` bytes at `start`; the caller has checked them.
    pub fn new(block: Arc<arena::Block>, start: usize, len: usize) -> Self {
        debug_assert!((start + len) as u64 <= block.capacity());
        Self { block, start, len }
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
        // SAFETY: Python passes a view to fill; the bytes live as long as `slf`.
        unsafe { fill(view, flags, slf.into_any(), at, len) }
    }
}

/// Fills in a view of writable bytes that live as long as `owner`.
///
/// # Safety
/// `view` is Python's to fill, and `at` is valid for `len` bytes while `owner` lives.
pub unsafe fn fill(
    view: *mut ffi::Py_buffer,
    flags: c_int,
    owner: Bound<'_, PyAny>,
    at: *mut u8,
    len: usize,
) -> PyResult<()> {
    if view.is_null() {
        return Err(PyBufferError::new_err("no view was given to fill"));
    }
    // SAFETY: `view` is valid; the call takes its own reference of `owner`.
    let code = unsafe {
        ffi::PyBuffer_FillInfo(
            view,
            owner.as_ptr(),
            at.cast::<c_void>(),
            isize::try_from(len).unwrap_or(isize::MAX),
            0,
            flags,
        )
    };
    if code < 0 {
        return Err(PyErr::fetch(owner.py()));
    }
    Ok(())
}
