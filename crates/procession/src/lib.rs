//! Runs functions in processes: start them, name them, follow their life,
//! talk to them, pool them, stop them.
//!
//! It is what Python's `multiprocessing` is to Python, for Rust: isolated,
//! killable, parallel work, typed. Values cross by serde; locks, queues, pipes
//! and shared memory cross as handles, inside any argument or message.
//!
//! ```
//! use procession::{Pool, Process, current_process};
//!
//! fn doubler(number: u64) -> u64 {
//!     number * 2
//! }
//!
//! #[procession::main]
//! fn main() -> procession::Result<()> {
//!     // A process: its name, its arguments, its result.
//!     let child = Process::new(doubler).name("Test").args(2).start()?;
//!     assert_eq!(child.join()?, 4);
//!
//!     // A closure will do, as long as it captures nothing.
//!     let child = Process::new(|| current_process().name()).name("Ada").start()?;
//!     assert_eq!(child.join()?, "Ada");
//!
//!     // A pool of five.
//!     let pool = Pool::new(5)?;
//!     let doubled = pool.map(doubler, [5, 10, 15, 20, 25])?;
//!     assert_eq!(doubled, [10, 20, 30, 40, 50]);
//!     Ok(())
//! }
//! ```
//!
//! # Where to look
//!
//! - Starting: [`Process`], [`Run`], [`Child`], [`StartMethod`], [`Context`].
//! - Who is who: [`current_process`], [`parent_process`], [`active_children`].
//! - Many tasks: [`Pool`], described by a [`PoolBuilder`]; what comes back, an [`AsyncResult`] or an
//!   [`Imap`]; [`IntoParProcesses`] for any iterator.
//! - An object in a process of its own: [`Actor`].
//! - Seeing what all processes do: [`trace()`]; what they log: `relay_logs`, with the feature `log`
//!   or `tracing`.
//! - Talking: [`Queue`], [`JoinableQueue`], [`pipe`], [`Shared`], [`SharedArray`].
//! - Waiting: [`Lock`], [`RLock`], [`Semaphore`], [`Condition`], [`Event`],
//!   [`Barrier`], and [`wait()`] for the first of several.
//! - What goes wrong: [`Error`], [`RemoteError`].
//!
//! # The one rule
//!
//! A started process is this program again, up to the line where it turns into
//! its task: `procession::init()`, or [`#[procession::main]`](main) which puts
//! it first in `main`. Forgetting it is an error at the first start. In a shared
//! library (a `cdylib`) there is no such program, and every start is refused.
//!
//! In a test that cargo runs (`cargo test`, `cargo nextest`) nothing is needed: a plain `#[test]`
//! may start processes, in any order. A library that has no say in `main` calls
//! [`init_in_library`].
//!
//! # What can cross
//!
//! Arguments, results and messages are types of serde that are read as they are
//! written: all that `#[derive(Serialize, Deserialize)]` makes, with names, defaults and
//! fields or variants that are skipped on both sides (`#[serde(skip)]`), and what the
//! standard library has. They cross in a form that does not say
//! what is in it. So these are refused, with [`Error::is_codec`] and the reason: `flatten`,
//! `untagged` and `tag`; a value of which `skip_serializing_if` leaves
//! something out; what is skipped on one side only; sequences and maps that do not know
//! their length. Wrap them in `SelfDescribing`, which the feature `self-describing` has, or send
//! what they are made of.
//!
//! A value that borrows (`&str`) has to be owned (the compiler says that "implementation of
//! `Deserialize` is not general enough"); a number, a `char` or a float that is no
//! number arrives bit by bit as it was. Pointers and mutexes of `std` mean nothing
//! elsewhere and have no form; [`Lock`], [`Queue`] and their like are what crosses in their
//! place. Files and sockets cross with the start of a process, as [`Passed`].
//!
//! Nothing that borrows from this process can be lent to another for a while, as the scopes of
//! `std::thread` and rayon do: what it refers to is in this process's memory only, and a copy that
//! the other changes would not change here. What all tasks read crosses once, as the context of
//! [`Pool::map_with`]; what they write in place is a [`Shared`] or a [`SharedArray`].
//!
//! # Async
//!
//! An [`AsyncResult`] can be awaited, in any executor: no thread waits for it, and dropping the
//! future cancels its task. The feature `async` has more: `Imap::into_stream` makes a `Stream`, a [`Child`] can
//! be awaited, and there are `get_async` and `put_async` of a [`Queue`], `recv_async` of a
//! [`Pipe`], `join_async` of a [`JoinableQueue`], `lock_async` of a [`Lock`], `permit_async` of a
//! [`Semaphore`], and `wait_async` of an [`Event`], a [`Condition`] and a [`Barrier`]. (An [`RLock`] belongs to a
//! thread, and tasks share and change theirs: use a [`Lock`].) A future that is dropped has taken,
//! put and joined nothing. Deadlines are those of the executor (`tokio::time::timeout`); to end a task that
//! runs too long there is [`ResultFuture::kill_on_drop`], or [`Pool::timeout`].
//!
//! # Logs
//!
//! A child is the program before anything that `main` sets after [`init`]: it has no logger and no
//! subscriber, and what it logs goes nowhere. With the features `log` and `tracing`, `relay_logs` has
//! records, spans and events of all children handled by this process's logger and subscriber, with
//! the name of the process that made them.
//!
//! # Code that misbehaves
//!
//! A [`Pool`] or an [`Actor`] has code run apart that may crash, hang or take all memory:
//! [`memory_limit`](PoolBuilder::memory_limit), [`Pool::timeout`], [`affinity`](PoolBuilder::affinity),
//! [`env`](PoolBuilder::env). Other limits of the kernel (`RLIMIT_NOFILE` and the like) an
//! [`initializer`](PoolBuilder::initializer) sets, with `rustix::process::setrlimit`, and `syscall_filter`
//! (feature `seccomp`) denies system calls. A worker has no descriptor of this process but the three
//! standard streams and what it talks by. All of it isolates against faults, not against malice: members
//! of a family share the memory by which they talk.
//!
//! # When a process dies
//!
//! Nobody hangs. Its parent gets an [`Error`] that says how it ended, a pool
//! fails the one task that it was running, a lock that it held is told to one
//! waiter ([`Error::is_owner_died`]) and is free, an item that it was putting
//! is not there, and all that it held of the shared memory comes back.
//!
//! # Much data
//!
//! Values cross once, into shared memory, where the other process reads them.
//! Serde looks at each item of a `Vec`, though: a [`PodVec`] of bytes or numbers crosses by
//! one copy on either side. A
//! [`SharedArray`] crosses by none, and is written and read in place.
//!
//! The shared memory of a program and all that it starts is bounded by the
//! machine, or by the environment variable `PROCESSION_ARENA_LIMIT`, in bytes.
//! A value for which there is no room is an error (`is_out_of_memory`) and is
//! given back where that can be.
//!
//! # Features
//!
//! None is on by default.
//!
//! - `async`: what waits can be awaited, by any executor; see [above](#async).
//! - `log`, `tracing`: `relay_logs`; see [above](#logs).
//! - `self-describing`: `SelfDescribing`, for types whose form says what is in it.
//! - `seccomp`: `PoolBuilder::syscall_filter`.
//! - `tasks`: `#[procession::task]`, a name by which nodes of another build of the program find a
//!   function; see [`distributed`].
//! - `serde`: serde's traits for the messages of [`distributed`], for engines that send them.
//!
//! To derive serde's traits for types of its own, a program depends on `serde` with its feature
//! `derive`.
//!
//! # Platform
//!
//! Linux on x86-64 and aarch64, kernel 5.10 or newer; Rust 1.88 or newer, of which the `let` chains
//! are used throughout.

