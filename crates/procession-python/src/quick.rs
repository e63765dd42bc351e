//! `acquire()`, `release()` and the `with` of locks and semaphores, for the case that nobody is in
//! the way.
//!
//! Programs call them in their hottest loops, where what PyO3 does around a
//! method (reading arguments, checking the type, catching panics) takes longer
//! than the lock itself. So these are functions of Python's own kind. They
//! do the case without a wait, and leave everything else
//! to the methods `_acquire` and `_release` of the class. `quick_classes.rs` has the classes.
//!
//! # Safety
//! Python calls a method that was made for a type with an instance of it,
//! attached to the interpreter. Nothing here panics.

#![expect(unsafe_code, reason = "functions that Python calls directly")]

use std::ffi::CStr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyString, PyTuple, PyType};

use crate::once::intern;

/// A class whose objects are taken and given back, mostly without a wait.
pub trait Quick: pyo3::PyClass<Frozen = True> + Sync {
    /// What Python shows of `acquire`; the first lines are its signature.
    const ACQUIRE: &CStr;

    /// As above, of `release`.
    const RELEASE: &CStr;

    /// Takes it if it is free.
    fn take_quickly(&self) -> bool;

    /// Gives it back, if that is no mistake.
    fn give_quickly(&self) -> bool;
}

/// Puts the quick methods into a class that is `T` or derived from it.
pub fn add_to<T: Quick>(class: &Bound<'_, PyType>) -> PyResult<()> {
    let with_names = |call| ffi::PyMethodDefPointer {
        PyCFunctionFastWithKeywords: call,
    };
    let alone = |call| ffi::PyMethodDefPointer { PyCFunction: call };
    let methods = [
        ffi::PyMethodDef {
            ml_name: c"acquire".as_ptr(),
            ml_meth: with_names(acquire::<T>),
            ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
            ml_doc: T::ACQUIRE.as_ptr(),
        },
        ffi::PyMethodDef {
            ml_name: c"release".as_ptr(),
            ml_meth: alone(release::<T>),
            ml_flags: ffi::METH_NOARGS,
            ml_doc: T::RELEASE.as_ptr(),
        },
        ffi::PyMethodDef {
            ml_name: c"__enter__".as_ptr(),
            ml_meth: alone(enter::<T>),
            ml_flags: ffi::METH_NOARGS,
            ml_doc: c"__enter__($self, /)\n--\n\n".as_ptr(),
        },
        ffi::PyMethodDef {
            ml_name: c"__exit__".as_ptr(),
            ml_meth: ffi::PyMethodDefPointer {
                PyCFunctionFast: exit::<T>,
            },
            ml_flags: ffi::METH_FASTCALL,
            ml_doc: c"__exit__($self, /, *_args)\n--\n\n".as_ptr(),
        },
    ];
    methods
        .into_iter()
        .try_for_each(|method| add(class, method))
}

fn add(class: &Bound<'_, PyType>, method: ffi::PyMethodDef) -> PyResult<()> {
    // SAFETY: a name from above.
    let name = unsafe { CStr::from_ptr(method.ml_name) };
    // As long as the class, which is for ever.
    let method: *mut ffi::PyMethodDef = Box::leak(Box::new(method));
    // SAFETY: the class is one, and the definition lives as long as it.
    let made = unsafe { ffi::PyDescr_NewMethod(class.as_type_ptr(), method) };
    // SAFETY: a new reference, or null and an exception.
    let made = unsafe { Bound::from_owned_ptr_or_err(class.py(), made) }?;
    class.setattr(name, made)
}

/// Takes it, if it is free.
unsafe extern "C" fn acquire<T: Quick>(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: see the head of this file.
    let object = unsafe { of::<T>(&slf) };
    let py = object.py();
    // SAFETY: so many arguments, those of the names behind the others.
    let arguments = unsafe { Arguments::of(py, args, count, names) };
    if arguments.are_plain() && object.get().take_quickly() {
        return yes(py);
    }
    answer(py, arguments.call(object.as_any(), intern!(py, "_acquire")))
}

/// Gives it back, if somebody has it.
unsafe extern "C" fn release<T: Quick>(
    slf: *mut ffi::PyObject,
    _nothing: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: see the head of this file.
    give_back(unsafe { of::<T>(&slf) })
}

/// As `acquire` without arguments.
unsafe extern "C" fn enter<T: Quick>(
    slf: *mut ffi::PyObject,
    _nothing: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: see the head of this file.
    let object = unsafe { of::<T>(&slf) };
    if object.get().take_quickly() {
        return yes(object.py());
    }
    let name = intern!(object.py(), "_acquire");
    answer(object.py(), object.as_any().call_method0(name))
}

/// As `release`, whatever was raised meanwhile.
unsafe extern "C" fn exit<T: Quick>(
    slf: *mut ffi::PyObject,
    _args: *mut *mut ffi::PyObject,
    _count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: see the head of this file.
    give_back(unsafe { of::<T>(&slf) })
}

