//! Python objects that this module looks up or makes once: functions, classes, names.
//!
//! `PyOnceLock` and `intern!` of pyo3 are for the same, but wait: the thread that makes the value
//! lets go of the interpreter before it begins. Another thread may fork just then, and the child
//! would wait for ever for the value.

use procession_engine::sys::fork_safe::once::ForkOnce;
use pyo3::PyTypeCheck;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// Holds an object once there is one.
pub struct PyOnce<T>(ForkOnce<Py<T>>);

impl<T> PyOnce<T> {
    pub const fn new() -> Self {
        Self(ForkOnce::new())
    }

    /// Returns the object, if there is one.
    pub fn get<'py>(&self, py: Python<'py>) -> Option<&Bound<'py, T>> {
        self.0.get().map(|object| object.bind(py))
    }

    /// Returns the object; the first call makes it. Threads that call at once may each make one, and
    /// all get the same.
    #[inline]
    pub fn get_or_try_init<'py>(
        &self,
        py: Python<'py>,
        make: impl FnOnce() -> PyResult<Bound<'py, T>>,
    ) -> PyResult<&Bound<'py, T>> {
        let object = match self.0.get() {
            Some(object) => object,
            None => {
                let made = make()?.unbind();
                self.0.get_or_init(|| made)
            }
        };
        Ok(object.bind(py))
    }
}

impl<T: PyTypeCheck> PyOnce<T> {
    /// Returns what a module has under a name; the first call imports it.
    pub fn import<'py>(
        &self,
        py: Python<'py>,
        module: &str,
        name: &str,
    ) -> PyResult<&Bound<'py, T>> {
        self.get_or_try_init(py, || {
            Ok(py.import(module)?.getattr(name)?.cast_into::<T>()?)
        })
    }
}

/// A name that Python keeps once, for a place that uses it often; see [`intern`].
pub struct Interned {
    text: &'static str,
    name: ForkOnce<Py<PyString>>,
}

impl Interned {
    pub const fn new(text: &'static str) -> Self {
        Self {
            text,
            name: ForkOnce::new(),
        }
    }

    #[inline]
    pub fn get<'py>(&self, py: Python<'py>) -> &Bound<'py, PyString> {
        let make = || PyString::intern(py, self.text).unbind();
        self.name.get_or_init(make).bind(py)
    }
}

/// Returns a name as an object of Python, which the place keeps.
macro_rules! intern {
    ($py:expr, $text:expr) => {{
        static NAME: $crate::once::Interned = $crate::once::Interned::new($text);
        NAME.get($py)
    }};
}

pub(crate) use intern;
