//! What the two ends of a pipe share beside their sockets.
//!
//! `README.md` beside this file tells what it serves: senders take turns, a message
//! that a kill has cut is noticed, no block on its way is lost, and a receiver that is awake is
//! handed its message here. `framing.rs` says what goes over the sockets.
//!
//! # Safety
//! The shared part is made of atomics, and any bytes are a value of it.

#![expect(unsafe_code, reason = "the form of what is shared")]

use std::mem::ManuallyDrop;
use std::os::fd::BorrowedFd;

use crate::channel::parking::{Parked, Parking};
use crate::channel::pipe::handover::Handover;
use crate::family;
use crate::sync::notify::NotifyList;
use crate::sync::{Armed, AwaitFd, BlockedOn};
use procession_shm::{
    Block, BodyView, Family, Handle, HandleSource, Loans, ObjectKind, SharedBody, SharedObject,
    Stamp,
};
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::primitive::{AtomicU32, AtomicU64, Ordering, fence, futex_wait, futex_wake};
use procession_sys::wait::adaptive_spin::AdaptiveSpin;
use procession_sys::wait::futex::Woken;
use procession_sys::wait::poll::is_hung_up;
use procession_sys::wait::time::Deadline;
use procession_sys::wait::wait_slices::WaitSlices;

/// Bytes from which on a message is large, and lies in the arena.
pub const LARGE: u64 = 128 * 1024;

/// Large messages that may be on their way in one direction.
const MOST_LARGE: usize = 8;

/// Bytes in all large messages on their way; a single one may be larger. Found by trial: with a
/// higher limit, messages of 16 MiB more often get memory that is not in the processor's caches.
const MOST_IN_FLIGHT: u64 = 48 << 20;

/// Blocks that may be on their way in one direction: more than the notes of blocks that
/// a socket has room for (278 where it holds 208 KiB, the kernel's default).
const FLIGHTS: usize = 288;

/// Set in a sender's mark when another waits for its turn; never in a stamp.
const WAITERS: u32 = 1 << 31;

/// No message is half sent.
const WHOLE: u32 = 0;
/// The message being sent may have left in part.
const MAY_BE_CUT: u32 = 1;
/// A message has left in part, and its sender sends no more.
const BROKEN: u32 = 2;

/// One end's view of what both ends of a pipe share.
#[derive(Debug)]
pub struct PipeShared {
    object: SharedObject<PipeLayout>,
    side: usize,
    spin: AdaptiveSpin,
}

impl Clone for PipeShared {
    /// Returns a view that has learnt nothing yet of how long to look for a message.
    fn clone(&self) -> Self {
        Self::new(self.object.clone(), self.side)
    }
}

/// Names one end's view in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PipeHandle {
    /// What is shared.
    pub object: Handle,
    /// Which end it is: 0 or 1.
    pub side: u8,
}

/// Says what a message waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendWait {
    /// Its turn: other senders are not done.
    Turn,
    /// The arrival of one of the large messages on their way; this one has so many bytes.
    Flight(u64),
    /// Room in the socket: the descriptor is not writable.
    Room,
}

#[repr(C)]
pub(crate) struct PipeLayout {
    /// The direction that each end sends into, by the end's number.
    directions: [Direction; 2],
}

/// One direction.
#[derive(Debug)]
#[repr(C)]
pub struct Direction {
    /// A message for a receiver that is awake.
    pub(crate) handover: Handover,
    /// The process that is sending, or nobody.
    sender: AtomicU32,
    /// Whether the message that is being sent would be cut if its sender died now.
    cut: AtomicU32,
    /// Senders that wait until a block may depart.
    space: Parking,
    /// Senders that wait by descriptor, until a block may depart or for their turn.
    awaiting: NotifyList,
    /// How many of the places in `flights`, from the first on, were ever used.
    reach: AtomicU32,
    flights: [InFlight; FLIGHTS],
}

/// A block on its way; free while `block` is 0.
#[derive(Debug)]
#[repr(C)]
struct InFlight {
    block: AtomicU64,
    len: AtomicU64,
    sender: AtomicU32,
    spare: AtomicU32,
}

impl PipeShared {
    /// Makes the views of both ends.
    ///
    /// # Errors
    /// `OutOfMemory` when the arena is full.
    pub fn pair() -> Result<(Self, Self)> {
        let object = SharedObject::create(family()?, 0)?;
        let other = object.clone();
        Ok((Self::new(object, 0), Self::new(other, 1)))
    }

    fn new(object: SharedObject<PipeLayout>, side: usize) -> Self {
        Self {
            object,
            side,
            spin: AdaptiveSpin::in_turns_once_known(),
        }
    }

