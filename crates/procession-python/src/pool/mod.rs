//! A pool of worker processes, as Python sees it.
//!
//! `core` drives the engine's pool while Python waits, as its results ask it to
//! (`driver`); `sink` makes Python objects of what comes home (`arrival`) and hands
//! them to `result` and `imap`, which the user holds. What Python raises meanwhile
//! is put off (`callback`). `future_state` is what a future of an executor keeps, for which a
//! result brings the value. `foreign` stands for a pool whose tasks run elsewhere.
//! `source` and `feeder` make tasks as workers need them: the one of inputs that
//! are at hand, the other of an iterator that may block; `terms` is what a call says of its
//! tasks. `worker` is the other side, which keeps functions without a state (`kept_function`), and
//! where `soft_timeout` interrupts what runs too long.

mod arrival;
mod callback;
mod core;
mod driver;
mod foreign;
mod gc_guard;
mod label;
mod map;
mod message;
mod place;
mod places;
mod progress;
mod signal;
mod sink;
mod soft_timeout;
mod terms;

mod future_state;
mod imap;
mod result;

mod feeder;
mod source;

mod owner;
mod size;
mod starter;
mod stats;

mod kept_function;
mod worker;

pub use feeder::Feeder;
pub use future_state::FutureState;
pub use imap::{IMapIterator, IMapUnorderedIterator};
pub use owner::Pool;
pub use result::{ApplyResult, MapResult};
pub use stats::CallTimes;
pub use worker::PoolWorker;
