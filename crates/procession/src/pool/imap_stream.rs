//! The results of a pool one by one, as a stream.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use serde_core::Serialize;
use serde_core::de::DeserializeOwned;

use crate::error::Result;
use crate::pool::imap::Imap;

/// Is an [`Imap`] as a `Stream`: no thread waits for its results. With the feature `async`.
///
/// When it is dropped before its end, the tasks that have not begun never will.
///
/// # Examples
///
/// ```
/// use futures_lite::StreamExt;
/// use procession::Pool;
///
/// # procession::init();
/// # futures_lite::future::block_on(async {
/// let pool = Pool::new(2)?;
/// let mut squares = pool.imap_unordered(|n: u64| n * n, 1..=3).into_stream();
/// assert_eq!(squares.try_fold(0, |sum, square| Ok(sum + square)).await?, 14);
/// # Ok::<(), procession::Error>(())
/// # })?;
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a stream that is dropped cancels its tasks"]
pub struct ImapStream<'a, I, R>(Imap<'a, I, R>);

impl<'a, I, R> Imap<'a, I, R> {
    /// Turns the iterator into a stream, whose results are awaited. The inputs are asked for in the
    /// thread that polls, and must not block it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// use futures_lite::StreamExt;
    ///
    /// # procession::init();
    /// # futures_lite::future::block_on(async {
    /// let pool = Pool::new(2)?;
    /// let mut squares = pool.imap(|n: u64| n * n, 1..=3).into_stream();
    /// let mut sum = 0;
    /// while let Some(square) = squares.next().await {
    ///     sum += square?;
    /// }
    /// assert_eq!(sum, 14);
    /// # Ok::<(), procession::Error>(())
    /// # })?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn into_stream(self) -> ImapStream<'a, I, R> {
        ImapStream(self)
    }
}

impl<I, R> Stream for ImapStream<'_, I, R>
where
    I: Iterator<Item: Serialize>,
    R: DeserializeOwned + Send + 'static,
{
    type Item = Result<R>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<R>>> {
        self.0.poll_next(context)
    }
}