    /// Attaches to the view that a message names, which `source` has kept alive.
    ///
    /// # Errors
    /// `Stale` when it is gone, `Invalid` when it is none.
    pub fn attach(handle: PipeHandle, source: &HandleSource) -> Result<Self> {
        if handle.side > 1 {
            let message = format!("a pipe has no end number {}", handle.side);
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let object = SharedObject::attach(family()?, handle.object, source)?;
        Ok(Self::new(object, usize::from(handle.side)))
    }

    /// Returns the handle for a message, whose loans keep what is shared alive.
    pub fn lend(&self, loans: &mut Loans) -> PipeHandle {
        PipeHandle {
            object: self.object.lend(loans),
            side: self.side as u8,
        }
    }

    /// Returns the handle for a process that attaches while this view is held.
    #[must_use]
    pub fn handle(&self) -> PipeHandle {
        PipeHandle {
            object: self.object.handle(),
            side: self.side as u8,
        }
    }

    pub(crate) fn out(&self) -> &Direction {
        &self.object.body().directions[self.side]
    }

    pub(crate) fn incoming(&self) -> &Direction {
        &self.object.body().directions[1 - self.side]
    }

    /// Says how long to look for a message before this process sleeps in the socket.
    pub(crate) fn spin(&self) -> &AdaptiveSpin {
        &self.spin
    }

    /// Sends by the socket alone from now on: the program knows this end's descriptor, and what it
    /// sends by that must not be overtaken.
    pub fn keep_to_socket(&self) {
        self.out().handover.keep_to_socket();
    }

    /// Tells whether there is a message to receive that its receiver was handed past the socket,
    /// and has died without: the descriptor does not show it.
    ///
    /// # Errors
    /// When this process could not join its family.
    pub fn has_orphan(&self) -> Result<bool> {
        let handover = &self.incoming().handover;
        if !handover.is_handed() {
            return Ok(false);
        }
        let family = family()?;
        Ok(handover.has_orphan(|stamp| family.is_dead(stamp)))
    }

    /// Waits until a block with a message of `len` bytes may depart; returns false if the message
    /// had better go as bytes.
    pub(crate) fn wait_for_flight(
        &self,
        len: u64,
        fd: BorrowedFd<'_>,
        deadline: Deadline,
    ) -> Result<bool> {
        let (direction, family) = (self.out(), family()?);
        loop {
            if direction.has_flight(len) {
                return Ok(true);
            }
            if is_hung_up(fd)? {
                return Ok(false);
            }
            let ticket = direction.space.register();
            if direction.has_flight(len) {
                direction.space.leave(ticket);
                return Ok(true);
            }
            let waiting = BlockedOn::on(&self.object, family.me());
            let suspect = || direction.has_suspect(family);
            let look = || direction.has_flight(len) || is_hung_up(fd).unwrap_or(true) || suspect();
            let parked = direction.space.park(ticket, deadline, look);
            drop(waiting);
            match parked {
                // A sender that is killed after it has noted its block, and before it has sent the
                // block's place, leaves a block that never arrives: no sender waits for that one.
                Parked::Look if !direction.has_flight(len) && suspect() => return Ok(false),
                Parked::Look => {}
                Parked::TimedOut => return Err(too_late()),
                Parked::Interrupted => return Err(interrupted()),
            }
        }
    }
}

/// Waiting by descriptor.
impl PipeShared {
    /// Returns the descriptor by which this process waits until it can send, without a thread.
    #[must_use]
    pub fn await_fd(&self) -> AwaitFd {
        let directions = &self.object.body().directions;
        AwaitFd::of(&self.object, &directions[self.side].awaiting)
    }

    /// Returns what to poll until it is worth another try to send; `None` when it is now, or
    /// when the descriptor of the pipe tells.
    ///
    /// # Errors
    /// `Limit` when no descriptor is left, or too many processes wait in this way.
    pub fn arm(&self, fd: &AwaitFd, wait: SendWait) -> Result<Option<Armed>> {
        let direction = self.out();
        match wait {
            SendWait::Turn => fd.arm(|| direction.expect_turn()),
            SendWait::Flight(len) => fd.arm(|| direction.has_flight(len)),
            SendWait::Room => Ok(None),
        }
    }
}

/// Holds the right to send; given back when dropped.
#[derive(Debug)]
pub struct SenderLock<'a>(&'a Direction);

