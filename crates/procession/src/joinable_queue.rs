//! A queue that knows which of its values are done.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use procession_engine::shm::{Handle, HandleSource, Loans};
use procession_engine::sys::wait::time::Deadline;
use serde_core::de::DeserializeOwned;

use crate::error::Result;
use crate::handle::travels;
use crate::queue::{Items, Queue};
use crate::sync::uninterrupted;

/// A [`Queue`] whose values are tasks: a process that puts them can wait until all are
/// done.
///
/// It has all that a queue has. A value is unfinished from the moment that it is in the queue
/// until a process says that it is done. A value that was not put, because its process was killed
/// or there was no room, is not counted. A process that dies after it took a value leaves that
/// value unfinished.
///
/// # Examples
///
/// ```
/// use procession::{JoinableQueue, Process};
///
/// # procession::init();
/// let tasks = JoinableQueue::new()?;
/// tasks.put_many(1..=3)?;
/// let child = Process::new(|tasks: JoinableQueue<u32>| {
///     for number in &tasks {
///         println!("{}", number.unwrap() * 2);
///         tasks.task_done().unwrap();
///     }
/// });
/// let child = child.args(tasks.clone()).start()?;
/// tasks.join()?;
/// assert_eq!(tasks.unfinished(), 0);
/// tasks.close()?;
/// child.join()?;
/// # Ok::<(), procession::Error>(())
/// ```
pub struct JoinableQueue<T>(Queue<T>);

impl<T> JoinableQueue<T> {
    /// Makes a queue that holds as much as memory allows.
    ///
    /// # Errors
    /// When memory is exhausted.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::JoinableQueue;
    /// let tasks = JoinableQueue::new()?;
    /// tasks.put(1)?;
    /// assert_eq!((tasks.get()?, tasks.unfinished()), (1, 1));
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn new() -> Result<Self> {
        Queue::new().map(Self)
    }

    /// Makes a queue that holds at most `capacity` values; `put` blocks while
    /// it is full.
    ///
    /// # Errors
    /// `is_invalid` for a capacity of 0; when memory is exhausted.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::JoinableQueue;
    /// let tasks = JoinableQueue::bounded(1)?;
    /// tasks.put(1)?;
    /// assert!(tasks.try_put(2).unwrap_err().error.is_full());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn bounded(capacity: usize) -> Result<Self> {
        Queue::bounded(capacity).map(Self)
    }

    /// Says that a value which was taken is done.
    ///
    /// # Errors
    /// `is_invalid` when it was called more often than values were put.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::JoinableQueue;
    /// let tasks = JoinableQueue::new()?;
    /// tasks.put("wash up")?;
    /// tasks.task_done()?;
    /// assert!(tasks.task_done().unwrap_err().is_invalid());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn task_done(&self) -> Result<()> {
        Ok(self.engine().task_done()?)
    }

    /// Waits until all values are done. Values that [`close_now`](Queue::close_now)
    /// threw away do not count.
    ///
    /// # Errors
    /// When this process belongs to no family.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{JoinableQueue, Process};
    /// # procession::init();
    /// let tasks = JoinableQueue::new()?;
    /// tasks.put_many(1..=3)?;
    /// let child = Process::new(|tasks: JoinableQueue<u32>| {
    ///     for _ in 0..3 {
    ///         tasks.get().unwrap();
    ///         tasks.task_done().unwrap();
    ///     }
    /// });
    /// let child = child.args(tasks.clone()).start()?;
    /// tasks.join()?;
    /// assert_eq!(tasks.unfinished(), 0);
    /// child.join()?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn join(&self) -> Result<()> {
        uninterrupted(|| self.engine().join(Deadline::NEVER))
    }

    /// As [`join`](Self::join), for at most `timeout`.
    ///
    /// # Errors
    /// As [`join`](Self::join), and `is_timeout` when some were not done.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use procession::JoinableQueue;
    /// let tasks = JoinableQueue::new()?;
    /// tasks.put("wash up")?;
    /// let late = tasks.join_timeout(Duration::from_millis(1)).unwrap_err();
    /// assert!(late.is_timeout());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn join_timeout(&self, timeout: Duration) -> Result<()> {
        let deadline = Deadline::after(timeout);
        uninterrupted(|| self.engine().join(deadline))
    }

    /// As [`join`](Self::join), awaited: no thread waits. With the feature `async`.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{JoinableQueue, Process};
    /// # procession::init();
    /// # futures_lite::future::block_on(async {
    /// let tasks = JoinableQueue::new()?;
    /// tasks.put_async("wash up".to_owned()).await?;
    /// let work = |tasks: JoinableQueue<String>| tasks.get().and_then(|_| tasks.task_done()).is_ok();
    /// let child = Process::new(work).args(tasks.clone()).start()?;
    /// tasks.join_async().await?;
    /// assert!(child.await?);
    /// # Ok::<(), procession::Error>(())
    /// # })?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[cfg(feature = "async")]
    pub async fn join_async(&self) -> Result<()> {
        self.0.done_async().await
    }

    /// Returns the number of values that were put and are not done, exactly as of now.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::JoinableQueue;
    /// let tasks = JoinableQueue::new()?;
    /// tasks.put("wash up")?;
    /// assert_eq!(tasks.unfinished(), 1);
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.engine().unfinished() as usize
    }

    fn lend(&self, loans: &mut Loans) -> Handle {
        self.0.lend(loans)
    }

    fn attach(handle: Handle, source: &HandleSource) -> procession_engine::Result<Self> {
        Queue::attach(handle, source).map(Self)
    }
}

impl<T> Deref for JoinableQueue<T> {
    type Target = Queue<T>;

    fn deref(&self) -> &Queue<T> {
        &self.0
    }
}

impl<'a, T: DeserializeOwned> IntoIterator for &'a JoinableQueue<T> {
    type Item = Result<T>;
    type IntoIter = Items<'a, T>;

    fn into_iter(self) -> Items<'a, T> {
        self.0.iter()
    }
}

impl<T> Clone for JoinableQueue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for JoinableQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinableQueue")
            .field("len", &self.len())
            .field("unfinished", &self.unfinished())
            .finish_non_exhaustive()
    }
}

travels!([T] JoinableQueue<T>);
