//! A queue of values between any number of processes.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use procession_engine::channel as engine;
use procession_engine::shm::{Handle, HandleSource, Loans};
use procession_engine::sys::wait::time::Deadline;
use serde_core::Serialize;
use serde_core::de::DeserializeOwned;

use crate::codec::{self, Encoded};
use crate::error::{Error, Result};
use crate::handle::travels;
use crate::sync::uninterrupted;

/// A first-in, first-out queue that many processes put into and get from.
///
/// Values are in shared memory as soon as `put` returns: the process that put
/// them may end. A process that is killed in the middle of a `put` loses that
/// value and nothing else.
///
/// # Examples
///
/// ```
/// use procession::{Process, Queue};
///
/// # procession::init();
/// let queue = Queue::new()?;
/// let child = Process::new(|queue: Queue<u64>| {
///     for number in [5, 10, 15] {
///         queue.put(number * 2).unwrap();
///     }
/// })
/// .args(queue.clone())
/// .start()?;
/// assert_eq!([queue.get()?, queue.get()?, queue.get()?], [10, 20, 30]);
/// child.join()?;
/// # Ok::<(), procession::Error>(())
/// ```
pub struct Queue<T> {
    engine: engine::Queue,
    items: PhantomData<fn(T) -> T>,
    /// The descriptors by which tasks wait for items, and for room.
    #[cfg(feature = "async")]
    awaited: std::sync::Arc<[crate::awaiting::Awaited; 2]>,
}

/// Gives back the value that could not be put, and says why.
///
/// # Examples
///
/// ```
/// use procession::Queue;
///
/// let queue = Queue::bounded(1)?;
/// queue.put("tea".to_owned())?;
/// let refused = queue.try_put("coffee".to_owned()).unwrap_err();
/// assert!(refused.error.is_full());
/// assert_eq!(refused.value, "coffee");
/// # Ok::<(), procession::Error>(())
/// ```
pub struct PutError<T> {
    /// The value.
    pub value: T,
    /// Why: `is_full`, `is_timeout`, `is_closed`, `is_codec`,
    /// `is_out_of_memory`.
    pub error: Error,
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutError")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl<T> std::error::Error for PutError<T> {}

impl<T> From<PutError<T>> for Error {
    fn from(error: PutError<T>) -> Self {
        error.error
    }
}

impl<T> Queue<T> {
    /// Makes a queue that holds as much as memory allows.
    ///
    /// # Errors
    /// When memory is exhausted.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Queue;
    /// let queue = Queue::new()?;
    /// queue.put("tea".to_owned())?;
    /// assert_eq!((queue.get()?, queue.capacity()), ("tea".to_owned(), None));
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn new() -> Result<Self> {
        Ok(Self::of(engine::Queue::create(0)?))
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
    /// # use procession::Queue;
    /// let queue = Queue::bounded(1)?;
    /// queue.put("first")?;
    /// assert!(queue.is_full());
    /// assert!(Queue::<u8>::bounded(0).unwrap_err().is_invalid());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn bounded(capacity: usize) -> Result<Self> {
        if capacity == 0 {
            return Err(Error::invalid(
                "a queue of capacity 0 could hold nothing: use at least 1, or Queue::new for one \
                 without bound",
            ));
        }
        Ok(Self::of(engine::Queue::create(capacity as u64)?))
    }

    fn of(engine: engine::Queue) -> Self {
        Self {
            engine,
            items: PhantomData,
            #[cfg(feature = "async")]
            awaited: std::sync::Arc::default(),
        }
    }

    pub(crate) fn engine(&self) -> &engine::Queue {
        &self.engine
    }

    pub(crate) fn lend(&self, loans: &mut Loans) -> Handle {
        self.engine.lend(loans)
    }

