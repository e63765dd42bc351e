//! The list of a map's results, in the order of the inputs.

use pyo3::prelude::*;
use pyo3::types::{PyList, PySequence};

/// Returns a list of `length` places for results.
pub fn places(py: Python<'_>, length: usize) -> PyResult<Bound<'_, PySequence>> {
    PyList::new(py, [py.None()])?.as_sequence().repeat(length)
}

/// Returns a list in which an object stands `count` times.
pub fn repeated<'py>(object: &Bound<'py, PyAny>, count: usize) -> PyResult<Bound<'py, PyAny>> {
    let list = PyList::new(object.py(), [object])?;
    Ok(list.as_sequence().repeat(count)?.into_any())
}

/// Puts the results of the chunk at `index` where they belong.
pub fn put(
    list: &Bound<'_, PyAny>,
    index: usize,
    chunk: usize,
    results: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let list = list.cast::<PyList>()?;
    if chunk == 1 {
        return list.set_item(index, results);
    }
    list.set_slice(index * chunk, (index + 1) * chunk, results)
}