impl Direction {
    /// Waits for the right to send.
    ///
    /// # Errors
    /// `Closed` when a message was left in part, `TimedOut`, `Interrupted`.
    pub fn take_turn(&self, deadline: Deadline) -> Result<SenderLock<'_>> {
        let family = family()?;
        let me = family.me().raw();
        let mut suspicious = false;
        let mut slices = WaitSlices::for_holder();
        loop {
            // Acquire pairs with the Release of the last sender.
            let mark =
                match self
                    .sender
                    .compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed)
                {
                    Ok(_) => break,
                    Err(mark) => mark,
                };
            let sender = Stamp::from_raw(mark & !WAITERS);
            if suspicious && family.is_dead(sender) {
                self.release_dead(sender);
                continue;
            }
            if deadline.has_passed() {
                return Err(too_late());
            }
            let parked = mark | WAITERS;
            // Relaxed: the park compares the word.
            if mark != parked
                && self
                    .sender
                    .compare_exchange(mark, parked, Ordering::Relaxed, Ordering::Relaxed)
                    .is_err()
            {
                continue;
            }
            match futex_wait(&self.sender, parked, slices.end(deadline)) {
                Woken::Changed => suspicious = false,
                Woken::TimedOut => {
                    slices.grow();
                    suspicious = true;
                }
                Woken::Interrupted => return Err(interrupted()),
            }
        }
        let turn = SenderLock(self);
        if self.is_broken() {
            return Err(broken());
        }
        Ok(turn)
    }

    /// Marks the turn as waited for by a process that is not parked, so that the present sender
    /// learns of that; tells whether nobody sends.
    fn expect_turn(&self) -> bool {
        // SeqCst: as for `RawLock::expect_unlock`.
        fence(Ordering::SeqCst);
        let mark = |sender: u32| (sender != 0).then_some(sender | WAITERS);
        self.sender
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, mark)
            .is_err()
    }

    /// Returns the turn that this process has kept.
    pub fn turn_kept(&self) -> SenderLock<'_> {
        SenderLock(self)
    }

    /// Tells the processes that wait by descriptor that they may send.
    fn tell(&self) {
        if let Some(family) = Family::existing() {
            self.awaiting.ring_armed(family);
        }
    }

    /// Tells whether a message was left in part, so that no more messages can come.
    pub fn is_broken(&self) -> bool {
        self.cut.load(Ordering::Acquire) == BROKEN
    }

    /// Tells whether the message that is being received will never be whole.
    pub fn is_cut(&self, family: &Family) -> bool {
        if self.is_broken() {
            return true;
        }
        let sender = Stamp::from_raw(self.sender.load(Ordering::Acquire) & !WAITERS);
        if sender.is_nobody() || !family.is_dead(sender) {
            return false;
        }
        self.release_dead(sender);
        self.is_broken()
    }

    /// Notes that a message has been left in part.
    pub fn break_off(&self) {
        self.cut.store(BROKEN, Ordering::Release);
    }

    /// Ends the turn of a sender that has died in it.
    fn release_dead(&self, dead: Stamp) {
        let mark = self.sender.load(Ordering::Acquire);
        if mark & !WAITERS != dead.raw() {
            return;
        }
        // Before the turn is free: no other sender begins a message while the dead one has the
        // turn. To do it twice does no harm.
        let _ = self
            .cut
            .compare_exchange(MAY_BE_CUT, BROKEN, Ordering::AcqRel, Ordering::Relaxed);
        let update = |mark: u32| (mark & !WAITERS == dead.raw()).then_some(0);
        if self
            .sender
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, update)
            .is_ok()
        {
            futex_wake(&self.sender, u32::MAX);
            self.tell();
        }
    }

    /// Tells whether a block with a message of so many bytes can depart.
    pub fn has_flight(&self, len: u64) -> bool {
        let (mut used, mut large, mut bytes) = (0, 0, 0);
        for flight in self.taken_once() {
            // Acquire: a place is free only after its block was taken.
            if flight.block.load(Ordering::Acquire) != 0 {
                used += 1;
                let len = flight.len.load(Ordering::Relaxed);
                if len >= LARGE {
                    large += 1;
                    bytes += len;
                }
            }
        }
        let may_be_as_large = large == 0 || large < MOST_LARGE && bytes + len <= MOST_IN_FLIGHT;
        used < FLIGHTS && (len < LARGE || may_be_as_large)
    }

    /// Returns the places that may be in use.
    fn taken_once(&self) -> &[InFlight] {
        // Acquire pairs with the Release in `depart`: a receiver looks for a block only
        // after it has read the note of it.
        let reach = self.reach.load(Ordering::Acquire) as usize;
        &self.flights[..reach.min(FLIGHTS)]
    }

    /// Tells whether a block is on its way that a dead member has sent.
    fn has_suspect(&self, family: &Family) -> bool {
        self.taken_once().iter().any(|flight| {
            let sender = Stamp::from_raw(flight.sender.load(Ordering::Relaxed));
            flight.block.load(Ordering::Acquire) != 0 && family.is_dead(sender)
        })
    }

    /// Notes a block as being on its way, and makes it the family's; only the sender
    /// that has the turn calls this. Gives the block back when no flight is free.
    pub fn depart(&self, family: &Family, block: Block, len: u64) -> Result<Option<u64>> {
        let free = |flight: &InFlight| flight.block.load(Ordering::Acquire) == 0;
        let Some(at) = self.flights.iter().position(free) else {
            return Ok(None);
        };
        // Release: within reach before it is noted.
        self.reach.fetch_max(at as u32 + 1, Ordering::Release);
        let flight = &self.flights[at];
        flight.len.store(len, Ordering::Relaxed);
        flight.sender.store(family.me().raw(), Ordering::Relaxed);
        // Release: a process that finds the block finds the rest. If this process is
        // killed after this line, it leaves a note of a block that is still its own:
        // see `recover`.
        flight.block.store(block.offset(), Ordering::Release);
        let offset = block.offset();
        if let Err(error) = block.disown() {
            flight.block.store(0, Ordering::Release);
            return Err(error);
        }
        Ok(Some(offset))
    }

    /// Takes over a block that has arrived, or of which the receiver was never told.
    ///
    /// # Errors
    /// `Stale` when no such block is on its way.
    pub fn arrive(&self, offset: u64) -> Result<Block> {
        let flight = self
            .taken_once()
            .iter()
            .find(|flight| offset != 0 && flight.block.load(Ordering::Acquire) == offset);
        let Some(flight) = flight else {
            let message = "a message is said to lie in a block that was not sent";
            return Err(Error::new(ErrorKind::Stale, message));
        };
        let block = Block::claim(offset, Stamp::NOBODY)?;
        // Release: the block is ours before the flight is free.
        flight.block.store(0, Ordering::Release);
        self.space.wake(1);
        self.tell();
        Ok(block)
    }

    /// Forgets blocks that a dead member owns, because they had not departed yet or had just
    /// arrived: reclaim is going to free them.
    fn forget(&self, family: &Family, dead: Stamp) {
        for flight in self.taken_once() {
            let offset = flight.block.load(Ordering::Acquire);
            // Changes nothing, but succeeds only if the dead member owns the block.
            if offset != 0 && family.change_owner(offset, dead, dead).is_ok() {
                flight.block.store(0, Ordering::Release);
            }
        }
        self.space.wake(1);
    }
}

