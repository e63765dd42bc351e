//! A two-way link of queues whose ends travel in any message.
//!
//! A [`pipe`](super::pipe()) has descriptors, which only cross by inheritance or
//! over a socket. An end of a link is three handles and crosses anywhere.
//!
//! # When an end is gone
//! Each end is an object of its own. A process that holds the end attaches to it, and a
//! message that carries the end keeps it alive. Once no process holds the end, it is
//! destroyed like any object, and that closes both queues: the other side still
//! receives the messages that were sent, and then `Closed`.
//!
//! A killed holder counts until it is reclaimed. Usually its parent does that at once.
//! Since a parent may never look, a receiver that has waited for a while reclaims the
//! dead itself.
//!
//! # Safety
//! The shared part is made of atomics, and any bytes are a value of it.

#![expect(unsafe_code, reason = "the form of what is shared")]

use crate::channel::{Message, Queue};
use crate::family;
use procession_shm::{
    Block, BodyView, Handle, HandleSource, Loans, ObjectKind, SharedBody, SharedObject,
};
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::primitive::{AtomicU64, Ordering};
use procession_sys::wait::time::Deadline;
use procession_sys::wait::wait_slices::WaitSlices;

/// Makes a link; what is sent into one end comes out of the other.
///
/// # Errors
/// `OutOfMemory` when the arena is full.
pub fn duplex() -> Result<(DuplexEnd, DuplexEnd)> {
    let (there, back) = (Queue::create(0)?, Queue::create(0)?);
    let first = DuplexEnd::create(there.clone(), back.clone())?;
    let second = DuplexEnd::create(back, there)?;
    Ok((first, second))
}

/// Names an end of a link in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DuplexHandles {
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
pub struct DuplexEnd {
    end: SharedObject<DuplexLayout>,
    out: Queue,
    incoming: Queue,
}

/// What an end's object holds: the queues to close, as offset and serial.
#[repr(C)]
pub(crate) struct DuplexLayout {
    queues: [[AtomicU64; 2]; 2],
}

impl DuplexEnd {
    fn create(out: Queue, incoming: Queue) -> Result<Self> {
        let end: SharedObject<DuplexLayout> = SharedObject::create(family()?, 0)?;
        for (words, queue) in end.body().queues.iter().zip([&out, &incoming]) {
            let handle = queue.handle();
            words[0].store(handle.offset, Ordering::Relaxed);
            // Release: a process that sees the serial sees the offset.
            words[1].store(handle.serial, Ordering::Release);
        }
        Ok(Self { end, out, incoming })
    }

    /// Attaches to the end that a message names, which `source` has kept alive.
    ///
    /// # Errors
    /// `Stale` when it is gone.
    pub fn attach(handles: DuplexHandles, source: &HandleSource) -> Result<Self> {
        Ok(Self {
            end: SharedObject::attach(family()?, handles.end, source)?,
            out: Queue::attach(handles.out, source)?,
            incoming: Queue::attach(handles.incoming, source)?,
        })
    }

    /// Returns the handles for a message, whose loans keep the end alive.
    pub fn lend(&self, loans: &mut Loans) -> DuplexHandles {
        DuplexHandles {
            end: self.end.lend(loans),
            out: self.out.lend(loans),
            incoming: self.incoming.lend(loans),
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
    /// As [`DuplexEnd::send`].
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
            let slice = WaitSlices::for_peer().end(deadline);
            match self.incoming.get(slice) {
                Err(error) if error.kind() == ErrorKind::Closed => return Err(gone()),
                Err(error)
                    if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Empty)
                        && slice != deadline =>
                {
                    family()?.reclaim_all();
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

// SAFETY: atomics, in the order of C.
unsafe impl SharedBody for DuplexLayout {
    const KIND: ObjectKind = ObjectKind::Duplex;

    fn destroy(view: BodyView<'_, Self>) {
        for words in &view.body().queues {
            // Acquire pairs with the Release in `create`.
            let serial = words[1].load(Ordering::Acquire);
            let offset = words[0].load(Ordering::Relaxed);
            // If the queue is gone, nobody waits for it.
            if let Ok(queue) = Queue::visit(Handle { offset, serial }) {
                let _ = queue.close();
            }
        }
    }
}
