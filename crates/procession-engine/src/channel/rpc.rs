//! A request channel: a socket between two relatives whose messages lie in shared memory.
//!
//! It serves two processes that ask and answer in turn, such as a manager's client and
//! its server: each end sends its next message only when it has received the other's,
//! so one place for a message each way is enough. While both are awake, neither makes a
//! system call.
//!
//! A receiver that has looked in vain for a while says in the word `asleep` how
//! it sleeps: first on that word, and when that has taken long on the socket,
//! which tells when the other end is gone. The sender takes the word back, and wakes
//! the receiver or sends it one byte. Each puts a sequentially consistent fence between
//! its store and its look, so one of the two sees the other. A message that is too
//! large for the place goes through the socket, as over a [`pipe`](super::pipe()).
//!
//! # Safety
//! A place is a part of an object that lives while a process is attached to it. The sender writes a
//! message there only after its last message was answered, and the receiver reads it only after the
//! count was raised. Both ends are members of one family, and keep to their turns.

#![expect(unsafe_code, reason = "messages are bytes of the arena")]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::channel::message::Message;
use crate::channel::pipe::receiving::Receiving;
use crate::channel::pipe::sending::Sending;
use crate::channel::pipe::shared::{PipeHandle, PipeShared};
use crate::family;
use procession_shm::{Handle, HandleSource, ObjectKind, SharedBody, SharedObject};
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::fd::kept_fd::KeptFd;
use procession_sys::primitive::{AtomicU32, AtomicU64, Ordering, fence, futex_wait, futex_wake};
use procession_sys::socket::io;
use procession_sys::wait::adaptive_spin::AdaptiveSpin;
use procession_sys::wait::futex::Woken;
use procession_sys::wait::time::Deadline;

/// Bytes of a place.
pub const ROOM: usize = 3968;

/// Nobody sleeps.
const AWAKE: u32 = 0;
/// The receiver is parked on the word.
const ON_WORD: u32 = 1;
/// The receiver waits for a byte from the socket.
const ON_SOCKET: u32 = 2;

/// How long a receiver sleeps on the word. That costs half as much as a sleep on the socket, but
/// does not show whether the other end is gone.
const SHORT: Duration = Duration::from_millis(50);

/// Stands in the place of the length of a message that goes through the socket.
const ELSEWHERE: u32 = u32::MAX;

#[repr(C)]
struct RpcLayout {
    /// The place that each end sends into, by the end's number.
    places: [MessageBuffer; 2],
}

// SAFETY: atomics, in the order of C.
unsafe impl SharedBody for RpcLayout {
    const KIND: ObjectKind = ObjectKind::Rpc;
}

/// Where the messages of one direction lie, one at a time.
#[repr(C, align(64))]
struct MessageBuffer {
    /// How many messages were sent.
    count: AtomicU32,
    /// How the receiver sleeps, if it does.
    asleep: AtomicU32,
    /// The length of the last one.
    len: AtomicU32,
    spare: AtomicU32,
    bytes: [AtomicU64; ROOM / 8],
}

/// Names what the ends of a channel share, for the end that attaches to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RpcHandle {
    /// The family whose members may attach.
    pub family: u128,
    /// The two places.
    pub places: Handle,
    /// The shared part of a pipe, for large messages.
    pub track: PipeHandle,
}

/// What one end of a channel shares with the other, before it has a socket.
#[derive(Debug)]
pub struct RpcEnd {
    object: SharedObject<RpcLayout>,
    track: PipeShared,
    side: usize,
    /// The other end's view of the pipe, kept until that end has attached.
    theirs: Option<PipeShared>,
}

impl RpcEnd {
    /// Makes an end that another process can attach to.
    ///
    /// # Errors
    /// `OutOfMemory` when the arena is full.
    pub fn create() -> Result<Self> {
        let (track, theirs) = PipeShared::pair()?;
        Ok(Self {
            object: SharedObject::create(family()?, 0)?,
            track,
            side: 0,
            theirs: Some(theirs),
        })
    }

    /// Returns the handle by which the other end attaches while this end is held.
    #[must_use]
    pub fn handle(&self) -> RpcHandle {
        RpcHandle {
            family: self.object.family().id(),
            places: self.object.handle(),
            track: self.theirs.as_ref().unwrap_or(&self.track).handle(),
        }
    }