    pub(crate) fn attach(handle: Handle, source: &HandleSource) -> procession_engine::Result<Self> {
        engine::Queue::attach(handle, source).map(Self::of)
    }
}

impl<T: Serialize> Queue<T> {
    /// Puts a value at the end, waiting for room in a bounded queue.
    ///
    /// # Errors
    /// Gives the value back: when it does not serialise, when the queue is
    /// closed, or when memory is exhausted.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Queue;
    /// let queue = Queue::new()?;
    /// queue.put("tea".to_owned())?;
    /// queue.close()?;
    /// let refused = queue.put("coffee".to_owned()).unwrap_err();
    /// assert_eq!(refused.value, "coffee");
    /// assert!(refused.error.is_closed());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn put(&self, value: T) -> std::result::Result<(), PutError<T>> {
        self.put_until(value, Deadline::NEVER)
    }

    /// As [`put`](Self::put), for at most `timeout`.
    ///
    /// # Errors
    /// As [`put`](Self::put), and `is_timeout` when there was no room.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use procession::Queue;
    /// let queue = Queue::bounded(1)?;
    /// queue.put(1)?;
    /// let refused = queue.put_timeout(2, Duration::from_millis(1)).unwrap_err();
    /// assert!(refused.error.is_timeout());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn put_timeout(&self, value: T, timeout: Duration) -> std::result::Result<(), PutError<T>> {
        self.put_until(value, Deadline::after(timeout))
    }

    /// Puts a value at the end if there is room now.
    ///
    /// # Errors
    /// As [`put`](Self::put), and `is_full` when there is no room.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Queue;
    /// let queue = Queue::bounded(1)?;
    /// queue.try_put(1)?;
    /// let refused = queue.try_put(2).unwrap_err();
    /// assert!(refused.error.is_full() && refused.value == 2);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn try_put(&self, value: T) -> std::result::Result<(), PutError<T>> {
        self.put_until(value, Deadline::now())
    }

    fn put_until(&self, value: T, deadline: Deadline) -> std::result::Result<(), PutError<T>> {
        codec::lending(|| codec::encode(&value, ITEM))
            .and_then(|bytes| self.put_encoded(bytes, deadline))
            .map_err(|error| PutError { value, error })
    }

    fn put_encoded(&self, mut bytes: Encoded, deadline: Deadline) -> Result<()> {
        let Some((mut block, len)) = bytes.take_block() else {
            return uninterrupted(|| self.engine.put(&[&bytes], deadline));
        };
        while let Err(back) = self.engine.put_block(block, len as u64, deadline) {
            let error = Error::from(back.error);
            if !error.is_interrupted() {
                return Err(error);
            }
            block = back.block;
        }
        Ok(())
    }

    /// Puts many values, in fewer steps than one by one.
    ///
    /// # Errors
    /// As [`put`](Self::put); values before the one that failed are in the
    /// queue.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Queue;
    /// let queue = Queue::new()?;
    /// queue.put_many(1..=3)?;
    /// assert_eq!(queue.get_many(10)?, [1, 2, 3]);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn put_many(&self, values: impl IntoIterator<Item = T>) -> Result<()> {
        Ok(self.put_many_until(values, Deadline::NEVER)?)
    }

    /// As [`put_many`](Self::put_many), for at most `timeout` in all.
    ///
    /// # Errors
    /// As [`put`](Self::put), and `is_timeout` when there was no room for all. The values that were
    /// taken from the iterator and are not in the queue come back; those before them are in the
    /// queue, and what the iterator has after them stays there: pass it by `&mut` to go on.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use procession::Queue;
    /// let queue = Queue::bounded(2)?;
    /// let refused = queue.put_many_timeout(1..=5, Duration::from_millis(1)).unwrap_err();
    /// assert!(refused.error.is_timeout());
    /// assert_eq!(refused.value, [3, 4, 5]);
    /// assert_eq!(queue.get_many(10)?, [1, 2]);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn put_many_timeout(
        &self,
        values: impl IntoIterator<Item = T>,
        timeout: Duration,
    ) -> std::result::Result<(), PutError<Vec<T>>> {
        self.put_many_until(values, Deadline::after(timeout))
    }

    fn put_many_until(
        &self,
        values: impl IntoIterator<Item = T>,
        deadline: Deadline,
    ) -> std::result::Result<(), PutError<Vec<T>>> {
        let mut values = values.into_iter();
        loop {
            let mut taken: Vec<T> = values.by_ref().take(BATCH).collect();
            if taken.is_empty() {
                return Ok(());
            }
            let mut put = 0;
            if let Err(error) = self.put_taken(&taken, deadline, &mut put) {
                taken.drain(..put);
                let value = taken;
                return Err(PutError { value, error });
            }
        }
    }

    /// Puts the values, and counts in `put` those that are in the queue.
    fn put_taken(&self, values: &[T], deadline: Deadline, put: &mut usize) -> Result<()> {
        let mut batch = Vec::with_capacity(values.len());
        for value in values {
            match codec::lending(|| codec::encode(value, ITEM)) {
                Ok(bytes) if !bytes.rides() => batch.push(bytes),
                single => {
                    // A value with handles is put by itself, and one that cannot be put comes after
                    // those before it.
                    self.put_batch(&batch, deadline, put)?;
                    batch.clear();
                    self.put_encoded(single?, deadline)?;
                    *put += 1;
                }
            }
        }
        self.put_batch(&batch, deadline, put)
    }

    fn put_batch(&self, batch: &[Encoded], deadline: Deadline, put: &mut usize) -> Result<()> {
        let mut rest: Vec<&[u8]> = batch.iter().map(|bytes| &**bytes).collect();
        while !rest.is_empty() {
            let done = uninterrupted(|| self.engine.put_many(&rest, deadline))?;
            rest.drain(..done);
            *put += done;
        }
        Ok(())
    }
}

