//! Who runs a pool's tasks: workers of this machine, or an engine that carries them to others.

use procession_engine::pool::{
    self as engine, AfterPut, EmptyFeed, FedCall, Feed, RunningTasks, StreamLimits, Task,
};
use procession_engine::sys::wait::time::Deadline;

use crate::distributed::{RemoteFeed, RemotePool};
use crate::error::{Error, Result};
use crate::pool::call::{Deliver, Token, why_ended};
use crate::sync::uninterrupted;

/// One of the two; the branch is the only price that a local pool pays for the other.
pub enum Carrier {
    Local(engine::Pool<Deliver>),
    Remote(RemotePool),
}

/// A call's way to put tasks.
pub enum TaskFeed {
    Local(Feed<Deliver>),
    Remote(RemoteFeed),
}

impl From<engine::Pool<Deliver>> for Carrier {
    fn from(pool: engine::Pool<Deliver>) -> Self {
        Self::Local(pool)
    }
}

impl Carrier {
    /// Returns the workers of this machine.
    ///
    /// # Errors
    /// When there are none: `what` is what was asked of them.
    pub fn local(&self, what: &str) -> Result<&engine::Pool<Deliver>> {
        match self {
            Self::Local(pool) => Ok(pool),
            Self::Remote(_) => Err(crate::distributed::unsupported(format!(
                "{what} is not there for a pool on other machines, whose nodes see to their workers \
                 themselves: ask Pool::nodes"
            ))),
        }
    }

    pub fn submit(&self, task: Task<Token>) -> Result<()> {
        match self {
            Self::Local(pool) => pool.submit(task).map_err(|error| refused(pool, error)),
            Self::Remote(pool) => pool.submit(task),
        }
    }

    pub fn feed(&self, call: Box<dyn FedCall>) -> Result<TaskFeed> {
        match self {
            Self::Local(pool) => {
                let feed = pool.feed(call, EmptyFeed::IsLeft);
                feed.map(TaskFeed::Local)
                    .map_err(|error| refused(pool, error))
            }
            Self::Remote(pool) => pool.feed(call).map(TaskFeed::Remote),
        }
    }

    /// Drives the pool until `done`.
    pub fn drive(&self, done: &dyn Fn() -> bool, deadline: Deadline) -> Result<()> {
        match self {
            Self::Local(pool) => uninterrupted(|| pool.drive(done, deadline)),
            Self::Remote(pool) => pool.drive(done, deadline),
        }
    }

    pub fn deliver_in_background(&self) -> Result<()> {
        match self {
            Self::Local(pool) => Ok(pool.deliver_in_background()?),
            // The engine has threads of its own.
            Self::Remote(_) => Ok(()),
        }
    }

    /// Cancels tasks; returns how many those are.
    pub fn cancel(&self, which: &dyn Fn(&Token) -> bool, running: RunningTasks) -> Result<usize> {
        match self {
            Self::Local(pool) => Ok(pool.cancel(which, running)?),
            Self::Remote(pool) => pool.cancel(which, running),
        }
    }

    /// Returns the number of a function in the statistics.
    pub fn label(&self, name: &str) -> u32 {
        match self {
            Self::Local(pool) => pool.label(name),
            Self::Remote(_) => 0,
        }
    }

    pub fn stream_limits(&self, inputs: usize) -> StreamLimits {
        match self {
            Self::Local(pool) => pool.stream_limits(inputs),
            Self::Remote(_) => RemotePool::stream_limits(inputs),
        }
    }

    pub fn close(&self) {
        match self {
            Self::Local(pool) => pool.close(),
            Self::Remote(pool) => pool.close(),
        }
    }

    pub fn terminate(&self) {
        match self {
            Self::Local(pool) => pool.terminate(),
            Self::Remote(pool) => pool.terminate(),
        }
    }

    pub fn join(&self, deadline: Deadline) -> Result<()> {
        match self {
            Self::Local(pool) => uninterrupted(|| pool.join(deadline)),
            Self::Remote(pool) => pool.join(deadline),
        }
    }
}

impl TaskFeed {
    pub fn put(&self, task: Task<Token>) -> Result<AfterPut> {
        match self {
            Self::Local(feed) => Ok(feed.put(task)?),
            Self::Remote(feed) => feed.put(task),
        }
    }

    pub fn keep_up(&self) -> Result<()> {
        match self {
            Self::Local(feed) => uninterrupted(|| feed.keep_up()),
            Self::Remote(_) => Ok(()),
        }
    }

    pub fn make_room(&self) -> Result<()> {
        match self {
            Self::Local(feed) => uninterrupted(|| feed.make_room()),
            Self::Remote(feed) => feed.make_room(),
        }
    }

    pub fn note_led(&self) {
        if let Self::Local(feed) = self {
            feed.note_led();
        }
    }

    pub fn has_room(&self) -> bool {
        match self {
            Self::Local(feed) => feed.has_room(),
            Self::Remote(feed) => feed.has_room(1),
        }
    }

    /// Tells whether there is room for many.
    pub fn is_low(&self) -> bool {
        match self {
            Self::Local(feed) => feed.is_low(),
            Self::Remote(feed) => feed.has_room(2),
        }
    }
}

/// Says why a task was refused: why the pool has ended, if it has.
fn refused(pool: &engine::Pool<Deliver>, error: procession_engine::Error) -> Error {
    match pool.end() {
        Some(end) => why_ended(&end),
        None => error.into(),
    }
}