    /// Makes the other end, by the handle from a relative.
    ///
    /// # Errors
    /// `Stale` when it is gone, `Invalid` when it is of another family.
    pub fn attach(handle: RpcHandle) -> Result<Self> {
        if family()?.id() != handle.family {
            let message = "the request channel belongs to a process of another family";
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Ok(Self {
            object: SharedObject::attach(family()?, handle.places, &HandleSource::KEPT)?,
            track: PipeShared::attach(handle.track, &HandleSource::KEPT)?,
            side: 1,
            theirs: None,
        })
    }

    /// Puts the end to use, over its end of a connected socket.
    ///
    /// # Errors
    /// `Limit` when the socket has to be moved and no descriptor is left.
    pub fn open(self, socket: OwnedFd) -> Result<RpcChannel> {
        let socket = KeptFd::keep(socket)
            .map_err(|e| Error::os("keep the socket of a request channel", e))?;
        Ok(RpcChannel {
            socket,
            object: self.object,
            track: self.track,
            side: self.side,
            sent: 0,
            received: 0,
            asleep: AWAKE,
            spin: AdaptiveSpin::in_turns(),
            waiting_since: None,
        })
    }
}

/// One end of a channel; one thread uses it.
#[derive(Debug)]
pub struct RpcChannel {
    socket: KeptFd,
    object: SharedObject<RpcLayout>,
    track: PipeShared,
    side: usize,
    sent: u32,
    received: u32,
    /// The value that this end has put into `asleep` and not taken back.
    asleep: u32,
    spin: AdaptiveSpin,
    /// When the wait for the next message began, if the message was not here at once.
    waiting_since: Option<Instant>,
}

/// A received message.
#[derive(Debug)]
pub enum RpcReceived<'a> {
    /// The message lies in its place until the answer is sent.
    Here(&'a [u8]),
    /// It came through the socket.
    Elsewhere(Message),
}

impl RpcChannel {
    /// Sends a message, its bytes taken from the parts in turn.
    ///
    /// # Errors
    /// `Closed` when the other end is known to be gone; if it has ended unnoticed, the
    /// next [`wait`](Self::wait) fails.
    pub fn send(&mut self, parts: &[&[u8]]) -> Result<()> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let fits = len <= ROOM;
        if fits {
            self.write(parts);
        }
        self.sent = self.sent.wrapping_add(1);
        let place = self.place(self.side);
        let told = if fits { len as u32 } else { ELSEWHERE };
        // Relaxed: the count is raised after it, by a Release.
        place.len.store(told, Ordering::Relaxed);
        // Release pairs with the Acquire in `has_news`.
        place.count.store(self.sent, Ordering::Release);
        // Pairs with the fence in `wait`.
        fence(Ordering::SeqCst);
        if place.asleep.load(Ordering::Relaxed) != AWAKE {
            match place.asleep.swap(AWAKE, Ordering::AcqRel) {
                ON_WORD => futex_wake(&place.asleep, 1),
                ON_SOCKET => {
                    io::send_all(self.socket()?, &[b"!"], &mut 0, Deadline::NEVER)?;
                }
                _ => {}
            }
        }
        if fits {
            return Ok(());
        }
        let mut sending = Sending::new(self.socket()?, Some(&self.track), parts);
        loop {
            match sending.go_on(Deadline::NEVER) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Spins for the next message as long as that has paid off lately; tells whether it
    /// is here.
    pub fn look(&mut self) -> bool {
        if self.has_news() {
            return true;
        }
        // Only once for each message.
        if self.asleep != AWAKE || self.waiting_since.is_some() {
            return false;
        }
        self.waiting_since = Some(Instant::now());
        self.spin.spin(|| self.has_news())
    }

    /// Sleeps until the next message is here, which [`take`](Self::take) returns.
    ///
    /// # Errors
    /// `Closed` when the other end is gone; `TimedOut` at the deadline and
    /// `Interrupted`: call again.
    pub fn wait(&mut self, deadline: Deadline) -> Result<()> {
        while !self.has_news() {
            match self.asleep {
                AWAKE => {
                    // Relaxed: the fence orders it before the next look.
                    self.incoming().asleep.store(ON_WORD, Ordering::Relaxed);
                    fence(Ordering::SeqCst);
                    self.asleep = ON_WORD;
                }
                ON_WORD => self.sleep_on_word(deadline)?,
                _ => {
                    // The byte comes after the count of messages.
                    io::recv_exact(self.socket()?, &mut [0], &mut 0, deadline)?;
                    self.asleep = AWAKE;
                }
            }
        }
        Ok(())
    }

    fn sleep_on_word(&mut self, deadline: Deadline) -> Result<()> {
        let asleep = &self.object.body().places[1 - self.side].asleep;
        match futex_wait(asleep, ON_WORD, deadline.within(SHORT)) {
            Woken::Changed => {
                if asleep.load(Ordering::Acquire) == AWAKE {
                    self.asleep = AWAKE;
                }
            }
            Woken::Interrupted => {
                let message = "a signal arrived during the wait for a request or a reply";
                return Err(Error::new(ErrorKind::Interrupted, message));
            }
            Woken::TimedOut => {
                // SeqCst: the next look sees all that was sent before.
                let changed =
                    asleep.compare_exchange(ON_WORD, ON_SOCKET, Ordering::SeqCst, Ordering::SeqCst);
                self.asleep = if changed.is_ok() { ON_SOCKET } else { AWAKE };
                if self.has_news() {
                    return Ok(());
                }
                if deadline.has_passed() {
                    let message = "no request or reply had come at the deadline";
                    return Err(Error::new(ErrorKind::TimedOut, message));
                }
                // The sleep on the socket has no time limit, and a signal may have come just now.
                let message = "the wait for a request or a reply was stopped to look for signals";
                return Err(Error::new(ErrorKind::Interrupted, message));
            }
        }
        Ok(())
    }

    /// Returns the message that was waited for.
    ///
    /// # Errors
    /// `Closed` when the other end ended before it was all here.
    pub fn take(&mut self) -> Result<RpcReceived<'_>> {
        if self.asleep != AWAKE {
            let left = self.incoming().asleep.swap(AWAKE, Ordering::AcqRel);
            // The sender that has taken the value back has sent a byte.
            if left == AWAKE && self.asleep == ON_SOCKET {
                self.take_byte()?;
            }
            self.asleep = AWAKE;
        }
        self.received = self.received.wrapping_add(1);
        let waited = self.waiting_since.take().map(|since| since.elapsed());
        self.spin.learn(waited.unwrap_or_default());
        match self.incoming().len.load(Ordering::Relaxed) {
            ELSEWHERE => self.recv_elsewhere(),
            len => Ok(RpcReceived::Here(self.read(len as usize))),
        }
    }

