//! Bytes over a pair of connected sockets, all of them or a known part.
//!
//! A transfer counts what it has moved in a number that its caller keeps. When
//! it stops half way, because of a signal or a deadline, the caller makes the
//! same call again and it goes on from there: no byte is lost or sent twice.
//!
//! A call waits once. A signal that comes together with room for more bytes
//! goes unseen by the wait, so a transfer that has to wait a second time stops
//! as if it were interrupted, and its caller looks for signals.
//!
//! Pipes and other descriptors that are no sockets work too.
//!
//! # Safety
//! A vector's length grows by the bytes that the kernel has put behind it.

#![expect(
    unsafe_code,
    reason = "reads into a vector's spare room, and an ioctl that rustix lacks"
)]

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, read, write};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketFlags, SocketType,
    recv, sendmsg, shutdown, socketpair,
};

use crate::denial::refused;
use crate::error::{Error, ErrorKind, Result};
use crate::fd::kept_fd::both_past_streams;
use crate::steps::step;
use crate::wait::poll::{PollFd, PollFlags, has_now, poll};
use crate::wait::time::Deadline;

/// Makes two connected sockets that carry a stream of bytes.
///
/// # Errors
/// `Limit` when no descriptor is left.
pub fn stream_pair() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .and_then(both_past_streams)
    .map_err(|e| refused("socketpair", "create a pair of sockets", e))
}

/// Returns how much of what was sent waits to be received, in bytes of the
/// kernel's memory: somewhat more than the messages have.
///
/// # Errors
/// When `fd` is no socket.
pub fn unsent(fd: impl AsFd) -> Result<usize> {
    let mut waiting: libc::c_int = 0;
    // SAFETY: the request (SIOCOUTQ, which has the number of TIOCOUTQ) writes
    // one int.
    let code = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut waiting) };
    if code < 0 {
        let error = std::io::Error::last_os_error();
        return Err(Error::os("ask how much waits in a socket", error));
    }
    Ok(usize::try_from(waiting).unwrap_or(0))
}

/// Ends sending, for every process that shares the socket: once everything was
/// received, the other end finds the end of the stream.
///
/// # Errors
/// When `fd` is no socket.
pub fn stop_sending(fd: impl AsFd) -> Result<()> {
    shutdown(fd, Shutdown::Write).map_err(|e| Error::os("close one way of a socket", e))
}

/// Ends receiving: a process that waits to receive finds the end of the stream, and a
/// process that sends to it is refused.
///
/// # Errors
/// When `fd` is no socket.
pub fn stop_receiving(fd: impl AsFd) -> Result<()> {
    shutdown(fd, Shutdown::Read).map_err(|e| Error::os("close one way of a socket", e))
}

/// Sends `parts`, one after the other, but for the first `sent` bytes of them;
/// `sent` grows as bytes leave.
///
/// # Errors
/// `Interrupted` when a signal arrived or may have, `TimedOut` when the
/// deadline passed: call again to send the rest. `Closed` when nobody holds the other end.
pub fn send_all(
    fd: impl AsFd,
    parts: &[&[u8]],
    sent: &mut usize,
    deadline: Deadline,
) -> Result<()> {
    let fd = fd.as_fd();
    let total: usize = parts.iter().map(|part| part.len()).sum();
    // Waiting is left to poll: a signal that stops a send half way would show
    // as nothing but a short count.
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let mut patience = TransferWait::new(PollFlags::OUT, deadline);
    let mut kind = Kind::Socket;
    while *sent < total {
        step();
        let result = match kind {
            Kind::Socket => {
                let mut nothing = SendAncillaryBuffer::default();
                sendmsg(fd, &after(parts, *sent), &mut nothing, flags)
            }
            Kind::Other => {
                patience.look_and_wait(fd)?;
                // A pipe that is writable takes this much without waiting.
                let rest = after(parts, *sent);
                let start = rest.first().map_or(&[][..], |part| part);
                write(fd, &start[..start.len().min(PIPE_BUF)])
            }
        };
        match result {
            Ok(count) => *sent += count,
            Err(Errno::NOTSOCK) => kind = Kind::Other,
            Err(Errno::AGAIN) => patience.wait(fd)?,
            Err(e) => return Err(failed("sendmsg", "send", e)),
        }
    }
    Ok(())
}

