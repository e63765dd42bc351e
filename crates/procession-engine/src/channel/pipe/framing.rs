//! Messages over a descriptor, as CPython's `Connection` frames them.
//!
//! A message is its length as a big-endian `i32`, or -1 and then a `u64`, and
//! its bytes. Over a pipe that both ends have a [`PipeShared`] of, a large message, or one
//! that carries handles, lies in the arena instead: -2, then offset and length of its
//! block as `u64`.
//!
//! A transfer may stop half way, at a deadline or because of a signal; the caller then
//! continues it. A transfer that the caller gives up in the middle leaves its direction
//! unusable rather than out of step.

use std::os::fd::BorrowedFd;

use crate::channel::message::Message;
use crate::channel::pipe::shared::{LARGE, PipeShared, SendWait, SenderLock};
use crate::family;
use procession_shm::transfer::loans;
use procession_shm::{Block, Family, Stamp};
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::socket::io;
use procession_sys::wait::time::Deadline;
use procession_sys::wait::wait_slices::WaitSlices;

/// Bytes that a socket takes at once or not at all, however small its buffer:
/// half of the least that the kernel allows (4.5 KiB).
const AT_ONCE: usize = 2048;

const LONG: i32 = -1;
const APART: i32 = -2;

const SHORT_HEAD: usize = 4;
const LONG_HEAD: usize = 12;
const APART_HEAD: usize = 20;

/// One message on its way out.
#[derive(Debug)]
pub struct Sending<'a> {
    fd: BorrowedFd<'a>,
    track: Option<&'a PipeShared>,
    parts: &'a [&'a [u8]],
    /// The block that the message lies in instead of the parts, until it departs.
    own: Option<Block>,
    len: usize,
    stage: Stage,
    turn: Option<SenderLock<'a>>,
    head: [u8; APART_HEAD],
    head_len: usize,
    /// The block that it lies in, if it does.
    block: Option<u64>,
    sent: usize,
}

/// How far a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing is decided.
    New,
    /// Its head says how it travels.
    Ready,
    /// The message belongs to the other end.
    Done,
}

