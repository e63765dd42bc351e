//! The native module `procession._procession`: the engine as Python sees it.
//!
//! One file per noun, each a thin cover over the engine's type of the same name;
//! what is here is about Python alone: pickling, the GIL, signals, exceptions.
//! `python/procession` builds the standard library's classes on it.

// In reading order: how errors, waits and pickles cross, then the nouns.
mod error;
mod interrupt;
mod once;
mod wait;

mod buffer;
mod pickle;

mod by_value;

mod block;
mod blocking;
mod descriptor;
mod interpreter;
mod pyo3_values;
mod shared;
mod transfer;

mod awaited;
mod event;
mod held;
mod lock;
mod quick;
mod quick_classes;
mod rlock;
mod semaphore;
mod under_lock;

mod barrier;
mod condition;
mod connection;
mod limits;
mod line;
mod outgoing;
mod queue;

mod child;
mod fork;
mod forkserver;
mod launch;
mod member;
mod payload;
mod spawn;
mod trace;
mod usage;
mod view;

mod pool;

use pyo3::prelude::*;

/// The engine of procession. Private: use the package.
#[pymodule(gil_used = false)]
mod _procession {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::awaited::Armed;
    #[pymodule_export]
    use crate::barrier::{Barrier, BarrierPlace, rebuild_barrier};
    #[pymodule_export]
    use crate::block::{Block, rebuild_block};
    #[pymodule_export]
    use crate::by_value::{look_at_main, main_has_file, try_to_pickle, undo_unless_sent};
    #[pymodule_export]
    use crate::child::Child;
    #[pymodule_export]
    use crate::condition::{Condition, Guarding, WaitPlace, rebuild_condition};
    #[pymodule_export]
    use crate::connection::{Connection, OwnTrack, pipe};
    #[pymodule_export]
    use crate::descriptor::{KeptFd, past_streams};
    #[pymodule_export]
    use crate::event::Event;
    #[pymodule_export]
    use crate::fork::{fork, fork_failed};
    #[pymodule_export]
    use crate::forkserver::{ForkServer, Server};
    #[pymodule_export]
    use crate::interrupt::{is_interrupt_of_python, with_undo};
    #[pymodule_export]
    use crate::launch::launch;
    #[pymodule_export]
    use crate::limits::{confine, lift_memory_limit};
    #[pymodule_export]
    use crate::line::{Line, LineEnd};
    #[pymodule_export]
    use crate::lock::Lock;
    #[pymodule_export]
    use crate::member::{
        family_secret, leave_outcome, parent_sentinel, reclaim_dead, request_stop, stop_requested,
        usable_cpus, wait_for_stop,
    };
    #[pymodule_export]
    use crate::outgoing::Outgoing;
    #[pymodule_export]
    use crate::payload::{Payload, Task};
    #[pymodule_export]
    use crate::pickle::pickle_by_program;
    #[pymodule_export]
    use crate::pool::{
        ApplyResult, CallTimes, Feeder, FutureState, IMapIterator, IMapUnorderedIterator,
        MapResult, Pool, PoolWorker,
    };
    #[pymodule_export]
    use crate::queue::{PendingItem, Queue};
    #[pymodule_export]
    use crate::quick_classes::quick;
    #[pymodule_export]
    use crate::rlock::RLock;
    #[pymodule_export]
    use crate::semaphore::Semaphore;
    #[pymodule_export]
    use crate::spawn::{end_spares, join, spare_pids, spawn, spawn_by};
    #[pymodule_export]
    use crate::trace::TraceWriter;
    #[pymodule_export]
    use crate::under_lock::{GuardedField, under_lock};
    #[pymodule_export]
    use crate::usage::usage;
    #[pymodule_export]
    use crate::view::{Watcher, metrics, openmetrics, view, view_once};
    #[pymodule_export]
    use crate::wait::{bells_must_be_allowed, readable_now, wait};

    /// The version of the package, which is that of the workspace.
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");

    #[pymodule_export]
    const SEM_VALUE_MAX: u32 = crate::semaphore::SEM_VALUE_MAX;

    #[pymodule_init]
    fn finish(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::interpreter::require_main()?;
        crate::pyo3_values::make_all(module)?;
        crate::quick_classes::add_to_bases(module.py())
    }
}

/// Returns a function of this module by which pickled objects are made again.
fn rebuilder<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    py.import("procession._procession")?.getattr(name)
}

/// Returns what `dir()` shows of an object whose class is all native.
fn public_names<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let module = object.py().import("procession._attributes")?;
    module.call_method1("public_names", (object,))
}
