//! Messages on their way into this process, from a pipe or a socket.
//!
//! As for one on its way out, a transfer may stop half way, and goes on when its caller calls again.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use crate::channel::message::Message;
use crate::channel::pipe::framing::{APART, APART_HEAD, AT_ONCE, LONG, LONG_HEAD, SHORT_HEAD};
use crate::channel::pipe::handover::Handed;
use crate::channel::pipe::shared::PipeShared;
use crate::family;
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::socket::io;
use procession_sys::wait::time::{Deadline, monotonic_nanos};
use procession_sys::wait::wait_slices::WaitSlices;

/// For how long a receiver takes messages past the socket, in nanoseconds; as long as it spins if
/// nothing is said. A process that is stopped at one of its steps stays where it is for longer.
const OFFER_FOR: Option<u64> = if cfg!(feature = "steps") {
    Some(10_000_000_000)
} else {
    None
};

/// What has come of a message, for the thread that goes on with it later.
#[derive(Debug)]
pub struct Begun {
    head: [u8; APART_HEAD],
    filled: usize,
    bytes: Vec<u8>,
}

/// One message on its way in.
#[derive(Debug)]
pub struct Receiving<'a> {
    fd: BorrowedFd<'a>,
    track: Option<&'a PipeShared>,
    most: usize,
    head: [u8; APART_HEAD],
    filled: usize,
    bytes: Vec<u8>,
    done: bool,
    /// Whether this thread has looked for the message before it sleeps.
    has_looked: bool,
    /// When the wait for the message began.
    since: Option<Instant>,
}

impl<'a> Receiving<'a> {
    /// Gets ready for a message of at most `most` bytes.
    #[must_use]
    pub fn new(fd: BorrowedFd<'a>, track: Option<&'a PipeShared>, most: usize) -> Self {
        Self {
            fd,
            track,
            most,
            head: [0; APART_HEAD],
            filled: 0,
            bytes: Vec::new(),
            done: false,
            has_looked: false,
            since: None,
        }
    }

    /// Gets ready for the rest of a message.
    #[must_use]
    pub fn going_on(
        fd: BorrowedFd<'a>,
        track: Option<&'a PipeShared>,
        most: usize,
        begun: Begun,
    ) -> Self {
        Self {
            head: begun.head,
            filled: begun.filled,
            bytes: begun.bytes,
            ..Self::new(fd, track, most)
        }
    }

    /// Returns what has come, unless that is nothing or the whole message.
    #[must_use]
    pub fn into_begun(self) -> Option<Begun> {
        self.is_cut().then_some(Begun {
            head: self.head,
            filled: self.filled,
            bytes: self.bytes,
        })
    }

    /// Tells whether the rest will never come, as the sender has died; nothing more can be
    /// received then.
    ///
    /// # Errors
    /// When this process could not join its family.
    pub fn is_broken_off(&self) -> Result<bool> {
        let Some(track) = self.track.filter(|_| self.is_cut()) else {
            return Ok(false);
        };
        let is_cut = track.incoming().is_cut(family()?);
        if is_cut {
            // A process that shares this end must not take the rest for more.
            let _ = io::stop_receiving(self.fd);
        }
        Ok(is_cut)
    }

    /// Receives what is left of the message.
    ///
    /// # Errors
    /// `TimedOut` and `Interrupted`: call again. `Closed` when nobody holds the
    /// other end and no message is left; `Dead` when the sender ended in the
    /// middle of this one; `Limit` when it is longer than `most` bytes; `OutOfMemory`.
    pub fn go_on(&mut self, deadline: Deadline) -> Result<Message> {
        let Some(track) = self.track else {
            return self.receive(deadline);
        };
        if self.filled == 0
            && let Some(message) = self.look(track, deadline)?
        {
            return Ok(message);
        }
        let message = self.receive(deadline)?;
        track.incoming().handover.took();
        if let Some(since) = self.since.take() {
            track.spin().learn(since.elapsed());
        }
        Ok(message)
    }

    /// Looks for a message past the socket for as long as that has paid off lately.
    fn look(&mut self, track: &PipeShared, deadline: Deadline) -> Result<Option<Message>> {
        let handover = &track.incoming().handover;
        let Ok(family) = family() else {
            return Ok(None);
        };
        let (me, is_dead) = (family.me(), |stamp| family.is_dead(stamp));
        // What a dead receiver was handed comes before what is in the socket, and nothing more is to
        // be handed to it.
        if handover.is_in_use()
            && let Some(asking) = handover.ask(me, 1, is_dead)
            && let Some(message) = asking.finish(|handed| self.take_handed(track, handed))
            && let Some(message) = message?
        {
            return Ok(Some(message));
        }
        if self.has_looked || deadline.has_passed() {
            return Ok(None);
        }
        self.has_looked = true;
        let since = *self.since.get_or_insert_with(Instant::now);
        let Some(spin) = track.spin().allowed() else {
            return Ok(None);
        };
        // What is in the socket comes first.
        io::recv_now(self.fd, &mut self.head[..SHORT_HEAD], &mut self.filled)?;
        if self.filled > 0 {
            return Ok(None);
        }
        let until = monotonic_nanos() + OFFER_FOR.unwrap_or(spin.budget().as_nanos() as u64);
        let Some(asking) = handover.ask(me, until, is_dead) else {
            return Ok(None);
        };
        let has_news = spin.until(|| asking.has_news());
        if let Some(message) = asking.finish(|handed| self.take_handed(track, handed))
            && let Some(message) = message?
        {
            track.spin().learn(since.elapsed());
            return Ok(Some(message));
        }
        if has_news {
            return Ok(None);
        }
        let message = "the wait for a message was stopped to look for signals";
        Err(Error::new(ErrorKind::Interrupted, message))
    }

