//! The classes that have the methods of `quick.rs`: the native ones, and those of the package that
//! are derived from them.

use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::error::type_error;
use crate::lock::Lock;
use crate::quick::add_to;
use crate::rlock::RLock;
use crate::semaphore::Semaphore;

/// Puts the quick methods into the native classes.
pub fn add_to_bases(py: Python<'_>) -> PyResult<()> {
    add_to::<Lock>(&py.get_type::<Lock>())?;
    add_to::<RLock>(&py.get_type::<RLock>())?;
    add_to::<Semaphore>(&py.get_type::<Semaphore>())
}

/// Gives a class the quick methods of its native base as its own, and returns it.
///
/// The interpreter calls a method at once if the object is of the very class that has it; of one
/// whose base has it, it goes through all bases first.
#[pyfunction]
#[pyo3(signature = (class_, /))]
pub fn quick(class_: Bound<'_, PyType>) -> PyResult<Bound<'_, PyType>> {
    if class_.is_subclass_of::<Lock>()? {
        add_to::<Lock>(&class_)?;
    } else if class_.is_subclass_of::<RLock>()? {
        add_to::<RLock>(&class_)?;
    } else if class_.is_subclass_of::<Semaphore>()? {
        add_to::<Semaphore>(&class_)?;
    } else {
        return Err(type_error(format!("{class_} is no lock and no semaphore")));
    }
    Ok(class_)
}
