//! procession.
mod child;
mod child_side;
mod codec;
mod context;
mod current;
mod error;
mod function;
mod handle;
mod init;
mod launch;
mod outcome;
mod pool;
mod process;
mod run;
mod server;
mod shared;
mod sync;
pub use child::{Child, State};
pub use context::{Context, StartMethod, cpu_count, set_start_method, start_method};
pub use current::{
    ActiveChild, CurrentProcess, ParentProcess, active_children, current_process, parent_process,
};
pub use error::{Error, PanicInfo, Result};
pub use function::Callable;
pub use init::{init, init_in_test};
pub use process::Process;
pub use procession_macros::{main, test};
pub use run::Run;
pub use shared::{Shared, SharedArray, SharedGuard};
pub use sync::{Event, Lock, LockGuard, Permit, RLock, RLockGuard, Semaphore};