    /// Lends the socket, which is used only after a long sleep and for large messages.
    fn socket(&self) -> Result<BorrowedFd<'_>> {
        self.socket.ours().ok_or_else(|| {
            let message =
                "the program has closed the socket of a request channel (of a manager's proxy)";
            Error::new(ErrorKind::Closed, message)
        })
    }

    fn has_news(&self) -> bool {
        self.incoming().count.load(Ordering::Acquire) != self.received
    }

    /// Receives the byte that was sent to wake this end.
    fn take_byte(&self) -> Result<()> {
        loop {
            match io::recv_exact(self.socket()?, &mut [0], &mut 0, Deadline::NEVER) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn recv_elsewhere(&self) -> Result<RpcReceived<'_>> {
        let mut receiving = Receiving::new(self.socket()?, Some(&self.track), usize::MAX);
        loop {
            match receiving.go_on(Deadline::NEVER) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result.map(RpcReceived::Elsewhere),
            }
        }
    }

    fn place(&self, side: usize) -> &MessageBuffer {
        &self.object.body().places[side]
    }

    fn incoming(&self) -> &MessageBuffer {
        self.place(1 - self.side)
    }

    fn write(&self, parts: &[&[u8]]) {
        let mut at = self.place(self.side).bytes.as_ptr().cast::<u8>().cast_mut();
        for part in parts {
            // SAFETY: the parts fit, as the caller has looked; nobody reads the
            // place before the count tells of them.
            unsafe { at.copy_from_nonoverlapping(part.as_ptr(), part.len()) };
            // SAFETY: still inside the place, or one past its end.
            at = unsafe { at.add(part.len()) };
        }
    }

    fn read(&self, len: usize) -> &[u8] {
        let at = self.incoming().bytes.as_ptr().cast::<u8>();
        // SAFETY: no more than the place has; the sender writes it again when
        // it has our answer, which takes this line for itself.
        unsafe { std::slice::from_raw_parts(at, len.min(ROOM)) }
    }
}

impl AsFd for RpcChannel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.unverified()
    }
}
