//! A flag that processes wait for.

#[cfg(feature = "async")]
use std::sync::Arc;
use std::time::Duration;

use procession_engine::sync as engine;
use procession_engine::sys::wait::time::Deadline;

#[cfg(feature = "async")]
use crate::awaiting::Awaited;
use crate::error::Result;
use crate::sync::{crosses, in_time, uninterrupted};

/// A flag: one process raises it, others wait for that.
///
/// # Examples
///
/// ```
/// use procession::{Event, Process};
///
/// # procession::init();
/// let ready = Event::new()?;
/// let child = Process::new(|ready: Event| ready.set()).args(ready.clone()).start()?;
/// ready.wait()?;
/// child.join()?;
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Event(
    pub(crate) engine::Event,
    /// What tasks wait by.
    #[cfg(feature = "async")]
    Arc<Awaited>,
);

impl Event {
    /// Makes an event that is not set.
    ///
    /// # Errors
    /// When memory is exhausted.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Event;
    /// assert!(!Event::new()?.is_set());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn new() -> Result<Self> {
        Ok(Self::of(engine::Event::create()?))
    }

    /// Sets the event and wakes all that wait for it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Event;
    /// let event = Event::new()?;
    /// event.set();
    /// assert!(event.is_set());
    /// event.wait()?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn set(&self) {
        self.0.set();
    }

    /// Blocks until the event is set.
    ///
    /// # Errors
    /// When this process belongs to no family.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Event, Process};
    /// # procession::init();
    /// let go = Event::new()?;
    /// let child = Process::new(|go: Event| go.wait().is_ok()).args(go.clone()).start()?;
    /// go.set();
    /// assert!(child.join()?);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn wait(&self) -> Result<()> {
        uninterrupted(|| self.0.wait(Deadline::NEVER))
    }

    /// As [`wait`](Self::wait), for at most `timeout`; tells whether it was set.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use procession::Event;
    /// let event = Event::new()?;
    /// assert!(!event.wait_timeout(Duration::from_millis(1))?);
    /// event.set();
    /// assert!(event.wait_timeout(Duration::from_millis(1))?);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool> {
        in_time(timeout, |deadline| self.0.wait(deadline))
    }

    /// Tells whether the event is set.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Event;
    /// assert!(!Event::new()?.is_set());
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.is_set()
    }

    /// Clears the event.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Event;
    /// let event = Event::new()?;
    /// event.set();
    /// assert!(event.is_set());
    /// event.clear();
    /// assert!(!event.is_set());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn clear(&self) {
        self.0.clear();
    }
}

/// For tasks of an executor: no thread waits. With the feature `async`.
#[cfg(feature = "async")]
impl Event {
    /// As [`wait`](Self::wait), awaited.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Event, Process};
    /// # procession::init();
    /// # futures_lite::future::block_on(async {
    /// let ready = Event::new()?;
    /// let child = Process::new(|ready: Event| ready.set()).args(ready.clone()).start()?;
    /// ready.wait_async().await?;
    /// child.await?;
    /// # Ok::<(), procession::Error>(())
    /// # })?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub async fn wait_async(&self) -> Result<()> {
        // An event that is set and cleared again meanwhile was set.
        let times = self.0.times_set();
        while !self.0.is_set() && self.0.times_set() == times {
            let (make, arm) = (|| self.0.await_fd(), |fd: &_| self.0.arm(fd, times));
            self.1.change(make, arm).await?;
        }
        Ok(())
    }
}

crosses!(Event, Arc::default());
