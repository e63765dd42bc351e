//! The function of a job that a worker keeps between tasks, instead of unpickling it for each.
//!
//! To be told apart from one that came with the task it would have to have a state: what one task
//! changed, the next would find.

use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyBytes, PyCFunction, PyComplex, PyDict, PyFloat, PyFunction, PyInt, PyModule,
    PyString, PyTuple, PyType,
};

use crate::once::{PyOnce, intern};
use crate::pool::message::Shape;

/// How deep tuples in tuples are looked at.
const DEEPEST: u32 = 8;

/// A function that has no state.
pub struct KeptFunction {
    /// The number of the job.
    pub job: u64,
    pub shape: Shape,
    pub function: Py<PyAny>,
    /// Whether arguments are bound to it, which may be large.
    pub has_data: bool,
}

impl KeptFunction {
    /// Keeps the function of a job if it has no state.
    pub fn of(job: u64, shape: Shape, function: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        let has_data = match is_named(function)? {
            true => false,
            false if is_bound_to_constants(function, DEEPEST)? => true,
            false => return Ok(None),
        };
        Ok(Some(Self {
            job,
            shape,
            function: function.clone().unbind(),
            has_data,
        }))
    }
}

/// Tells whether a function is all in its name, so that unpickling it again would
/// give the very same object.
fn is_named(function: &Bound<'_, PyAny>) -> PyResult<bool> {
    if function.is_exact_instance_of::<PyFunction>() {
        return is_of_its_module(function);
    }
    if function.is_instance_of::<PyType>() {
        return Ok(true);
    }
    if !function.is_exact_instance_of::<PyCFunction>() {
        return Ok(false);
    }
    let owner = function.getattr("__self__")?;
    Ok(owner.is_none() || owner.is_instance_of::<PyModule>())
}

/// Tells whether a function uses the globals of the module that it says it is of. One that
/// came by value has globals of its own, and maybe cells.
fn is_of_its_module(function: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = function.py();
    let name = function.getattr(intern!(py, "__module__"))?;
    let modules = py.import("sys")?.getattr("modules")?;
    let Ok(module) = modules.get_item(name) else {
        return Ok(false);
    };
    let globals = function.getattr(intern!(py, "__globals__"))?;
    Ok(module
        .getattr(intern!(py, "__dict__"))
        .is_ok_and(|dict| dict.is(&globals)))
}

/// Tells whether this is a `functools.partial` of a named function and of constants.
fn is_bound_to_constants(function: &Bound<'_, PyAny>, depth: u32) -> PyResult<bool> {
    static PARTIAL: PyOnce<PyType> = PyOnce::new();
    let py = function.py();
    if !function
        .get_type()
        .is(PARTIAL.import(py, "functools", "partial")?)
    {
        return Ok(false);
    }
    let attributes = function.getattr(intern!(py, "__dict__"))?;
    let keywords = function.getattr(intern!(py, "keywords"))?;
    Ok(attributes.len()? == 0
        && is_constant(&function.getattr(intern!(py, "func"))?, depth)?
        && is_constant(&function.getattr(intern!(py, "args"))?, depth)?
        && is_constant(
            keywords.cast::<PyDict>()?.values().to_tuple().as_any(),
            depth,
        )?)
}

/// Tells whether nobody can change a value.
fn is_constant(value: &Bound<'_, PyAny>, depth: u32) -> PyResult<bool> {
    let is_atom = value.is_none()
        || value.is_exact_instance_of::<PyBytes>()
        || value.is_exact_instance_of::<PyString>()
        || value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyFloat>()
        || value.is_exact_instance_of::<PyBool>()
        || value.is_exact_instance_of::<PyComplex>();
    if is_atom {
        return Ok(true);
    }
    let Some(depth) = depth.checked_sub(1) else {
        return Ok(false);
    };
    let Ok(tuple) = value.cast_exact::<PyTuple>() else {
        return Ok(is_named(value)? || is_bound_to_constants(value, depth)?);
    };
    for item in tuple.iter() {
        if !is_constant(&item, depth)? {
            return Ok(false);
        }
    }
    Ok(true)
}