/// Receives until `buffer` is full; `filled` counts the bytes that are there.
///
/// # Errors
/// `Interrupted` when a signal arrived or may have, `TimedOut` when the
/// deadline passed: call again to receive the rest. `Closed` when no process holds the
/// other end and everything that was sent has been received; a message may be cut
/// (`filled` > 0).
pub fn recv_exact(
    fd: impl AsFd,
    buffer: &mut [u8],
    filled: &mut usize,
    deadline: Deadline,
) -> Result<()> {
    let total = buffer.len();
    recv_until(fd.as_fd(), total, filled, deadline, |fd, filled, call| {
        let rest = &mut buffer[filled..];
        match call {
            Call::Recv(flags) => Ok(recv(fd, rest, flags)?.0),
            Call::Read => read(fd, rest),
        }
    })
}

/// Receives into `buffer` what is there, without a wait; `filled` counts the bytes.
///
/// # Errors
/// `Closed` when nothing is there and no process holds the other end.
pub fn recv_now(fd: impl AsFd, buffer: &mut [u8], filled: &mut usize) -> Result<()> {
    step();
    match recv(fd, &mut buffer[*filled..], RecvFlags::DONTWAIT) {
        Ok((0, _)) => Err(closed()),
        Ok((count, _)) => {
            *filled += count;
            Ok(())
        }
        // No socket: there is no way to tell.
        Err(Errno::AGAIN | Errno::INTR | Errno::NOTSOCK) => Ok(()),
        Err(e) => Err(failed("recvfrom", "receive", e)),
    }
}

/// Receives until `bytes` holds `total` bytes; those it holds already count,
/// and none of the new memory is cleared first.
///
/// # Errors
/// As [`recv_exact`]; what was received stays in `bytes`. `OutOfMemory` when
/// there is no room for so many.
pub fn recv_vec(
    fd: impl AsFd,
    bytes: &mut Vec<u8>,
    total: usize,
    deadline: Deadline,
) -> Result<()> {
    let mut filled = bytes.len();
    let no_room = |_| {
        let message = format!("there is no memory for a message of {total} bytes");
        Error::new(ErrorKind::OutOfMemory, message)
    };
    bytes
        .try_reserve_exact(total.saturating_sub(filled))
        .map_err(no_room)?;
    recv_until(
        fd.as_fd(),
        total,
        &mut filled,
        deadline,
        |fd, filled, call| {
            let room = &mut bytes.spare_capacity_mut()[..total - filled];
            let count = match call {
                Call::Recv(flags) => recv(fd, room, flags)?.1,
                Call::Read => read(fd, room)?.0.len(),
            };
            // SAFETY: the kernel has filled `count` bytes of the spare room.
            unsafe { bytes.set_len(filled + count) };
            Ok(count)
        },
    )
}