// On docs.rs, which builds with nightly, the pages say which feature an item needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod error;
mod remote_error;

#[cfg(feature = "async")]
mod awaiting;
mod codec;
mod function;
mod handle;
mod method;
mod passed;
mod pod_vec;
mod stateful_function;

mod process;
mod run;
#[cfg(feature = "self-describing")]
mod self_describing;

mod context;
mod cpu_count;
mod init;
mod program;
mod start_method;

mod child;
mod children;
mod current;

mod child_side;
mod launch;
mod outcome;
mod server;

// After `process`, as on the page of `Process`: the start that hardly anybody should take.
mod by_fork;

pub mod distributed;
mod pool;

mod actor;

mod pipe;
mod queue;

mod joinable_queue;
mod shared;

#[cfg(any(feature = "log", feature = "tracing"))]
mod relay;
mod sync;
mod trace;
mod wait;

#[cfg(fuzzing)]
#[doc(hidden)]
pub mod any_bytes;
#[cfg(all(test, not(fuzzing)))]
mod any_bytes;
#[cfg(test)]
mod decoders;

pub use actor::Actor;
pub use child::{Child, State};
pub use children::{ActiveChild, active_children};
pub use context::Context;
pub use cpu_count::cpu_count;
pub use current::{CurrentProcess, ParentProcess, current_process, parent_process};
pub use error::{Error, PanicInfo, Result};
pub use function::{Callable, CapturesNothing};
pub use init::{init, init_in_library, init_in_test};
pub use joinable_queue::JoinableQueue;
pub use method::{Immutably, Method, Mutably};
pub use passed::Passed;
pub use pipe::{Pipe, pipe};
pub use pod_vec::PodVec;
#[cfg(feature = "async")]
pub use pool::ImapStream;
pub use pool::{
    AsyncResult, Calls, FunctionStats, Imap, IntoParProcesses, ParProcesses, Pool, PoolBuilder,
    PoolStats, ResultFuture, WorkStats, WorkerInfo, WorkerStats,
};
pub use process::{Given, Missing, Process};
#[cfg(feature = "tasks")]
pub use procession_macros::task;
pub use procession_macros::{main, test};
pub use queue::{Items, PutError, Queue};
#[cfg(any(feature = "log", feature = "tracing"))]
pub use relay::{LogRelay, relay_logs};
pub use remote_error::RemoteError;
pub use run::{Run, RunOf, Running};
#[cfg(feature = "self-describing")]
pub use self_describing::SelfDescribing;
pub use shared::{Shared, SharedArray, SharedGuard};
pub use start_method::{StartMethod, set_start_method, start_method};
pub use sync::{
    Arrival, Barrier, Condition, Event, Guard, Lock, LockGuard, Permit, RLock, RLockGuard,
    Semaphore,
};
pub use trace::{Trace, trace};
pub use wait::{Waitable, wait};

#[cfg(feature = "tasks")]
#[doc(hidden)]
pub use inventory as __inventory;

/// Gives a function its name: what `#[procession::task]` writes below it.
#[cfg(feature = "tasks")]
#[doc(hidden)]
#[macro_export]
macro_rules! register_task {
    ($function:ident) => {
        $crate::__inventory::submit! {
            $crate::distributed::RegisteredTask::new(
                &$function,
                concat!(module_path!(), "::", stringify!($function)),
            )
        }
    };
}

/// The program in Rust on the first page is one that runs.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
