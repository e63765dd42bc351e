//! Futures by which tasks of an executor wait, instead of in a thread: a descriptor tells them when
//! to try again.
//!
//! A process has one descriptor for each object, however many of its tasks wait for the object. The
//! reactor of `async-io` watches the descriptor in a thread of its own, so any executor will do.

use std::future::{pending, poll_fn};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use async_io::{Async, Timer};
use procession_engine::sync::{Armed, AwaitFd, ReadableFd};
use procession_engine::sys::fork_safe::once::ForkOnce;
use procession_engine::sys::process::pidfd::PidFd;

use crate::error::{Error, Result};

/// How long a task waits before it looks whether a process was killed before it could tell of its
/// change.
const PERIOD: Duration = Duration::from_secs(1);

/// The descriptor by which the tasks of this process wait for one object; it is made when the first
/// of them waits.
#[derive(Debug, Default)]
pub struct Awaited {
    fd: ForkOnce<AwaitFd>,
    watched: Mutex<Option<Arc<Async<ReadableFd>>>>,
}

impl Awaited {
    /// Tries until there is a result, and waits for a change before each further try.
    pub async fn try_until<T>(
        &self,
        attempt: impl Fn() -> Result<Option<T>>,
        make: impl Fn() -> AwaitFd,
        arm: impl Fn(&AwaitFd) -> procession_engine::Result<Option<Armed>>,
    ) -> Result<T> {
        loop {
            if let Some(found) = attempt()? {
                return Ok(found);
            }
            self.change(&make, &arm).await?;
        }
    }

    /// Waits until the object has changed, so that another try may succeed.
    pub async fn change(
        &self,
        make: impl Fn() -> AwaitFd,
        arm: impl Fn(&AwaitFd) -> procession_engine::Result<Option<Armed>>,
    ) -> Result<()> {
        let Some(armed) = arm(self.fd.get_or_init(make))? else {
            return Ok(());
        };
        let watched = self.watched(armed.changed)?;
        let mut readable = pin!(watched.readable());
        let holder = armed.holder_exit.as_ref().map(PidFd::fd).transpose();
        let holder = match holder.map_err(Error::from) {
            Ok(holder) => holder.map(readable_copy).transpose()?,
            // The holder has ended a moment ago.
            Err(_) => return reclaim(),
        };
        let mut holder_exit = pin!(async {
            match &holder {
                Some(holder) => holder.readable().await,
                None => pending().await,
            }
        });
        let mut period = Timer::after(PERIOD);
        poll_fn(|context| {
            if let Poll::Ready(seen) = readable.as_mut().poll(context) {
                return Poll::Ready(seen.map_err(|error| refused(&error)));
            }
            if let Poll::Ready(seen) = holder_exit.as_mut().poll(context) {
                return Poll::Ready(
                    seen.map_err(|error| refused(&error))
                        .and_then(|()| reclaim()),
                );
            }
            if Pin::new(&mut period).poll(context).is_ready() {
                return Poll::Ready(reclaim());
            }
            Poll::Pending
        })
        .await
    }

    /// Returns the descriptor for the reactor to watch: the same as before, unless the program has
    /// closed that.
    fn watched(&self, changed: ReadableFd) -> Result<Arc<Async<ReadableFd>>> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let number = changed.as_fd().as_raw_fd();
        if let Some(same) = watched.as_ref()
            && same.get_ref().as_fd().as_raw_fd() == number
        {
            return Ok(Arc::clone(same));
        }
        let new = Async::new_nonblocking(changed).map_err(|error| refused(&error))?;
        Ok(Arc::clone(watched.insert(Arc::new(new))))
    }
}

/// Repairs what killed members have left, and so tells all that wait for it.
fn reclaim() -> Result<()> {
    procession_engine::family()?.reclaim_all();
    Ok(())
}

/// Waits until a descriptor is readable, with a copy of it that only this future watches.
pub async fn readable(fd: impl AsFd) -> Result<()> {
    let watched = readable_copy(fd)?;
    watched.readable().await.map_err(|e| refused(&e))
}

/// Has the reactor watch a copy of a descriptor.
fn readable_copy(fd: impl AsFd) -> Result<Async<OwnedFd>> {
    let own: OwnedFd = fd.as_fd().try_clone_to_owned().map_err(|e| refused(&e))?;
    Async::new_nonblocking(own).map_err(|e| refused(&e))
}

#[cold]
fn refused(error: &std::io::Error) -> Error {
    Error::invalid(format!("cannot wait without a thread: {error}"))
}