/// Calls `more` with the number of bytes received so far until they are all.
fn recv_until(
    fd: BorrowedFd<'_>,
    total: usize,
    filled: &mut usize,
    deadline: Deadline,
    mut more: impl FnMut(BorrowedFd<'_>, usize, Call) -> rustix::io::Result<usize>,
) -> Result<()> {
    let mut patience = TransferWait::new(PollFlags::IN, deadline);
    let mut kind = Kind::Socket;
    while *filled < total {
        let call = match kind {
            Kind::Socket if patience.may_wait_for_ever() => Call::Recv(RecvFlags::empty()),
            Kind::Socket => Call::Recv(RecvFlags::DONTWAIT),
            Kind::Other => {
                patience.look_and_wait(fd)?;
                Call::Read
            }
        };
        step();
        match more(fd, *filled, call) {
            Ok(0) => return Err(closed()),
            Ok(count) => *filled += count,
            Err(Errno::NOTSOCK) => {
                kind = Kind::Other;
                patience = TransferWait::new(PollFlags::IN, deadline);
            }
            Err(Errno::AGAIN) => patience.wait(fd)?,
            Err(e) => return Err(failed("recvfrom", "receive", e)),
        }
    }
    Ok(())
}

/// Says what the bytes go through; a socket is tried first.
#[derive(Clone, Copy)]
enum Kind {
    Socket,
    Other,
}

/// Says which call receives the bytes.
#[derive(Clone, Copy)]
enum Call {
    Recv(RecvFlags),
    Read,
}

/// Holds the one wait of a transfer.
struct TransferWait {
    events: PollFlags,
    deadline: Deadline,
    used: bool,
}

impl TransferWait {
    fn new(events: PollFlags, deadline: Deadline) -> Self {
        Self {
            events,
            deadline,
            used: false,
        }
    }

    /// Tells whether the transfer's own call may do the waiting: one system
    /// call instead of two. Uses the wait up.
    fn may_wait_for_ever(&mut self) -> bool {
        let may = !self.used && self.deadline == Deadline::NEVER;
        self.used |= may;
        may
    }

    /// Waits until `fd` is ready, unless it is ready now.
    fn look_and_wait(&mut self, fd: BorrowedFd<'_>) -> Result<()> {
        if has_now(fd, self.events)? {
            return Ok(());
        }
        self.wait(fd)
    }

    /// Waits until `fd` is ready; the second time only looks whether it is.
    fn wait(&mut self, fd: BorrowedFd<'_>) -> Result<()> {
        let deadline = if self.used {
            Deadline::now()
        } else {
            self.deadline
        };
        let mut fds = [PollFd::from_borrowed_fd(fd, self.events)];
        match (poll(&mut fds, deadline)?, self.used) {
            (0, true) => {
                let message = "the transfer was stopped to look for signals";
                Err(Error::new(ErrorKind::Interrupted, message))
            }
            (0, false) => {
                let message = "the deadline passed before all bytes were moved";
                Err(Error::new(ErrorKind::TimedOut, message))
            }
            _ => {
                self.used = true;
                Ok(())
            }
        }
    }
}

/// Bytes that a pipe takes at once or not at all (pipe(7)).
const PIPE_BUF: usize = 4096;

/// Parts that one system call is given; more of them go with the next.
const PARTS: usize = 64;

/// Returns what remains of `parts` after the first `skip` bytes.
fn after<'a>(parts: &[&'a [u8]], mut skip: usize) -> Vec<IoSlice<'a>> {
    let mut rest = Vec::with_capacity(parts.len().min(PARTS));
    for part in parts {
        if skip >= part.len() {
            skip -= part.len();
            continue;
        }
        if rest.len() == PARTS {
            break;
        }
        rest.push(IoSlice::new(&part[skip..]));
        skip = 0;
    }
    rest
}

pub(crate) fn closed() -> Error {
    let message = "the other end of the connection is closed";
    Error::new(ErrorKind::Closed, message)
}

