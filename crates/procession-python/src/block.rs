//! Memory that several processes see: what lies under shared ctypes objects.
//!
//! # Safety
//! The buffer is an object's body: it stays while the pyclass, which every view
//! of it holds, keeps this process attached. Others write to it meanwhile; what
//! is read there may be any bytes.

#![expect(unsafe_code, reason = "the buffer protocol")]

use std::ffi::c_int;
use std::sync::atomic::AtomicU64;

use procession_engine::shm::{Handle, SharedObject};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::buffer::fill;
use crate::error::IntoPython;
use crate::transfer;

/// No words of its own: all of the memory lies behind them.
type Bytes = [AtomicU64; 0];

/// Owns a share in a piece of memory that is zero at first.
#[pyclass(frozen, weakref, module = "procession._procession")]
pub struct Block {
    object: SharedObject<Bytes>,
    len: u64,
}

#[pymethods]
impl Block {
    #[new]
    fn new(size: u64) -> PyResult<Self> {
        let family = procession_engine::family().or_raise()?;
        let object = SharedObject::create(family, size).or_raise()?;
        Ok(Self { object, len: size })
    }

    fn __len__(&self) -> usize {
        self.len as usize
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (u64, u64, u64))> {
        let Handle { offset, serial } = transfer::lend(|loans| self.object.lend(loans));
        Ok((
            crate::rebuilder(py, "rebuild_block")?,
            (offset, serial, self.len),
        ))
    }

    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let this = slf.get();
        let at = this.object.view().behind(0, this.len).as_ptr();
        let len = this.len as usize;
        // SAFETY: Python passes a view to fill; the body stays while `slf` lives.
        unsafe { fill(view, flags, slf.into_any(), (at, len), false) }
    }
}

/// Attaches to a block that another process has lent.
#[pyfunction]
pub fn rebuild_block(offset: u64, serial: u64, len: u64) -> PyResult<Block> {
    let family = procession_engine::family().or_raise()?;
    let handle = Handle { offset, serial };
    let object =
        transfer::attach(|source| SharedObject::attach(family, handle, source)).or_raise()?;
    Ok(Block { object, len })
}