impl<T: DeserializeOwned> Queue<T> {
    /// Takes the first value, waiting for one.
    ///
    /// # Errors
    /// `is_closed` when the queue is closed and empty, `is_codec` when the
    /// value is not a `T`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Queue;
    /// let queue = Queue::new()?;
    /// queue.put_many(["first", "second"].map(str::to_owned))?;
    /// assert_eq!(queue.get()?, "first");
    /// assert_eq!(queue.get()?, "second");
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn get(&self) -> Result<T> {
        self.get_until(Deadline::NEVER)
    }

    /// As [`get`](Self::get), for at most `timeout`.
    ///
    /// # Errors
    /// As [`get`](Self::get), and `is_timeout` when none came.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use procession::Queue;
    /// let queue = Queue::<u8>::new()?;
    /// let late = queue.get_timeout(Duration::from_millis(1)).unwrap_err();
    /// assert!(late.is_timeout());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn get_timeout(&self, timeout: Duration) -> Result<T> {
        self.get_until(Deadline::after(timeout))
    }

    /// Takes the first value if there is one now.
    ///
    /// # Errors
    /// As [`get`](Self::get), and `is_empty` when there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Queue;
    /// let queue = Queue::<u8>::new()?;
    /// assert!(queue.try_get().unwrap_err().is_empty());
    /// queue.put(1)?;
    /// assert_eq!(queue.try_get()?, 1);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn try_get(&self) -> Result<T> {
        self.get_until(Deadline::now())
    }

    fn get_until(&self, deadline: Deadline) -> Result<T> {
        let message = uninterrupted(|| self.engine.get(deadline))?;
        message.read(|bytes, source| codec::decode_from(source, bytes, ITEM))
    }

    /// Returns an iterator that takes values until the queue is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Queue;
    /// let queue = Queue::new()?;
    /// queue.put_many([1, 2, 3])?;
    /// queue.close()?;
    /// let all: Vec<i32> = queue.iter().collect::<Result<_, _>>()?;
    /// assert_eq!(all, [1, 2, 3]);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn iter(&self) -> Items<'_, T> {
        Items(self)
    }

    /// Takes up to `most` values: waits for the first, then takes what is there.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Queue;
    /// let queue = Queue::new()?;
    /// queue.put_many(0..100)?;
    /// assert_eq!(queue.get_many(2)?, [0, 1]);
    /// assert_eq!(queue.len(), 98);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn get_many(&self, most: usize) -> Result<Vec<T>> {
        self.get_many_until(most, Deadline::NEVER)
    }

    /// As [`get_many`](Self::get_many), for at most `timeout`.
    ///
    /// # Errors
    /// As [`get`](Self::get), and `is_timeout` when none came.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use procession::Queue;
    /// let queue = Queue::new()?;
    /// queue.put_many([1, 2])?;
    /// assert_eq!(queue.get_many_timeout(10, Duration::from_secs(60))?, [1, 2]);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn get_many_timeout(&self, most: usize, timeout: Duration) -> Result<Vec<T>> {
        self.get_many_until(most, Deadline::after(timeout))
    }

    /// Takes up to `most` of the values that are there now.
    ///
    /// # Errors
    /// As [`get`](Self::get), and `is_empty` when there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Queue;
    /// let queue = Queue::new()?;
    /// assert!(queue.try_get_many(10).unwrap_err().is_empty());
    /// queue.put_many([1, 2])?;
    /// assert_eq!(queue.try_get_many(10)?, [1, 2]);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn try_get_many(&self, most: usize) -> Result<Vec<T>> {
        self.get_many_until(most, Deadline::now())
    }

    fn get_many_until(&self, most: usize, deadline: Deadline) -> Result<Vec<T>> {
        let messages = uninterrupted(|| self.engine.get_many(most, deadline))?;
        messages
            .iter()
            .map(|message| message.read(|bytes, source| codec::decode_from(source, bytes, ITEM)))
            .collect()
    }
}