pub(crate) fn failed(call: &str, verb: &str, errno: Errno) -> Error {
    match errno {
        Errno::PIPE | Errno::CONNRESET => closed(),
        _ => refused(call, format_args!("{verb} bytes over a connection"), errno),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;
    use crate::testing::{WATCHDOG, child};

    /// Bytes that show any that is lost, doubled or swapped.
    fn pattern(len: usize) -> Vec<u8> {
        (0..len).map(|n| (n * 7 + n / 251) as u8).collect()
    }

    /// Goes on as a face does, until all is there.
    fn persist(mut transfer: impl FnMut() -> Result<()>) {
        while let Err(e) = transfer() {
            assert_eq!(e.kind(), ErrorKind::Interrupted);
        }
    }

    #[test]
    fn parts_arrive_as_one_stream() {
        let (ours, theirs) = stream_pair().unwrap();
        let mut sent = 0;
        let parts: [&[u8]; 4] = [b"one", b"", b"two", b"!"];
        send_all(&ours, &parts, &mut sent, Deadline::NEVER).unwrap();
        assert_eq!(sent, 7);
        let (mut head, mut filled) = ([0; 3], 0);
        recv_exact(&theirs, &mut head, &mut filled, Deadline::now()).unwrap();
        let mut rest = b"=".to_vec();
        recv_vec(&theirs, &mut rest, 5, Deadline::NEVER).unwrap();
        assert_eq!((&head, rest.as_slice()), (b"one", &b"=two!"[..]));
    }

    #[test]
    fn more_parts_than_a_call_takes_arrive_all_the_same() {
        let (ours, theirs) = stream_pair().unwrap();
        let bytes = pattern(PARTS * 3 + 5);
        let parts: Vec<_> = bytes.chunks(1).collect();
        send_all(&ours, &parts, &mut 0, WATCHDOG()).unwrap();
        let mut got = Vec::new();
        recv_vec(&theirs, &mut got, bytes.len(), WATCHDOG()).unwrap();
        assert_eq!(got, bytes);
    }

    #[test]
    fn a_deadline_stops_both_sides_and_they_go_on_where_they_were() {
        let (ours, theirs) = stream_pair().unwrap();
        let bytes = pattern(4 << 20);
        let mut sent = 0;
        let mut got = Vec::new();
        let mut stops = 0;
        // Neither side can finish before the other has begun.
        while got.len() < bytes.len() {
            let soon = Deadline::after(Duration::from_micros(200));
            let result = send_all(&ours, &[&bytes], &mut sent, soon);
            stops += usize::from(result.is_err_and(|e| e.kind() == ErrorKind::TimedOut));
            let result = recv_vec(&theirs, &mut got, bytes.len(), Deadline::now());
            assert!(result.is_ok() || got.len() < bytes.len());
        }
        assert!(stops > 0);
        assert_eq!(got, bytes);
    }

    #[test]
    fn signals_in_the_middle_lose_no_byte() {
        let (ours, theirs) = stream_pair().unwrap();
        let len = 1 << 20;
        let (sender, _release) = child(|_| {
            extern "C" fn ignore(_: libc::c_int) {}
            // SAFETY: zeros are an empty mask and no flags, so that calls
            // stop at the signal rather than start over.
            let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
            action.sa_sigaction = ignore as extern "C" fn(libc::c_int) as libc::sighandler_t;
            // SAFETY: the handler does nothing.
            unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };
            send_all(&ours, &[b"go"], &mut 0, Deadline::NEVER).unwrap();
            let bytes = pattern(len);
            let mut sent = 0;
            persist(|| send_all(&ours, &[&bytes], &mut sent, Deadline::NEVER));
            0
        });
        let mut go = [0; 2];
        let mut filled = 0;
        persist(|| recv_exact(&theirs, &mut go, &mut filled, WATCHDOG()));
        let mut got = Vec::new();
        while got.len() < len {
            sender.send_signal(libc::SIGUSR1).unwrap();
            let next = len.min(got.len() + 5_000);
            persist(|| recv_vec(&theirs, &mut got, next, WATCHDOG()));
        }
        assert_eq!(got, pattern(len));
        assert!(sender.wait(WATCHDOG()).unwrap());
        assert_eq!(sender.reap().unwrap().unwrap().code(), 0);
    }

    #[test]
    fn a_transfer_that_would_wait_twice_lets_its_caller_look_for_signals() {
        let (ours, _theirs) = stream_pair().unwrap();
        let mut patience = TransferWait::new(PollFlags::OUT, Deadline::NEVER);
        patience.wait(ours.as_fd()).unwrap();
        let more_than_it_holds = pattern(4 << 20);
        let full = send_all(&ours, &[&more_than_it_holds], &mut 0, Deadline::now());
        assert_eq!(full.unwrap_err().kind(), ErrorKind::TimedOut);
        let error = patience.wait(ours.as_fd()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
    }

    #[test]
    fn a_closed_end_is_told_after_its_last_bytes() {
        // In a process of its own: others may inherit the end that is closed.
        let (process, _release) = child(|_| {
            let (ours, theirs) = stream_pair().unwrap();
            send_all(&theirs, &[b"bye"], &mut 0, Deadline::NEVER).unwrap();
            drop(theirs);
            let (mut buffer, mut filled) = ([0; 8], 0);
            let error = recv_exact(&ours, &mut buffer, &mut filled, Deadline::NEVER).unwrap_err();
            assert_eq!((error.kind(), filled), (ErrorKind::Closed, 3));
            let error = send_all(&ours, &[b"x"], &mut 0, Deadline::NEVER).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Closed);
            0
        });
        assert!(process.wait(WATCHDOG()).unwrap());
        assert!(process.reap().unwrap().unwrap().is_success());
    }

    #[test]
    fn a_pipe_carries_bytes_and_keeps_deadlines_too() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let bytes = pattern(1 << 18);
        let mut sent = 0;
        let soon = Deadline::after(Duration::from_millis(1));
        let error = send_all(&write, &[&bytes], &mut sent, soon).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(sent > 0);
        let mut got = Vec::new();
        recv_vec(&read, &mut got, sent, Deadline::NEVER).unwrap();
        let error = recv_exact(&read, &mut [0], &mut 0, Deadline::now()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(got, bytes[..sent]);
    }
}
