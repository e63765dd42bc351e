//! Waiting for the first of several things.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use procession_engine::channel::{self as engine, Waitable as Engine};
use procession_engine::sync;
use procession_engine::sys::wait::time::Deadline;

use crate::child::Child;
use crate::error::Result;
use crate::joinable_queue::JoinableQueue;
use crate::queue::Queue;
use crate::sync::{Event, uninterrupted};

/// Can be waited for by [`wait`]: a child, a queue, a pipe, an event, or
/// whatever has a descriptor.
///
/// # Examples
///
/// ```
/// use std::os::fd::AsFd;
/// use std::time::Duration;
/// use procession::{Event, Queue, wait};
///
/// let (queue, event) = (Queue::<u32>::new()?, Event::new()?);
/// let (reader, _writer) = std::io::pipe()?;
/// event.set();
/// let ready = wait(&[&queue, &event, &reader.as_fd()], Some(Duration::from_secs(60)))?;
/// assert_eq!(ready, [1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Waitable {
    /// Returns what the engine waits for.
    #[doc(hidden)]
    fn waitable(&self) -> Target<'_>;
}

/// The means by which a [`Waitable`] waits.
#[doc(hidden)]
#[derive(Debug)]
pub enum Target<'a> {
    Fd(BorrowedFd<'a>),
    Queue(&'a engine::Queue),
    Event(&'a sync::Event),
}

/// Blocks until at least one of `things` is ready, for at most `timeout`
/// (`None`: for ever); returns the places of all that are.
///
/// A child is ready when it has ended, a queue or pipe when there is something
/// to get, an event when it is set. The result is empty when the time is up.
///
/// # Errors
/// When no descriptor is left.
///
/// # Examples
///
/// ```
/// use procession::{Process, Queue, wait};
///
/// # procession::init();
/// let queue = Queue::new()?;
/// let child = Process::new(|queue: Queue<u8>| queue.put(1).is_ok())
///     .args(queue.clone())
///     .start()?;
/// let ready = wait(&[&child, &queue], None)?;
/// assert!(!ready.is_empty());
/// # Ok::<(), procession::Error>(())
/// ```
pub fn wait(things: &[&dyn Waitable], timeout: Option<Duration>) -> Result<Vec<usize>> {
    let targets: Vec<Engine<'_>> = things
        .iter()
        .map(|thing| match thing.waitable() {
            Target::Fd(fd) => Engine::Fd(fd),
            Target::Queue(queue) => Engine::Queue(queue),
            Target::Event(event) => Engine::Event(event),
        })
        .collect();
    let deadline = Deadline::from_timeout(timeout);
    uninterrupted(|| engine::wait(&targets, deadline))
}

impl<R> Waitable for Child<R> {
    fn waitable(&self) -> Target<'_> {
        Target::Fd(self.as_fd())
    }
}

impl<T> Waitable for Queue<T> {
    fn waitable(&self) -> Target<'_> {
        Target::Queue(self.engine())
    }
}

impl<T> Waitable for JoinableQueue<T> {
    fn waitable(&self) -> Target<'_> {
        Target::Queue(self.engine())
    }
}

impl Waitable for Event {
    fn waitable(&self) -> Target<'_> {
        Target::Event(&self.0)
    }
}

impl Waitable for BorrowedFd<'_> {
    fn waitable(&self) -> Target<'_> {
        Target::Fd(*self)
    }
}
