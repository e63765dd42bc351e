//! Ways to wait for other processes.
//!
//! Each of these is shared by cloning it, by sending it to another process as
//! an argument, or inside any message. None is left locked by a process that
//! dies: one waiter gets an error (`is_owner_died`), and the rest go on.

mod barrier;
mod condition;
mod event;
mod lock;
mod rlock;
mod semaphore;

pub use barrier::{Arrival, Barrier};
pub use condition::{Condition, Guard};
pub use event::Event;
pub use lock::{Lock, LockGuard};
pub use rlock::{RLock, RLockGuard};
pub use semaphore::{Permit, Semaphore};

use std::time::Duration;

use procession_engine::sys::wait::time::Deadline;

use crate::error::{Error, Result};

/// Makes a type cross that wraps the object of the engine that has its name, and, after that
/// object, what it has with the feature `async`.
macro_rules! crosses {
    ($name:ident $(, $more:expr)?) => {
        impl $name {
            fn of(engine: procession_engine::sync::$name) -> Self {
                Self(
                    engine,
                    $(
                        #[cfg(feature = "async")]
                        $more,
                    )?
                )
            }

            fn lend(&self, loans: &mut procession_engine::shm::Loans) -> procession_engine::shm::Handle {
                self.0.lend(loans)
            }

            fn attach(
                handle: procession_engine::shm::Handle,
                source: &procession_engine::shm::HandleSource,
            ) -> procession_engine::Result<Self> {
                procession_engine::sync::$name::attach(handle, source).map(Self::of)
            }
        }

        $crate::handle::travels!([] $name);
    };
}

pub(crate) use crosses;

/// Goes on waiting after signals; their handlers have run by then.
pub(crate) fn uninterrupted<T>(
    mut wait: impl FnMut() -> procession_engine::Result<T>,
) -> Result<T> {
    loop {
        match wait().map_err(Error::from) {
            Err(error) if error.is_interrupted() => {}
            result => return result,
        }
    }
}

/// Goes on waiting after signals until `timeout` has passed; tells whether the wait ended in time.
pub(crate) fn in_time(
    timeout: Duration,
    mut wait: impl FnMut(Deadline) -> procession_engine::Result<()>,
) -> Result<bool> {
    let deadline = Deadline::after(timeout);
    match uninterrupted(|| wait(deadline)) {
        Ok(()) => Ok(true),
        Err(error) if error.is_timeout() => Ok(false),
        Err(error) => Err(error),
    }
}
