//! The contents of the family's shared memory, for tests that look for leaks.

use std::collections::HashMap;

use procession_engine::shm::ObjectKind;
use pyo3::prelude::*;

use crate::error::IntoPython;

/// Returns how many blocks, bytes and objects of each kind of the arena are in use by
/// anybody, how many processes have a place in the family, and what memory it takes.
/// Blocks and objects that dead processes held are given back first.
#[pyfunction]
pub fn usage() -> PyResult<HashMap<&'static str, u64>> {
    let family = procession_engine::family().or_raise()?;
    family.reclaim_all();
    let usage = family.usage();
    let mut told = HashMap::from([
        ("blocks", usage.blocks),
        ("bytes", usage.bytes),
        ("resident", family.resident().or_raise()?),
    ]);
    family.for_each_member(|_, _| *told.entry("members").or_default() += 1);
    family.for_each_object(|object| {
        *told
            .entry(object.kind().map_or("unknown", ObjectKind::name))
            .or_default() += 1;
    });
    Ok(told)
}