impl<T> Queue<T> {
    /// Closes the queue for all: what is in it can still be fetched, after
    /// which `get` fails, and `put` fails at once.
    ///
    /// # Errors
    /// When this process belongs to no family.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Queue;
    /// let queue = Queue::new()?;
    /// queue.put(1)?;
    /// queue.close()?;
    /// assert!(queue.put(2).is_err());
    /// assert_eq!(queue.get()?, 1);
    /// assert!(queue.get().unwrap_err().is_closed());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn close(&self) -> Result<()> {
        Ok(self.engine.close()?)
    }

    /// Closes the queue for all at once: what is in it is thrown away.
    ///
    /// # Errors
    /// As [`close`](Self::close).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Queue;
    /// let queue = Queue::new()?;
    /// queue.put(1)?;
    /// queue.close_now()?;
    /// assert!(queue.get().unwrap_err().is_closed());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn close_now(&self) -> Result<()> {
        Ok(self.engine.close_now()?)
    }

    /// Returns the number of values in the queue, exactly as of now.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Queue;
    /// let queue = Queue::new()?;
    /// queue.put_many([1, 2, 3])?;
    /// assert_eq!(queue.len(), 3);
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.engine.len() as usize
    }

    /// Tells whether the queue is empty now.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Queue;
    /// let queue = Queue::new()?;
    /// assert!(queue.is_empty());
    /// queue.put(1)?;
    /// assert!(!queue.is_empty());
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.engine.is_empty()
    }

    /// Tells whether the queue is full now.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Queue;
    /// let queue = Queue::bounded(1)?;
    /// assert!(!queue.is_full());
    /// queue.put(1)?;
    /// assert!(queue.is_full());
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.engine.is_full()
    }

    /// Returns the number of values that the queue holds at most; `None` without bound.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Queue;
    /// assert_eq!(Queue::<u8>::bounded(3)?.capacity(), Some(3));
    /// assert_eq!(Queue::<u8>::new()?.capacity(), None);
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn capacity(&self) -> Option<usize> {
        match self.engine.maxsize() {
            0 => None,
            some => Some(some as usize),
        }
    }
}