    /// Takes a message that was handed over; `None` if it has died with who was to receive it.
    fn take_handed(&mut self, track: &PipeShared, handed: Handed<'_>) -> Result<Option<Message>> {
        // From here on a message is received.
        self.filled = SHORT_HEAD;
        let message = match handed {
            Handed::Bytes(bytes) => {
                self.allowed(bytes.len() as u64)?;
                Message::copied(bytes)
            }
            Handed::Block(offset, len) => match track.incoming().arrive(offset) {
                Ok(block) => {
                    let len = self.allowed(len.min(block.capacity()))?;
                    Message::apart(block, len as u64)
                }
                Err(error) if error.kind() == ErrorKind::Stale => {
                    self.filled = 0;
                    return Ok(None);
                }
                Err(error) => return Err(error),
            },
        };
        self.done = true;
        Ok(Some(message))
    }

    /// Receives what is left of the message from the socket.
    fn receive(&mut self, deadline: Deadline) -> Result<Message> {
        self.fill_head(SHORT_HEAD, deadline)?;
        let kind = i32::from_be_bytes(array(&self.head[..SHORT_HEAD]));
        let len = match (kind, self.track) {
            (APART, Some(track)) => {
                self.fill_head(APART_HEAD, deadline)?;
                return self.take_apart(track);
            }
            (LONG, _) => {
                self.fill_head(LONG_HEAD, deadline)?;
                self.word(SHORT_HEAD)
            }
            (len, _) => u64::try_from(len).map_err(|_| no_length(len))?,
        };
        let len = self.allowed(len)?;
        while self.bytes.len() < len {
            let end = self.slice(len, deadline);
            let received = io::recv_vec(self.fd, &mut self.bytes, len, end);
            self.look_at(received, end != deadline)?;
        }
        self.done = true;
        Ok(Message::owned(std::mem::take(&mut self.bytes)))
    }

    /// Tells whether a part of the message was received: the next bytes do not begin a
    /// message.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.filled > 0 && !self.done
    }

    fn fill_head(&mut self, need: usize, deadline: Deadline) -> Result<()> {
        while self.filled < need {
            let head = &mut self.head[..need];
            let received = io::recv_exact(self.fd, head, &mut self.filled, deadline);
            self.look_at(received, false)?;
        }
        Ok(())
    }

    /// Returns how long to wait for the rest before looking whether the sender lives. A
    /// message that leaves in one step has arrived whole, or never will.
    fn slice(&self, len: usize, deadline: Deadline) -> Deadline {
        if self.track.is_some() && len + LONG_HEAD > AT_ONCE {
            WaitSlices::for_peer().end(deadline)
        } else {
            deadline
        }
    }

    /// Says what an error means for the message.
    fn look_at(&self, received: Result<()>, in_slice: bool) -> Result<()> {
        let Err(error) = received else {
            return Ok(());
        };
        match (error.kind(), self.track) {
            (ErrorKind::Closed, _) if self.is_cut() => Err(cut()),
            (ErrorKind::TimedOut, Some(_)) if in_slice => match self.is_broken_off()? {
                true => Err(cut()),
                false => Ok(()),
            },
            _ => Err(error),
        }
    }

    fn take_apart(&mut self, track: &PipeShared) -> Result<Message> {
        let (offset, len) = (self.word(SHORT_HEAD), self.word(LONG_HEAD));
        let block = track.incoming().arrive(offset)?;
        let len = self.allowed(len.min(block.capacity()))?;
        self.done = true;
        Ok(Message::apart(block, len as u64))
    }

    fn allowed(&self, len: u64) -> Result<usize> {
        usize::try_from(len)
            .ok()
            .filter(|&len| len <= self.most)
            .ok_or_else(|| too_long(len, self.most))
    }

    fn word(&self, at: usize) -> u64 {
        u64::from_be_bytes(array(&self.head[at..at + 8]))
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

fn too_long(len: u64, most: usize) -> Error {
    let message = format!(
        "a message of {len} bytes is longer than the {most} that are to be received; the \
         connection cannot be read any further"
    );
    Error::new(ErrorKind::Limit, message)
}

fn no_length(len: i32) -> Error {
    let message = format!(
        "a message cannot have {len} bytes: what was received is no message of procession or \
         multiprocessing"
    );
    Error::new(ErrorKind::Limit, message)
}

fn cut() -> Error {
    let message = "the sender ended in the middle of a message";
    Error::new(ErrorKind::Dead, message)
}