impl<'a> Sending<'a> {
    /// Sets a message out, its bytes taken from the parts in turn.
    #[must_use]
    pub fn new(fd: BorrowedFd<'a>, track: Option<&'a PipeShared>, parts: &'a [&'a [u8]]) -> Self {
        Self {
            fd,
            track,
            parts,
            own: None,
            len: parts.iter().map(|part| part.len()).sum(),
            stage: Stage::New,
            turn: None,
            head: [0; APART_HEAD],
            head_len: 0,
            block: None,
            sent: 0,
        }
    }

    /// Sets a message out that is the first `len` bytes of a block, which carries loans.
    ///
    /// Where no more blocks can depart, a short message does not wait: its bytes go
    /// through the socket alone, and if no process reads them, the objects that the
    /// message carries stay alive until the family ends.
    #[must_use]
    pub fn carrying(fd: BorrowedFd<'a>, track: &'a PipeShared, block: Block, len: usize) -> Self {
        let mut this = Self::new(fd, Some(track), &[]);
        this.len = len;
        this.own = Some(block);
        this
    }

    /// Goes on with what is left of a message, with the parts and the ends that it had.
    #[must_use]
    pub fn going_on(
        fd: BorrowedFd<'a>,
        track: Option<&'a PipeShared>,
        parts: &'a [&'a [u8]],
        unsent: Unsent,
    ) -> Self {
        let is_ours = unsent.is_ours();
        let turn = track
            .filter(|_| unsent.has_turn && is_ours)
            .map(|track| track.out().turn_kept());
        Self {
            fd,
            track,
            parts,
            own: unsent.own,
            len: unsent.len,
            stage: if is_ours { unsent.stage } else { Stage::Done },
            turn,
            head: unsent.head,
            head_len: unsent.head_len,
            block: unsent.block,
            sent: unsent.sent,
        }
    }

    /// Keeps what is left of the message, and the turn to send, for later.
    #[must_use]
    pub fn into_unsent(mut self) -> Unsent {
        let turn = self.turn.take();
        let unsent = Unsent {
            own: self.own.take(),
            len: self.len,
            stage: self.stage,
            has_turn: turn.is_some(),
            head: self.head,
            head_len: self.head_len,
            block: self.block,
            sent: self.sent,
            owner: family().map_or(Stamp::NOBODY, Family::me),
        };
        if let Some(turn) = turn {
            turn.keep();
        }
        // Nothing is left for `drop` to give up.
        self.stage = Stage::Done;
        unsent
    }

    /// Sends what is left of the message.
    ///
    /// # Errors
    /// `TimedOut` and `Interrupted`: call again. `Closed` when nobody holds the
    /// other end, or somebody died in the middle of a message.
    pub fn go_on(&mut self, deadline: Deadline) -> Result<()> {
        if self.stage == Stage::New {
            self.prepare(deadline)?;
        }
        let head = &self.head[..self.head_len];
        if self.block.is_some() {
            io::send_all(self.fd, &[head], &mut self.sent, deadline)?;
        } else if let Some(own) = &self.own {
            let part = &own[..self.len];
            io::send_all(self.fd, &[head, part], &mut self.sent, deadline)?;
            loans::untrack(own);
        } else if let [part] = self.parts {
            io::send_all(self.fd, &[head, part], &mut self.sent, deadline)?;
        } else {
            let all: Vec<&[u8]> = std::iter::once(head)
                .chain(self.parts.iter().copied())
                .collect();
            io::send_all(self.fd, &all, &mut self.sent, deadline)?;
        }
        self.stage = Stage::Done;
        self.turn = None;
        Ok(())
    }

    /// Tells whether a part of the message has left, but not all of it.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.sent > 0 && self.stage != Stage::Done
    }

    fn prepare(&mut self, deadline: Deadline) -> Result<()> {
        if let Some(track) = self.track {
            if self.turn.is_none() {
                self.turn = Some(self.take_turn(track, deadline)?);
            }
            if let Some(offset) = self.put_apart(track, deadline)? {
                self.block = Some(offset);
                self.write_head(APART, &[offset, self.len as u64]);
            }
        }
        if self.block.is_none() {
            match i32::try_from(self.len) {
                Ok(len) => self.write_head(len, &[]),
                Err(_) => self.write_head(LONG, &[self.len as u64]),
            }
            if let Some(turn) = &self.turn
                && self.len + self.head_len > AT_ONCE
            {
                turn.may_be_cut();
            }
        }
        self.stage = Stage::Ready;
        Ok(())
    }

    fn take_turn(&self, track: &'a PipeShared, deadline: Deadline) -> Result<SenderLock<'a>> {
        let direction = track.out();
        let turn = direction.take_turn(deadline);
        if direction.is_broken() {
            // The receiver finds the end of the stream, wherever in the message it waits.
            let _ = io::stop_sending(self.fd);
        }
        turn
    }

    /// Has the message depart in a block, if it is large or carries handles, and there is memory
    /// for the block.
    fn put_apart(&mut self, track: &PipeShared, deadline: Deadline) -> Result<Option<u64>> {
        let len = self.len as u64;
        let has_flight = if len >= LARGE {
            track.wait_for_flight(len, self.fd, deadline)?
        } else {
            self.own.is_some() && track.out().has_flight(len)
        };
        if !has_flight {
            return Ok(None);
        }
        let block = match self.own.take() {
            Some(block) => block,
            None => match Block::of(family()?, self.parts, len) {
                Ok(block) => block,
                Err(_) => return Ok(None),
            },
        };
        track.out().depart(family()?, block, len)
    }

    fn write_head(&mut self, kind: i32, words: &[u64]) {
        let bytes = kind.to_be_bytes();
        self.head[..SHORT_HEAD].copy_from_slice(&bytes);
        self.head_len = SHORT_HEAD;
        for word in words {
            let end = self.head_len + 8;
            self.head[self.head_len..end].copy_from_slice(&word.to_be_bytes());
            self.head_len = end;
        }
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if self.stage == Stage::Done {
            return;
        }
        if self.sent > 0 {
            // The other end must not take the next message for the rest of this one.
            if let Some(track) = self.track {
                track.out().break_off();
            }
            let _ = io::stop_sending(self.fd);
        } else if let (Some(track), Some(offset)) = (self.track, self.block) {
            drop(track.out().arrive(offset));
        }
    }
}

/// A message of which a part has not left, for the thread that goes on with it later.
#[derive(Debug)]
pub struct Unsent {
    own: Option<Block>,
    len: usize,
    stage: Stage,
    has_turn: bool,
    head: [u8; APART_HEAD],
    head_len: usize,
    block: Option<u64>,
    sent: usize,
    /// The process that sends it. A forked child has a copy, and does nothing with it.
    owner: Stamp,
}

impl Unsent {
    /// Returns what the message waits for.
    #[must_use]
    pub fn waits_for(&self) -> SendWait {
        match (self.stage, self.has_turn) {
            (Stage::New, false) => SendWait::Turn,
            (Stage::New, true) => SendWait::Flight(self.len as u64),
            _ => SendWait::Room,
        }
    }

    /// Gives the message up, by the end that it was to leave by, if that end is still open. If a
    /// part of the message has left, nothing can be sent in that direction any more.
    pub fn give_up(self, fd: Option<BorrowedFd<'_>>, track: Option<&PipeShared>) {
        if !self.is_ours() {
            return;
        }
        if let Some(track) = track {
            let turn = self.has_turn.then(|| track.out().turn_kept());
            if self.sent > 0 {
                track.out().break_off();
            } else if let Some(offset) = self.block {
                drop(track.out().arrive(offset));
            }
            drop(turn);
        }
        if self.sent > 0
            && let Some(fd) = fd
        {
            // The other end must not take what comes next for the rest.
            let _ = io::stop_sending(fd);
        }
    }

    fn is_ours(&self) -> bool {
        family().is_ok_and(|family| family.me() == self.owner)
    }
}

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