/// The name of a value in errors.
const ITEM: &str = "a queue's item";

/// Values that cross in one step; found by trial: more gain little.
const BATCH: usize = 64;

/// Takes values from a [`Queue`] until it is closed and empty.
///
/// # Examples
///
/// ```
/// use procession::Queue;
///
/// let queue = Queue::new()?;
/// queue.put_many([1, 2, 3])?;
/// queue.close()?;
/// let mut sum = 0;
/// for item in &queue {
///     sum += item?;
/// }
/// assert_eq!(sum, 6);
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Debug)]
pub struct Items<'a, T>(&'a Queue<T>);

impl<T: DeserializeOwned> Iterator for Items<'_, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        match self.0.get() {
            Err(error) if error.is_closed() => None,
            result => Some(result),
        }
    }
}

impl<'a, T: DeserializeOwned> IntoIterator for &'a Queue<T> {
    type Item = Result<T>;
    type IntoIter = Items<'a, T>;

    fn into_iter(self) -> Items<'a, T> {
        self.iter()
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self {
            engine: self.engine.clone(),
            items: PhantomData,
            #[cfg(feature = "async")]
            awaited: std::sync::Arc::clone(&self.awaited),
        }
    }
}

/// For tasks of an executor: no thread waits. With the feature `async`.
#[cfg(feature = "async")]
impl<T> Queue<T> {
    /// As [`get`](Self::get), awaited. A future that is dropped has taken nothing.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Process, Queue};
    /// # procession::init();
    /// # futures_lite::future::block_on(async {
    /// let queue = Queue::new()?;
    /// let child = Process::new(|queue: Queue<u8>| queue.put(1).is_ok()).args(queue.clone()).start()?;
    /// assert_eq!(queue.get_async().await?, 1);
    /// assert!(child.await?);
    /// # Ok::<(), procession::Error>(())
    /// # })?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub async fn get_async(&self) -> Result<T>
    where
        T: DeserializeOwned,
    {
        let engine = &self.engine;
        let (make, arm) = (|| engine.await_items(), |fd: &_| engine.arm_for_items(fd));
        loop {
            match self.try_get() {
                Err(error) if error.is_empty() => self.awaited[0].change(make, arm).await?,
                result => return result,
            }
        }
    }

    /// As [`put`](Self::put), awaited. A future that is dropped has put nothing.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Queue;
    /// # futures_lite::future::block_on(async {
    /// let queue = Queue::bounded(1)?;
    /// queue.put_async("tea".to_owned()).await?;
    /// assert_eq!(queue.get_async().await?, "tea");
    /// # Ok::<(), procession::Error>(())
    /// # })?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub async fn put_async(&self, value: T) -> std::result::Result<(), PutError<T>>
    where
        T: Serialize,
    {
        let engine = &self.engine;
        let (make, arm) = (|| engine.await_room(), |fd: &_| engine.arm_for_room(fd));
        let mut value = value;
        loop {
            value = match self.try_put(value) {
                Err(refused) if refused.error.is_full() => refused.value,
                result => return result,
            };
            if let Err(error) = self.awaited[1].change(make, arm).await {
                return Err(PutError { value, error });
            }
        }
    }
}

#[cfg(feature = "async")]
impl<T> Queue<T> {
    /// Waits until all values are done, as the tasks that a [`JoinableQueue`](crate::JoinableQueue)
    /// has them be.
    pub(crate) async fn done_async(&self) -> Result<()> {
        let engine = &self.engine;
        // The same descriptor tells of tasks and of room.
        let (make, arm) = (|| engine.await_room(), |fd: &_| engine.arm_for_tasks(fd));
        while engine.unfinished() > 0 {
            self.awaited[1].change(make, arm).await?;
        }
        Ok(())
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

travels!([T] Queue<T>);
