//! A meeting point.

#[cfg(feature = "async")]
use std::sync::Arc;
use std::time::Duration;

use procession_engine::sync as engine;
use procession_engine::sys::wait::time::Deadline;

#[cfg(feature = "async")]
use crate::awaiting::Awaited;
use crate::error::Result;
use crate::sync::{crosses, uninterrupted};

/// Lets nobody through before everybody is there.
///
/// A process that dies while it waits counts as having come. One that gives up
/// waiting, at its timeout, breaks the barrier for all.
///
/// # Examples
///
/// ```
/// use procession::{Barrier, Process};
///
/// # procession::init();
/// let barrier = Barrier::new(2)?;
/// let child = Process::new(|barrier: Barrier| barrier.wait().map(drop).is_ok())
///     .args(barrier.clone())
///     .start()?;
/// let arrival = barrier.wait()?;
/// assert!(arrival.index() < 2);
/// assert!(child.join()?);
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Barrier(
    engine::Barrier,
    /// The descriptor by which tasks wait.
    #[cfg(feature = "async")]
    Arc<Awaited>,
);

/// Which of all that met a process was.
///
/// # Examples
///
/// ```
/// use procession::Barrier;
///
/// // Of all that meet, one does what has to be done once.
/// let arrival = Barrier::new(1)?.wait()?;
/// if arrival.is_last() {
///     println!("all are there, and process {} was the last", arrival.index());
/// }
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    index: usize,
    parties: usize,
}

impl Arrival {
    /// Returns the process's place among those that met, from 0.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Barrier;
    /// assert_eq!(Barrier::new(1)?.wait()?.index(), 0);
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn index(self) -> usize {
        self.index
    }

    /// Tells whether the process was the last to come; exactly one is.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Barrier;
    /// assert!(Barrier::new(1)?.wait()?.is_last());
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn is_last(self) -> bool {
        self.index + 1 == self.parties
    }
}

impl Barrier {
    /// Makes a barrier for `parties` processes or threads.
    ///
    /// # Errors
    /// `is_invalid` for none; when memory is exhausted.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Barrier;
    /// assert_eq!(Barrier::new(3)?.parties(), 3);
    /// assert!(Barrier::new(0).unwrap_err().is_invalid());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn new(parties: u32) -> Result<Self> {
        Ok(Self::of(engine::Barrier::create(parties)?))
    }

    /// Blocks until as many have come as are to meet.
    ///
    /// # Errors
    /// `is_broken` when the barrier is or becomes broken or is reset.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Barrier, Process};
    /// # procession::init();
    /// let barrier = Barrier::new(2)?;
    /// let meet = |barrier: Barrier| barrier.wait().map(|arrival| arrival.index());
    /// let child = Process::new(move |barrier: Barrier| meet(barrier).ok()).args(barrier.clone()).start()?;
    /// let mine = barrier.wait()?.index();
    /// assert_eq!(child.join()?, Some(1 - mine));
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn wait(&self) -> Result<Arrival> {
        self.wait_until(Deadline::NEVER)
    }

    /// As [`wait`](Self::wait), for at most `timeout`, after which the barrier
    /// is broken.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use procession::Barrier;
    /// let barrier = Barrier::new(2)?;
    /// let alone = barrier.wait_timeout(Duration::from_millis(1)).unwrap_err();
    /// assert!(alone.is_broken() || alone.is_timeout());
    /// assert!(barrier.is_broken());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Arrival> {
        self.wait_until(Deadline::after(timeout))
    }

    fn wait_until(&self, deadline: Deadline) -> Result<Arrival> {
        let index = match uninterrupted(|| self.0.arrive(deadline))? {
            engine::Role::Leader(leader) => {
                let index = leader.index();
                leader.open()?;
                index
            }
            engine::Role::Follower(mut follower) => {
                uninterrupted(|| follower.wait(deadline))?;
                follower.index()
            }
        };
        Ok(Arrival {
            index: index as usize,
            parties: self.parties(),
        })
    }

    /// Returns how many are to meet.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Barrier;
    /// assert_eq!(Barrier::new(4)?.parties(), 4);
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn parties(&self) -> usize {
        self.0.parties() as usize
    }

    /// Returns how many wait now.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Barrier;
    /// let barrier = Barrier::new(3)?;
    /// assert_eq!((barrier.parties(), barrier.waiting()), (3, 0));
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.n_waiting() as usize
    }

    /// Makes the barrier as new; processes that wait get an error.
    ///
    /// # Errors
    /// When this process belongs to no family.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Barrier;
    /// let barrier = Barrier::new(1)?;
    /// barrier.abort()?;
    /// assert!(barrier.wait().unwrap_err().is_broken());
    /// barrier.reset()?;
    /// assert!(barrier.wait()?.is_last());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn reset(&self) -> Result<()> {
        Ok(self.0.reset()?)
    }

    /// Breaks the barrier for the processes that wait, and for all that come.
    ///
    /// # Errors
    /// When this process belongs to no family.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Barrier;
    /// let barrier = Barrier::new(2)?;
    /// barrier.abort()?;
    /// // It does not wait for the other.
    /// assert!(barrier.wait().unwrap_err().is_broken());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn abort(&self) -> Result<()> {
        Ok(self.0.abort()?)
    }

    /// Tells whether the barrier is broken.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Barrier;
    /// let barrier = Barrier::new(2)?;
    /// assert!(!barrier.is_broken());
    /// barrier.abort()?;
    /// assert!(barrier.is_broken());
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.0.broken()
    }
}

/// For tasks of an executor: no thread waits. With the feature `async`.
#[cfg(feature = "async")]
impl Barrier {
    /// As [`wait`](Self::wait), awaited. A future that is dropped before all have come has not
    /// come.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Barrier, Process};
    /// # procession::init();
    /// # futures_lite::future::block_on(async {
    /// let barrier = Barrier::new(2)?;
    /// let child = Process::new(|barrier: Barrier| barrier.wait().map(drop).is_ok())
    ///     .args(barrier.clone())
    ///     .start()?;
    /// assert!(barrier.wait_async().await?.index() < 2);
    /// assert!(child.await?);
    /// # Ok::<(), procession::Error>(())
    /// # })?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub async fn wait_async(&self) -> Result<Arrival> {
        let make = || self.0.await_fd();
        let parties = self.parties();
        // Nobody can arrive before the last generation's leader has let its waiters go.
        let arrive = || Ok(self.0.try_arrive()?);
        let arrived = self.1.try_until(arrive, make, |fd: &_| self.0.arm(fd));
        let mut follower = match arrived.await? {
            engine::Role::Leader(leader) => {
                let index = leader.index() as usize;
                leader.open()?;
                return Ok(Arrival { index, parties });
            }
            engine::Role::Follower(follower) => follower,
        };
        let index = follower.index() as usize;
        while !follower.try_wait()? {
            self.1.change(make, |fd| follower.arm(fd)).await?;
        }
        Ok(Arrival { index, parties })
    }
}

crosses!(Barrier, Arc::default());
