//! The handles in what is being pickled and unpickled.
//!
//! pickle calls back into the classes of a program, which lend their objects and attach to
//! them, and has no argument for where the handles go.

use procession_engine::shm::transfer::loans;
use procession_engine::shm::{Block, HandleSource, Loans, TransferContext};

thread_local! {
    /// The messages that this thread is pickling and unpickling.
    static CONTEXT: TransferContext = const { TransferContext::new() };
}

/// Runs `write`, which pickles a message; returns what it has handles of, too.
pub fn collecting<T>(write: impl FnOnce() -> T) -> (T, Loans) {
    CONTEXT.with(|context| context.collect(write))
}

/// Runs `read`, which unpickles a message whose objects `source` keeps alive.
pub fn reading<T>(source: &HandleSource, read: impl FnOnce() -> T) -> T {
    CONTEXT.with(|context| context.read(source, read))
}

/// Runs `read`, which unpickles the message in a block. If it fails, freeing the block gives
/// back what is lent with it.
pub fn reading_block<T, E>(block: &Block, read: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    loans::reading(block, |source| reading(source, read))
}

/// Has `lend` lend objects to the message that is being pickled.
pub fn lend<T>(lend: impl FnOnce(&mut Loans) -> T) -> T {
    CONTEXT.with(|context| context.lend(lend))
}

/// Has `attach` attach to objects of the message that is being unpickled.
pub fn attach<T>(attach: impl FnOnce(&HandleSource) -> T) -> T {
    CONTEXT.with(|context| context.attach(attach))
}
