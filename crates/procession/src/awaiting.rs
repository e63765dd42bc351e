//! What tasks of an executor wait by, instead of a thread: futures that learn by a descriptor
//! when another try is worth it.
//!
//! Of each thing a process has one descriptor, however many of its tasks wait for it. The
//! reactor of `async-io` watches it, in a thread of its own, so any executor will do.

use std::future::{pending, poll_fn};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Poll;
use std::time::Duration;

use async_io::{Async, Timer};
use procession_engine::sync::{Armed, AwaitFd, ReadableFd};
use procession_engine::sys::process::pidfd::PidFd;

use crate::error::{Error, Result};

/// How long until it is looked whether a process was killed before it could tell.
const PERIOD: Duration = Duration::from_secs(1);

/// What the tasks of this process wait by for one thing, made when the first does.
#[derive(Debug, Default)]
pub struct Awaited {
    fd: OnceLock<AwaitFd>,
    watched: Mutex<Option<Arc<Async<ReadableFd>>>>,
}

impl Awaited {
    /// Tries until there is something, and waits in between until another try is worth it.
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

    /// Waits until another try is worth it.
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
            // It ended a moment ago.
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

    /// Returns what the reactor watches: the same as before, unless the program has closed it.
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

/// Sets right what members have left that were killed; who waits for it is told.
fn reclaim() -> Result<()> {
    procession_engine::family()?.reclaim_all();
    Ok(())
}

/// Waits until a descriptor is readable that this future alone watches.
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
