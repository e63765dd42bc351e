//! A result that is still on its way.

use std::fmt;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use procession_engine::pool::RunningTasks;
use procession_engine::sys::wait::time::Deadline;

use crate::error::Result;
use crate::pool::call::Pending;
use crate::pool::core::Core;

/// Stands for the result of [`Pool::apply_async`](crate::Pool::apply_async) or
/// [`Pool::map_async`](crate::Pool::map_async).
///
/// It can be awaited, too: see [`ResultFuture`](crate::ResultFuture). Dropping it does not cancel
/// its task.
///
/// # Examples
///
/// ```
/// use procession::Pool;
///
/// # procession::init();
/// let pool = Pool::new(2)?;
/// let first = pool.apply_async(|| 6 * 7, ())?;
/// let second = pool.apply_async(|| "done".to_owned(), ())?;
/// assert_eq!(second.get()?, "done");
/// assert_eq!(first.get()?, 42);
/// # Ok::<(), procession::Error>(())
/// ```
pub struct AsyncResult<R> {
    pool: Arc<Core>,
    call: Arc<dyn Pending<R>>,
}

impl<R> AsyncResult<R> {
    pub(crate) fn new(pool: Arc<Core>, call: Arc<dyn Pending<R>>) -> Self {
        Self { pool, call }
    }

    /// Blocks until the result is in, and returns it.
    ///
    /// # Errors
    /// As [`Pool::apply`](crate::Pool::apply).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// let result = pool.apply_async(|n: u32| n * 2, 21)?;
    /// assert_eq!(result.get()?, 42);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn get(self) -> Result<R> {
        self.wait_for_result()
    }

    /// As [`get`](Self::get), for at most `timeout`; on a timeout, ask again.
    ///
    /// # Errors
    /// As [`get`](Self::get), and `is_timeout`; `is_invalid` when the result
    /// was fetched before.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use procession::{Event, Pool};
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// let go = Event::new()?;
    /// let result = pool.apply_async(|go: Event| go.wait().is_ok(), go.clone())?;
    /// assert!(result.get_timeout(Duration::ZERO).unwrap_err().is_timeout());
    /// go.set();
    /// assert!(result.get_timeout(Duration::from_secs(60))?);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn get_timeout(&self, timeout: Duration) -> Result<R> {
        self.wait_until(Deadline::after(timeout)).map_err(|error| {
            error.or_late(format_args!(
                "the result was not there after {timeout:?}: its task may still come to an end"
            ))
        })?;
        self.call.take()
    }

    /// Blocks until the result is in or `timeout` has passed; tells whether it
    /// is in.
    ///
    /// # Errors
    /// When the pool cannot be waited for, as in a forked copy of its process.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// let result = pool.apply_async(|| 42, ())?;
    /// assert!(result.wait_timeout(Duration::from_secs(60))?);
    /// assert!(result.is_ready() && result.is_successful());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool> {
        match self.wait_until(Deadline::after(timeout)) {
            Ok(()) => Ok(true),
            Err(error) if error.is_timeout() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Tells whether the result is in.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Event, Pool};
    /// # procession::init();
    /// let (pool, go) = (Pool::new(1)?, Event::new()?);
    /// let result = pool.apply_async(|go: Event| go.wait().is_ok(), go.clone())?;
    /// assert!(!result.is_ready());
    /// go.set();
    /// assert!(result.get()?);
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.call.is_done()
    }

    /// Tells whether the result is in, not yet fetched, and no error.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// let result = pool.apply_async(|| -> u8 { panic!("no luck") }, ())?;
    /// assert!(result.wait_timeout(Duration::from_secs(60))?);
    /// assert!(result.is_ready() && !result.is_successful());
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn is_successful(&self) -> bool {
        self.call.is_successful()
    }

    /// Cancels the task, or all tasks of a map: those that have not begun
    /// never will, those that run go on. Tells whether there was anything to
    /// cancel; then the result is an error with `is_cancelled`, for a map once
    /// its tasks that run have ended.
    ///
    /// # Errors
    /// In a forked copy of the pool's process.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Event, Pool};
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// let go = Event::new()?;
    /// let first = pool.apply_async(|go: Event| go.wait().is_ok(), go.clone())?;
    /// let second = pool.apply_async(|| 42, ())?;
    /// assert!(second.cancel()?);
    /// assert!(second.get().unwrap_err().is_cancelled());
    /// go.set();
    /// assert!(first.get()?);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn cancel(&self) -> Result<bool> {
        self.cancel_with(RunningTasks::Spared)
    }

    /// As [`cancel`](Self::cancel), but kills tasks that run, with their
    /// workers. Nothing else is lost.
    ///
    /// # Errors
    /// As [`cancel`](Self::cancel).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Event, Pool};
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// let stuck = pool.apply_async(|never: Event| never.wait().is_ok(), Event::new()?)?;
    /// assert!(stuck.kill()?);
    /// assert!(stuck.get().unwrap_err().is_cancelled());
    /// assert_eq!(pool.apply(|| 42, ())?, 42);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn kill(&self) -> Result<bool> {
        self.cancel_with(RunningTasks::Killed)
    }

    pub(super) fn cancel_with(&self, running: RunningTasks) -> Result<bool> {
        self.call.set_cancelled();
        self.pool.cancel(Arc::as_ptr(&self.call).cast(), running)
    }

    /// Tells whether the result is in; if it is not, `waker` is woken when it is.
    pub(super) fn poll(&self, waker: &Waker) -> bool {
        self.call.poll(waker)
    }

    pub(super) fn deliver_in_background(&self) -> Result<()> {
        self.pool.carrier.deliver_in_background()
    }

    /// Returns the result, which is in.
    pub(super) fn take(&self) -> Result<R> {
        self.call.take()
    }

    pub(crate) fn wait_for_result(&self) -> Result<R> {
        self.wait_until(Deadline::NEVER)?;
        self.call.take()
    }

    fn wait_until(&self, deadline: Deadline) -> Result<()> {
        match self.pool.carrier.drive(&|| self.call.is_done(), deadline) {
            // The pool has ended, and the call's outcome says why.
            Err(error) if error.is_closed() && self.call.is_done() => Ok(()),
            result => result,
        }
    }
}

impl<R> fmt::Debug for AsyncResult<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncResult")
            .field("is_ready", &self.is_ready())
            .finish_non_exhaustive()
    }
}