#[inline]
fn give_back<T: Quick>(object: Borrowed<'_, '_, T>) -> *mut ffi::PyObject {
    let py = object.py();
    if object.get().give_quickly() {
        return py.None().into_ptr();
    }
    answer(py, object.as_any().call_method0(intern!(py, "_release")))
}

/// Arguments as Python passes them: those by name behind the others.
struct Arguments<'a, 'py> {
    plain: &'a [*mut ffi::PyObject],
    by_name: &'a [*mut ffi::PyObject],
    names: Option<Borrowed<'a, 'py, PyTuple>>,
    py: Python<'py>,
}

impl<'a, 'py> Arguments<'a, 'py> {
    /// # Safety
    /// There are so many arguments, and one more for each of the names, a tuple or null.
    #[inline]
    unsafe fn of(
        py: Python<'py>,
        args: *const *mut ffi::PyObject,
        count: ffi::Py_ssize_t,
        names: *mut ffi::PyObject,
    ) -> Self {
        let count = count.unsigned_abs();
        // SAFETY: the caller's.
        let names = unsafe { Borrowed::from_ptr_or_opt(py, names) };
        // SAFETY: the caller's.
        let names = names.map(|names| unsafe { names.cast_unchecked::<PyTuple>() });
        let all = match count + names.map_or(0, |names| names.len()) {
            0 => &[], // There may be no pointer either.
            // SAFETY: the caller's.
            len => unsafe { std::slice::from_raw_parts(args, len) },
        };
        let (plain, by_name) = all.split_at(count);
        Self {
            plain,
            by_name,
            names,
            py,
        }
    }

    /// Tells whether they are what `acquire` takes, seen at a glance: if not, they may be so still.
    #[inline]
    fn are_plain(&self) -> bool {
        match (self.plain, self.names) {
            ([], None) => true,
            ([block], None) => self.is_bool(*block),
            ([block, timeout], None) => self.is_bool(*block) && self.is_time(*timeout),
            ([], Some(_)) => self.are_plain_by_name(),
            _ => false,
        }
    }

    /// As above, of one argument with a name.
    fn are_plain_by_name(&self) -> bool {
        let [value] = *self.by_name else {
            return false;
        };
        let name = self.names.and_then(|names| names.get_item(0).ok());
        name.is_some_and(|name| {
            name.is(intern!(self.py, "timeout")) && self.is_time(value)
                || name.is(intern!(self.py, "block")) && self.is_bool(value)
        })
    }

    #[inline]
    fn is_bool(&self, object: *mut ffi::PyObject) -> bool {
        self.borrowed(&object).is_exact_instance_of::<PyBool>()
    }

    #[inline]
    fn is_time(&self, object: *mut ffi::PyObject) -> bool {
        let object = self.borrowed(&object);
        object.is_none()
            || object.is_exact_instance_of::<PyFloat>()
            || object.is_exact_instance_of::<PyInt>()
    }

    #[inline]
    fn borrowed<'b>(&self, object: &'b *mut ffi::PyObject) -> Borrowed<'b, 'py, PyAny> {
        // SAFETY: an argument, which the caller holds.
        unsafe { Borrowed::from_ptr(self.py, *object) }
    }

    /// Calls a method of an object with them.
    #[cold]
    fn call(
        &self,
        object: &Bound<'py, PyAny>,
        name: &Bound<'py, PyString>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let plain = self.plain.iter().map(|object| self.borrowed(object));
        let keywords = PyDict::new(self.py);
        for (name, value) in self
            .names
            .iter()
            .flat_map(|names| names.iter())
            .zip(self.by_name)
        {
            keywords.set_item(name, self.borrowed(value))?;
        }
        object
            .getattr(name)?
            .call(PyTuple::new(self.py, plain)?, Some(&keywords))
    }
}

#[inline]
fn yes(py: Python<'_>) -> *mut ffi::PyObject {
    PyBool::new(py, true).to_owned().into_ptr()
}

/// Returns a result as Python takes it from a function.
fn answer(py: Python<'_>, result: PyResult<Bound<'_, PyAny>>) -> *mut ffi::PyObject {
    match result {
        Ok(object) => object.into_ptr(),
        Err(error) => {
            error.restore(py);
            std::ptr::null_mut()
        }
    }
}

/// Returns the object behind a pointer.
///
/// # Safety
/// The object is of the class, and the caller attached to the interpreter.
#[inline]
unsafe fn of<'a, T: Quick>(object: &'a *mut ffi::PyObject) -> Borrowed<'a, 'a, T> {
    // SAFETY: the caller's.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: the caller's; borrowed from the caller's arguments.
    let object: Borrowed<'a, 'a, PyAny> = unsafe { Borrowed::from_ptr(py, *object) };
    // SAFETY: the caller's.
    unsafe { object.cast_unchecked() }
}
