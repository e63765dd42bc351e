//! A pool's result as a future.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};

use procession_engine::pool::RunningTasks;

use crate::error::Result;
use crate::pool::async_result::AsyncResult;

/// Is the result of a task, once it is in. No thread waits for it: one thread in the background
/// serves all results of a pool, and wakes the tasks that await them.
///
/// Any executor can poll it. When it is dropped before the result is in, the task is cancelled as
/// by [`AsyncResult::cancel`]: if it has not begun, it never will.
///
/// # Examples
///
/// ```
/// use procession::Pool;
///
/// # procession::init();
/// # futures_lite::future::block_on(async {
/// let pool = Pool::new(2)?;
/// let (six, seven) = (pool.apply_async(|| 6, ())?, pool.apply_async(|| 7, ())?);
/// assert_eq!(six.await? * seven.await?, 42);
/// # Ok::<(), procession::Error>(())
/// # })?;
/// # Ok::<(), procession::Error>(())
/// ```
#[must_use = "a future that is dropped cancels its task"]
pub struct ResultFuture<R> {
    result: AsyncResult<R>,
    running: RunningTasks,
    is_taken: bool,
}

impl<R> ResultFuture<R> {
    /// Kills the task, with its worker, if this future is dropped while the task runs, as
    /// [`AsyncResult::kill`] does. So the deadline of a request can end the work that the request
    /// has asked for.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Event, Pool};
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// let stuck = pool.apply_async(|never: Event| never.wait().is_ok(), Event::new()?)?;
    /// drop(stuck.into_future().kill_on_drop());
    /// assert_eq!(pool.apply(|| 42, ())?, 42);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn kill_on_drop(mut self) -> Self {
        self.running = RunningTasks::Killed;
        self
    }
}

impl<R> Future for ResultFuture<R> {
    type Output = Result<R>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<R>> {
        if !self.result.poll(context.waker()) {
            return match self.result.deliver_in_background() {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            };
        }
        self.is_taken = true;
        Poll::Ready(self.result.take())
    }
}

impl<R> IntoFuture for AsyncResult<R> {
    type Output = Result<R>;
    type IntoFuture = ResultFuture<R>;

    fn into_future(self) -> ResultFuture<R> {
        ResultFuture {
            result: self,
            running: RunningTasks::Spared,
            is_taken: false,
        }
    }
}

impl<R> Drop for ResultFuture<R> {
    fn drop(&mut self) {
        if !self.is_taken && !self.result.is_ready() {
            // In a forked copy there is nothing to cancel.
            let _ = self.result.cancel_with(self.running);
        }
    }
}

impl<R> fmt::Debug for ResultFuture<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ResultFuture").field(&self.result).finish()
    }
}
