//! A pool of worker processes, as Python sees it.
//!
//! `core` drives the engine's pool while Python waits; `sink` makes Python objects
//! of what comes home and hands them to `result` and `imap`, which the user holds.
//! `source` and `feeder` make tasks as workers need them: the one of inputs that
//! are at hand, the other of an iterator that may block. `worker` is the other side.

mod core;
mod made;
mod message;
mod place;
mod signal;
mod sink;

mod imap;
mod result;

mod feeder;
mod source;

mod owner;
mod starter;

mod worker;

pub use feeder::Feeder;
pub use imap::{IMapIterator, IMapUnorderedIterator};
pub use owner::Pool;
pub use result::{ApplyResult, MapResult};
pub use worker::PoolWorker;