impl SenderLock<'_> {
    /// Keeps the right to send beyond this value.
    pub fn keep(self) {
        let _ = ManuallyDrop::new(self);
    }

    /// Notes that a part of the message may have left from here on.
    pub fn may_be_cut(&self) {
        self.0.cut.store(MAY_BE_CUT, Ordering::Release);
    }
}

impl Drop for SenderLock<'_> {
    fn drop(&mut self) {
        let direction = self.0;
        if !direction.is_broken() {
            direction.cut.store(WHOLE, Ordering::Release);
        }
        if direction.sender.swap(0, Ordering::Release) & WAITERS != 0 {
            futex_wake(&direction.sender, u32::MAX);
            direction.tell();
        }
    }
}

// SAFETY: atomics, in the order of C.
unsafe impl SharedBody for PipeLayout {
    const KIND: ObjectKind = ObjectKind::Pipe;

    fn recover(view: BodyView<'_, Self>, dead: Stamp) {
        for direction in &view.body().directions {
            direction.release_dead(dead);
            direction.forget(view.family(), dead);
            direction.awaiting.forget_and_ring(view.family(), dead);
        }
    }

    fn destroy(view: BodyView<'_, Self>) {
        for direction in &view.body().directions {
            for flight in direction.taken_once() {
                // The block becomes ours first, then its note is forgotten, then it is freed:
                // see `UndoRecord`.
                let block = Block::claim(flight.block.load(Ordering::Acquire), Stamp::NOBODY);
                flight.block.store(0, Ordering::Release);
                drop(block);
            }
            direction.awaiting.destroy(view.family());
        }
    }
}

fn broken() -> Error {
    let message = "a process ended in the middle of a message to the pipe, which is unusable now";
    Error::new(ErrorKind::Closed, message)
}

fn too_late() -> Error {
    let message = "the pipe took no message before the deadline";
    Error::new(ErrorKind::TimedOut, message)
}

fn interrupted() -> Error {
    let message = "a signal arrived during the wait to send into a pipe";
    Error::new(ErrorKind::Interrupted, message)
}
