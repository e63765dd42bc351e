//! Descriptors that travel through a Unix socket, with bytes.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::error::{Error, ErrorKind, Result};
use crate::fd::kept_fd::past_streams;
use crate::socket::io::{closed, failed};
use crate::steps::step;
use crate::wait::poll::{wait_readable, wait_writable};
use crate::wait::time::Deadline;

/// Descriptors that one message carries at most (`SCM_MAX_FD`, unix(7)).
pub const MOST_DESCRIPTORS: usize = 253;

/// Bytes that the control message of so many descriptors takes.
const SPACE: usize = rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS));

/// Sends `bytes`, at least one, and with the first of them copies of `fds`.
/// Returns how many bytes were sent: over a stream perhaps not all, and the
/// rest goes by [`send_all`](crate::socket::io::send_all).
///
/// # Errors
/// `Interrupted` and `TimedOut`: nothing was sent. `Closed` when nobody holds
/// the other end, `Invalid` for no bytes or too many descriptors.
pub fn send_with_fds(
    socket: impl AsFd,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
    deadline: Deadline,
) -> Result<usize> {
    if bytes.is_empty() || fds.len() > MOST_DESCRIPTORS {
        let message = format!(
            "a message carries at least 1 byte and at most {MOST_DESCRIPTORS} descriptors, \
             not {} and {}",
            bytes.len(),
            fds.len()
        );
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    let socket = socket.as_fd();
    let mut space = [MaybeUninit::uninit(); SPACE];
    loop {
        let mut control = SendAncillaryBuffer::new(&mut space);
        // It fits: there is room for as many as a message carries.
        if !fds.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(fds));
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        step();
        match sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags) {
            Ok(count) => return Ok(count),
            Err(Errno::AGAIN) => {
                if !wait_writable(socket, deadline)? {
                    return Err(timed_out("sent"));
                }
            }
            Err(e) => return Err(failed("sendmsg", "send", e)),
        }
    }
}

/// Receives up to `buffer.len()` bytes, as many as are there, and the
/// descriptors that came with them (closed on exec).
///
/// # Errors
/// `Interrupted` and `TimedOut`: nothing was received. `Closed` when nobody
/// holds the other end. `Limit` when this process had no room for all the
/// descriptors: those that did arrive are closed, the bytes are lost.
pub fn recv_with_fds(
    socket: impl AsFd,
    buffer: &mut [u8],
    deadline: Deadline,
) -> Result<(usize, Vec<OwnedFd>)> {
    let socket = socket.as_fd();
    let mut space = [MaybeUninit::uninit(); SPACE];
    loop {
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        step();
        match recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags) {
            Ok(message) if message.bytes == 0 => return Err(closed()),
            Ok(message) => {
                let fds = control
                    .drain()
                    .filter_map(|part| match part {
                        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
                        _ => None,
                    })
                    .flatten()
                    .map(past_streams)
                    .collect::<rustix::io::Result<_>>();
                if message.flags.contains(ReturnFlags::CTRUNC) {
                    let message = "too few descriptors are left for those that arrived";
                    return Err(Error::new(ErrorKind::Limit, message));
                }
                let moved = |e| Error::os("move received descriptors past the standard streams", e);
                return Ok((message.bytes, fds.map_err(moved)?));
            }
            Err(Errno::AGAIN) => {
                if !wait_readable(socket, deadline)? {
                    return Err(timed_out("received"));
                }
            }
            Err(e) => return Err(failed("recvmsg", "receive", e)),
        }
    }
}

fn timed_out(verb: &str) -> Error {
    let message = format!("the deadline passed before a descriptor was {verb}");
    Error::new(ErrorKind::TimedOut, message)
}

#[cfg(test)]
mod tests {
    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;
    use crate::socket::io::stream_pair;
    use crate::testing::{WATCHDOG, child};

    #[test]
    fn descriptors_arrive_in_another_process_and_work_there() {
        let (ours, theirs) = stream_pair().unwrap();
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (receiver, _release) = child(|_| {
            let mut text = [0; 8];
            let (count, fds) = recv_with_fds(&theirs, &mut text, WATCHDOG()).unwrap();
            assert_eq!(&text[..count], b"two");
            rustix::io::write(&fds[1], b"!").unwrap();
            i32::try_from(fds.len()).unwrap()
        });
        let fds = [read.as_fd(), write.as_fd()];
        assert_eq!(send_with_fds(&ours, b"two", &fds, WATCHDOG()).unwrap(), 3);
        let mut byte = [0];
        assert_eq!(rustix::io::read(&read, &mut byte), Ok(1));
        assert!(receiver.wait(WATCHDOG()).unwrap());
        assert_eq!(receiver.reap().unwrap().unwrap().code(), 2);
    }

    #[test]
    fn a_message_carries_as_many_as_the_kernel_allows_and_no_more() {
        let (ours, theirs) = stream_pair().unwrap();
        let fds = vec![ours.as_fd(); MOST_DESCRIPTORS + 1];
        let error = send_with_fds(&ours, b"x", &fds, Deadline::now()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        send_with_fds(&ours, b"x", &fds[1..], Deadline::now()).unwrap();
        let (_, received) = recv_with_fds(&theirs, &mut [0], Deadline::now()).unwrap();
        assert_eq!(received.len(), MOST_DESCRIPTORS);
    }
}
