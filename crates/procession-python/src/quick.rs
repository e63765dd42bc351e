//! `Lock.acquire()` and `release()` for the case that nobody is in the way.
//!
//! Programs call them in their hottest loops, where what PyO3 does around a
//! method (reading arguments, checking the type, catching panics) takes longer
//! than the lock itself. So these two are functions of Python's own kind. They
//! do the case without arguments and without a wait, and leave everything else
//! to the methods in `lock.rs`, which are there under a leading underscore.
//!
//! # Safety
//! Python calls a method that was made for a type with an instance of it,
//! attached to the interpreter. Nothing here panics.

#![expect(unsafe_code, reason = "functions that Python calls directly")]

use std::ffi::CStr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyType};

use crate::lock::Lock;

/// What Python shows of `acquire`; the first lines are its signature.
const ACQUIRE: &CStr = c"acquire($self, /, block=True, timeout=None)\n--\n\n\
    Takes the lock.\n\n\
    Args:\n\
    \x20   block: Whether to wait for the lock.\n\
    \x20   timeout: The seconds to wait at most; None for as long as it takes.\n\n\
    Returns:\n\
    \x20   Whether the lock was taken before the time was over.\n\n\
    Raises:\n\
    \x20   OwnerDied: A process died while it held the lock, which is free again now.";

/// As above, of `release`.
const RELEASE: &CStr = c"release($self, /)\n--\n\n\
    Gives the lock back; any process and thread may do it.\n\n\
    Raises:\n\
    \x20   ValueError: The lock is free already.";

/// Puts the quick methods into the class.
pub fn add_to(py: Python<'_>) -> PyResult<()> {
    let class = py.get_type::<Lock>();
    let acquire = ffi::PyMethodDef {
        ml_name: c"acquire".as_ptr(),
        ml_meth: ffi::PyMethodDefPointer {
            PyCFunctionWithKeywords: acquire,
        },
        ml_flags: ffi::METH_VARARGS | ffi::METH_KEYWORDS,
        ml_doc: ACQUIRE.as_ptr(),
    };
    let release = ffi::PyMethodDef {
        ml_name: c"release".as_ptr(),
        ml_meth: ffi::PyMethodDefPointer {
            PyCFunction: release,
        },
        ml_flags: ffi::METH_NOARGS,
        ml_doc: RELEASE.as_ptr(),
    };
    add(&class, c"acquire", acquire)?;
    add(&class, c"release", release)
}

fn add(class: &Bound<'_, PyType>, name: &CStr, method: ffi::PyMethodDef) -> PyResult<()> {
    // As long as the class, which is for ever.
    let method: *mut ffi::PyMethodDef = Box::leak(Box::new(method));
    // SAFETY: the class is one, and the definition lives as long as it.
    let made = unsafe { ffi::PyDescr_NewMethod(class.as_type_ptr(), method) };
    // SAFETY: a new reference, or null and an exception.
    let made = unsafe { Bound::from_owned_ptr_or_err(class.py(), made) }?;
    class.setattr(name, made)
}

/// Takes the lock, if there are no arguments and the lock is free.
unsafe extern "C" fn acquire(
    slf: *mut ffi::PyObject,
    args: *mut ffi::PyObject,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: see the head of this file.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: the arguments are a tuple.
    let plain = names.is_null() && unsafe { ffi::PyTuple_Size(args) } == 0;
    // SAFETY: see the head of this file.
    if plain && unsafe { of(&slf) }.take_quickly() {
        return PyBool::new(py, true).to_owned().into_ptr();
    }
    let name = crate::once::intern!(py, "_acquire").as_ptr();
    // SAFETY: the object is one, and so is the name.
    let method = unsafe { ffi::PyObject_GetAttr(slf, name) };
    if method.is_null() {
        return method;
    }
    // SAFETY: what is called, a tuple, and a dictionary or null.
    let result = unsafe { ffi::PyObject_Call(method, args, names) };
    // SAFETY: the reference is ours.
    unsafe { ffi::Py_DecRef(method) };
    result
}

/// Frees the lock if somebody has it.
unsafe extern "C" fn release(
    slf: *mut ffi::PyObject,
    _nothing: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: see the head of this file.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: as above.
    if unsafe { of(&slf) }.give_quickly() {
        return py.None().into_ptr();
    }
    let name = crate::once::intern!(py, "_release").as_ptr();
    // SAFETY: the object is one, and so is the name.
    let method = unsafe { ffi::PyObject_GetAttr(slf, name) };
    if method.is_null() {
        return method;
    }
    // SAFETY: what is called.
    let result = unsafe { ffi::PyObject_CallNoArgs(method) };
    // SAFETY: the reference is ours.
    unsafe { ffi::Py_DecRef(method) };
    result
}

/// Returns the lock behind an object.
///
/// # Safety
/// The object is a `Lock`, and the caller attached to the interpreter.
unsafe fn of<'a>(object: &'a *mut ffi::PyObject) -> &'a Lock {
    // SAFETY: the caller's.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: the caller's; borrowed from the caller's arguments.
    let object: Borrowed<'a, 'a, PyAny> = unsafe { Borrowed::from_ptr(py, *object) };
    // SAFETY: the caller's.
    let lock: Borrowed<'a, 'a, Lock> = unsafe { object.cast_unchecked() };
    lock.get()
}
