//! Pipes: two ends, each of which sends values to the other.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use procession_engine::channel::{DuplexEnd, DuplexHandles, duplex};
use procession_engine::shm::Handle;
use procession_engine::sys::wait::time::Deadline;
use serde_core::de::DeserializeOwned;
use serde_core::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec;
use crate::error::Result;
use crate::handle;
use crate::sync::uninterrupted;
use crate::wait::{Target, Waitable};

/// One end of a pipe, which sends `S` and receives `R`.
///
/// An end may be sent to another process as an argument or in any message.
///
/// # Examples
///
/// ```
/// use procession::{Pipe, Process, pipe};
///
/// fn double(end: Pipe<u64, u64>) {
///     while let Ok(number) = end.recv() {
///         end.send(number * 2).unwrap();
///     }
/// }
///
/// # procession::init();
/// let (ours, theirs) = pipe::<u64, u64>()?;
/// let child = Process::new(double).args(theirs).start()?;
/// ours.send(21)?;
/// assert_eq!(ours.recv()?, 42);
/// drop(ours);
/// child.join()?;
/// # Ok::<(), procession::Error>(())
/// ```
pub struct Pipe<S, R> {
    end: DuplexEnd,
    values: PhantomData<fn(S) -> R>,
    /// The descriptor by which tasks wait for values.
    #[cfg(feature = "async")]
    awaited: std::sync::Arc<crate::awaiting::Awaited>,
}

/// Makes a pipe; returns its two ends.
///
/// For a one-way pipe, let one direction carry `()`.
///
/// # Errors
/// When memory is exhausted.
///
/// # Examples
///
/// ```
/// use procession::pipe;
///
/// let (receiver, sender) = pipe::<(), String>()?;
/// sender.send("one way".to_owned())?;
/// assert_eq!(receiver.recv()?, "one way");
/// # Ok::<(), procession::Error>(())
/// ```
pub fn pipe<S, R>() -> Result<(Pipe<S, R>, Pipe<R, S>)> {
    let (first, second) = duplex()?;
    Ok((Pipe::of(first), Pipe::of(second)))
}

impl<S: Serialize, R> Pipe<S, R> {
    /// Sends a value; it does not wait for the receiver.
    ///
    /// # Errors
    /// `is_closed` when the other end is gone, `is_codec` when the value does
    /// not serialise, `is_out_of_memory`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::pipe;
    /// let (ours, theirs) = pipe::<u8, u8>()?;
    /// drop(theirs);
    /// assert!(ours.send(1).unwrap_err().is_closed());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn send(&self, value: S) -> Result<()> {
        let mut bytes = codec::lending(|| codec::encode(&value, "a value for a pipe"))?;
        match bytes.take_block() {
            // Sending does not wait, so no signal interrupts it.
            Some((block, len)) => Ok(self.end.send_block(block, len as u64)?),
            None => uninterrupted(|| self.end.send(&[&bytes])),
        }
    }
}

impl<S, R: DeserializeOwned> Pipe<S, R> {
    /// Receives the next value, waiting for one.
    ///
    /// # Errors
    /// `is_closed` when the other end is gone and all was received, `is_codec`
    /// when what came is not an `R`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::pipe;
    /// let (ours, theirs) = pipe::<u8, u8>()?;
    /// theirs.send(1)?;
    /// drop(theirs);
    /// assert_eq!(ours.recv()?, 1);
    /// assert!(ours.recv().unwrap_err().is_closed());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn recv(&self) -> Result<R> {
        self.recv_until(Deadline::NEVER)
    }

    /// As [`recv`](Self::recv), for at most `timeout`.
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and `is_timeout`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use procession::pipe;
    /// let (ours, theirs) = pipe::<u8, u8>()?;
    /// assert!(ours.recv_timeout(Duration::ZERO).is_err());
    /// theirs.send(1)?;
    /// assert_eq!(ours.recv_timeout(Duration::from_secs(60))?, 1);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn recv_timeout(&self, timeout: Duration) -> Result<R> {
        self.recv_until(Deadline::after(timeout))
    }

    /// As [`recv`](Self::recv), awaited: no thread waits. A future that is dropped has received
    /// nothing. With the feature `async`. (Sending does not wait.)
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Pipe, Process, pipe};
    /// # procession::init();
    /// # futures_lite::future::block_on(async {
    /// let (ours, theirs) = pipe::<u64, u64>()?;
    /// let double = |end: Pipe<u64, u64>| end.recv().map(|n| end.send(2 * n)).is_ok();
    /// let child = Process::new(double).args(theirs).start()?;
    /// ours.send(21)?;
    /// assert_eq!(ours.recv_async().await?, 42);
    /// assert!(child.await?);
    /// # Ok::<(), procession::Error>(())
    /// # })?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[cfg(feature = "async")]
    pub async fn recv_async(&self) -> Result<R> {
        let queue = self.end.incoming();
        let (make, arm) = (|| queue.await_items(), |fd: &_| queue.arm_for_items(fd));
        loop {
            match self.recv_until(Deadline::now()) {
                Err(error) if error.is_empty() || error.is_timeout() => {
                    self.awaited.change(make, arm).await?;
                }
                result => return result,
            }
        }
    }

    fn recv_until(&self, deadline: Deadline) -> Result<R> {
        let message = uninterrupted(|| self.end.recv(deadline))?;
        message.read(|bytes, source| codec::decode_from(source, bytes, "a value from a pipe"))
    }
}

impl<S, R> Pipe<S, R> {
    fn of(end: DuplexEnd) -> Self {
        Self {
            end,
            values: PhantomData,
            #[cfg(feature = "async")]
            awaited: std::sync::Arc::default(),
        }
    }

    /// Tells whether [`recv`](Self::recv) would return at once: with a value,
    /// or with the news that the other end is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::pipe;
    /// let (ours, theirs) = pipe::<u8, u8>()?;
    /// assert!(!ours.poll());
    /// theirs.send(1)?;
    /// assert!(ours.poll());
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn poll(&self) -> bool {
        self.end.poll()
    }
}

impl<S, R> Waitable for Pipe<S, R> {
    fn waitable(&self) -> Target<'_> {
        Target::Queue(self.end.incoming())
    }
}

impl<S, R> Clone for Pipe<S, R> {
    /// Makes another holder of the same end.
    fn clone(&self) -> Self {
        Self {
            end: self.end.clone(),
            values: PhantomData,
            #[cfg(feature = "async")]
            awaited: std::sync::Arc::clone(&self.awaited),
        }
    }
}

impl<S, R> fmt::Debug for Pipe<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pipe").field(&self.end).finish()
    }
}

type PipeParts = [(u64, u64); 3];

impl<S, R> Serialize for Pipe<S, R> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> std::result::Result<Z::Ok, Z::Error> {
        let DuplexHandles { end, out, incoming } = handle::lend(|loans| self.end.lend(loans));
        let numbers: PipeParts = [end, out, incoming].map(|handle| (handle.offset, handle.serial));
        numbers.serialize(serializer)
    }
}

impl<'de, S, R> Deserialize<'de> for Pipe<S, R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let numbers = PipeParts::deserialize(deserializer)?;
        handle::must_be_near()?;
        let [end, out, incoming] = numbers.map(|(offset, serial)| Handle { offset, serial });
        let handles = DuplexHandles { end, out, incoming };
        handle::attach(|source| DuplexEnd::attach(handles, source))
            .map(Self::of)
            .map_err(|error| handle::refuse(error.into()))
    }
}
