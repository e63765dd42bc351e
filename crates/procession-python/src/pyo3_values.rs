//! Values that pyo3 keeps for calls that this module makes, or that are made of its objects.
//!
//! They are in a `PyOnceLock`, with which a forked child may wait for ever ([`once`](crate::once)
//! says how). So each of them is made while the module is imported.

use pyo3::PyTypeInfo;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyList, PyTuple, PyType, PyWeakrefReference};

use crate::condition::Guarding;

/// Has pyo3 make each of them.
pub fn make_all(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    // What names an object's class in an error.
    let class = py.get_type::<PyList>();
    class.fully_qualified_name()?;
    class.module()?;
    PyWeakrefReference::type_object(py);
    // How many items an iterator says that it has.
    let items: Bound<'_, PyIterator> = PyList::empty(py).try_iter()?;
    let _ = items.size_hint();
    // Whether objects have a `__dict__` from the beginning.
    Bound::new(py, Guarding)?;
    // The name of an argument that is of a wrong type.
    let refused = module.getattr("wait_for_stop")?.call1(("no number",));
    debug_assert!(refused.is_err());
    // What a truth value of numpy has instead of being a `bool`.
    let names = PyDict::new(py);
    names.set_item("__module__", "numpy")?;
    names.set_item("__bool__", py.get_type::<PyList>())?;
    let class = py
        .get_type::<PyType>()
        .call1(("bool_", PyTuple::empty(py), names))?;
    let refused = class.call0()?.extract::<bool>();
    debug_assert!(refused.is_err());
    Ok(())
}
