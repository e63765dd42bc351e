//! This process's own place in the family: its stop flag, and what it leaves behind.

use procession_engine::arena::{Block, Family};
use procession_engine::primitive::Ordering;
use pyo3::prelude::*;

use crate::error::IntoPython;
use crate::pickle::{self, ALIGNMENT, Pickled};

/// Asks this process itself to stop.
#[pyfunction]
pub fn request_stop() -> PyResult<()> {
    let family = Family::get().or_raise()?;
    family.member(family.me()).stop.store(1, Ordering::Release);
    Ok(())
}

/// Returns whether this process was asked to stop.
#[pyfunction]
pub fn stop_requested() -> bool {
    // Without a family nobody could have asked.
    Family::existing()
        .is_some_and(|family| family.member(family.me()).stop.load(Ordering::Acquire) != 0)
}

/// Leaves an object for the parent, which gets it when this process has ended.
#[pyfunction]
pub fn leave_outcome(outcome: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = outcome.py();
    let family = Family::get().or_raise()?;
    let block = pack(py, &Pickled::new(outcome)?)?;
    let offset = block.disown().or_raise()?;
    let before = family
        .member(family.me())
        .outcome
        .swap(offset, Ordering::AcqRel);
    if before != 0 {
        drop(Block::claim(
            before,
            procession_engine::arena::Stamp::NOBODY,
        ));
    }
    Ok(())
}

/// Returns a block with the length of a message and, aligned, the message.
pub fn pack(py: Python<'_>, pickled: &Pickled) -> PyResult<Block> {
    let len = pickled.len(py);
    let mut block = Block::new((ALIGNMENT + len) as u64).or_raise()?;
    block[..8].copy_from_slice(&(len as u64).to_le_bytes());
    pickled.copy_to(py, &mut block[ALIGNMENT..ALIGNMENT + len]);
    Ok(block)
}

/// Returns the object of a block that [`pack`] has filled.
pub fn load_outcome<'py>(py: Python<'py>, block: Block) -> PyResult<Bound<'py, PyAny>> {
    let len = u64::from_le_bytes(*block.first_chunk().expect("the least block is longer"));
    pickle::load_block(py, block, ALIGNMENT, len as usize)
}
