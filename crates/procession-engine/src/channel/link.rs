//! A two-way link of queues whose ends travel in any message.
//!
//! A [`pipe`](super::pipe()) has descriptors, which only cross by inheritance or
//! over a socket. An end of a link is three handles and crosses anywhere.
//!
//! # When an end is gone
//! Each end is an object of its own. It is attached wherever the end is held,
//! and lent while it travels; when nobody holds it any more it is destroyed,
//! like any object, and its destruction closes both queues: the other side can
//! still get what was sent, and is then told.
//!
//! A holder that is killed leaves when it is buried. Usually its parent does
//! that at once; so that nobody waits for a parent which never looks, a
//! receiver that has waited for a while buries the dead itself.

use std::time::Duration;

use crate::arena::{Block, Family, Handle, Hooks, Object, ObjectKind, View};
use crate::channel::{Message, Queue};
use crate::error::{Error, ErrorKind, Result};
use crate::os::time::Deadline;
use crate::primitive::{AtomicU64, Ordering};

/// How long a receiver waits between two looks for dead holders.
const LOOK_FOR_DEAD: Duration = Duration::from_millis(100);

/// Makes a link; what is sent into one end comes out of the other.
///
/// # Errors
/// `OutOfMemory` when the arena is full.
pub fn link() -> Result<(LinkEnd, LinkEnd)> {
    let (there, back) = (Queue::create(0)?, Queue::create(0)?);
    let first = LinkEnd::create(there.clone(), back.clone())?;
    let second = LinkEnd::create(back, there)?;
    Ok((first, second))
}

/// Names an end of a link in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkHandles {
    /// The end itself.
    pub end: Handle,
    /// The queue that it sends into.
    pub out: Handle,
    /// The queue that it receives from.
    pub incoming: Handle,
}

/// One end of a link.
// The end comes first: it is dropped while the queues it may close are alive.
#[derive(Clone, Debug)]
pub struct LinkEnd {
    end: Object,
    out: Queue,
    incoming: Queue,
}

/// What an end's object holds: the queues to close, as offset and serial.
#[repr(C)]
struct Body {
    queues: [[AtomicU64; 2]; 2],
}

impl LinkEnd {
    fn create(out: Queue, incoming: Queue) -> Result<Self> {
        let end = Object::create(ObjectKind::Link, size_of::<Body>() as u64)?;
        let body = end.body::<Body>();
        for (words, queue) in body.queues.iter().zip([&out, &incoming]) {
            let handle = queue.handle();
            words[0].store(handle.offset, Ordering::Relaxed);
            // Release: whoever sees the serial sees the offset.
            words[1].store(handle.serial, Ordering::Release);
        }
        Ok(Self { end, out, incoming })
    }

    /// Attaches to the end that a message names.
    ///
    /// # Errors
    /// `Stale` when it is gone.
    pub fn attach(handles: LinkHandles) -> Result<Self> {
        Ok(Self {
            end: Object::attach(handles.end, ObjectKind::Link)?,
            out: Queue::attach(handles.out)?,
            incoming: Queue::attach(handles.incoming)?,
        })
    }

    /// Returns the handles for a message, and keeps the end alive until
    /// somebody attaches with them.
    #[must_use]
    pub fn lend(&self) -> LinkHandles {
        LinkHandles {
            end: self.end.lend(),
            out: self.out.lend(),
            incoming: self.incoming.lend(),
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// `Closed` when nobody holds the other end any more, `OutOfMemory`.
    pub fn send(&self, parts: &[&[u8]]) -> Result<()> {
        self.out
            .put(parts, Deadline::NEVER)
            .map_err(|error| match error.kind() {
                ErrorKind::Closed => gone(),
                _ => error,
            })
    }

    /// Sends the first `len` bytes of a block as a message, uncopied.
    ///
    /// # Errors
    /// As [`LinkEnd::send`].
    pub fn send_block(&self, block: Block, len: u64) -> Result<()> {
        self.out
            .put_block(block, len, Deadline::NEVER)
            .map_err(|back| match back.error.kind() {
                ErrorKind::Closed => gone(),
                _ => back.error,
            })
    }

    /// Receives the next message, waiting for one.
    ///
    /// # Errors
    /// `Closed` when nobody holds the other end any more and all that was sent
    /// has been received; `Empty` or `TimedOut` at the deadline, `Interrupted`.
    pub fn recv(&self, deadline: Deadline) -> Result<Message> {
        loop {
            let slice = deadline.within(LOOK_FOR_DEAD);
            match self.incoming.get(slice) {
                Err(error) if error.kind() == ErrorKind::Closed => return Err(gone()),
                Err(error)
                    if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Empty)
                        && slice != deadline =>
                {
                    Family::get()?.bury_all();
                }
                result => return result,
            }
        }
    }

    /// Tells whether there is something to receive: a message, or the end.
    #[must_use]
    pub fn poll(&self) -> bool {
        !self.incoming.is_empty() || self.incoming.is_closed()
    }

    /// Returns the queue that this end receives from, to wait for.
    #[must_use]
    pub fn incoming(&self) -> &Queue {
        &self.incoming
    }
}

fn gone() -> Error {
    Error::new(
        ErrorKind::Closed,
        "the other end of the pipe is gone: every process that held it has dropped it or ended",
    )
}

/// What burial and destruction do for an end.
pub const LINK_HOOKS: Hooks = Hooks {
    on_death: |_, _| {},
    on_destroy: close_queues,
};

fn close_queues(end: View<'_>) {
    for words in &end.body::<Body>().queues {
        // Acquire pairs with the Release in `create`.
        let serial = words[1].load(Ordering::Acquire);
        let offset = words[0].load(Ordering::Relaxed);
        // A queue that is gone itself has nobody left to be told.
        if let Ok(queue) = Queue::visit(Handle { offset, serial }) {
            let _ = queue.close();
        }
    }
}
