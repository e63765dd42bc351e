//! Messages on their way out of a pipe or a socket.
//!
//! A transfer may stop half way, at a deadline or because of a signal; the caller then
//! continues it. A transfer that the caller gives up in the middle leaves its direction
//! unusable rather than out of step.

use std::os::fd::BorrowedFd;

use crate::channel::pipe::framing::{APART, APART_HEAD, AT_ONCE, LONG, SHORT_HEAD};
use crate::channel::pipe::handover::INLINE;
use crate::channel::pipe::shared::{LARGE, PipeShared, SendWait, SenderLock};
use crate::family;
use procession_shm::transfer::loans;
use procession_shm::{Block, Family, Stamp};
use procession_sys::error::Result;
use procession_sys::socket::io;
use procession_sys::wait::time::{Deadline, monotonic_nanos};

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
        if self.stage == Stage::Done {
            return Ok(());
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
                self.set_apart(offset);
            }
            if self.hand_over(track)? {
                self.stage = Stage::Done;
                self.turn = None;
                return Ok(());
            }
            track.out().handover.post();
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
        if has_flight {
            self.depart(track)
        } else {
            Ok(None)
        }
    }

    /// Has the message depart in its block, or in one that it is copied into, if there is memory for
    /// that; a flight is free.
    fn depart(&mut self, track: &PipeShared) -> Result<Option<u64>> {
        let len = self.len as u64;
        let block = match self.own.take() {
            Some(block) => block,
            None => match Block::of(family()?, self.parts, len) {
                Ok(block) => block,
                Err(_) => return Ok(None),
            },
        };
        track.out().depart(family()?, block, len)
    }

    /// Hands the message to a receiver that is awake, if one is; tells whether it did.
    fn hand_over(&mut self, track: &PipeShared) -> Result<bool> {
        let (direction, len) = (track.out(), self.len as u64);
        let Some(offer) = direction.handover.offer(monotonic_nanos) else {
            return Ok(false);
        };
        if self.block.is_none() {
            if self.own.is_some() {
                // It carries loans, and no block of it can depart.
                return Ok(false);
            }
            if self.len <= INLINE {
                return Ok(direction.handover.hand_bytes(offer, self.parts));
            }
            if !direction.has_flight(len) {
                return Ok(false);
            }
            let Some(offset) = self.depart(track)? else {
                return Ok(false);
            };
            self.set_apart(offset);
        }
        // If the receiver has withdrawn, the note of the block goes through the socket.
        Ok(self
            .block
            .is_some_and(|offset| direction.handover.hand_block(offer, offset, len)))
    }

    /// Notes that the message lies in a block.
    fn set_apart(&mut self, offset: u64) {
        self.block = Some(offset);
        self.write_head(APART, &[offset, self.len as u64]);
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
        } else if let Some(track) = self.track {
            take_back(track, self.stage, self.block);
        }
    }
}

/// Takes back a message of which nothing has left; its sender has the turn.
fn take_back(track: &PipeShared, stage: Stage, block: Option<u64>) {
    if let Some(offset) = block {
        drop(track.out().arrive(offset));
    }
    if stage == Stage::Ready {
        track.out().handover.unpost();
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
            } else {
                take_back(track, self.stage, self.block);
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
