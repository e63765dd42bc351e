//! The handles in what is being pickled and unpickled.
//!
//! pickle calls the program's classes back, which lend their objects and attach to them, and pickle
//! has no argument to pass the message's loans in.

use procession_engine::shm::transfer::loans;
use procession_engine::shm::{Block, HandleSource, Loans, TransferContext};

thread_local! {
    /// The messages that this thread is pickling and unpickling.
    static CONTEXT: TransferContext = const { TransferContext::new() };
}

/// Runs `write`, which pickles a message; returns its result and the loans of the message's
/// handles.
pub fn collecting<T>(write: impl FnOnce() -> T) -> (T, Loans) {
    CONTEXT.with(|context| context.collect(write))
}

/// Runs `read`, which unpickles a message whose objects `source` keeps alive.
pub fn reading<T>(source: &HandleSource, read: impl FnOnce() -> T) -> T {
    CONTEXT.with(|context| context.read(source, read))
}

/// Runs `read`, which unpickles the message in a block. If it fails, freeing the block gives the
/// loans back.
pub fn reading_block<T, E>(block: &Block, read: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    loans::reading(block, |source| reading(source, read))
}

/// Calls `lend`, which lends objects to the message that is being pickled.
pub fn lend<T>(lend: impl FnOnce(&mut Loans) -> T) -> T {
    CONTEXT.with(|context| context.lend(lend))
}

/// Calls `attach`, which attaches to objects of the message that is being unpickled.
pub fn attach<T>(attach: impl FnOnce(&HandleSource) -> T) -> T {
    CONTEXT.with(|context| context.attach(attach))
}
