//! A socket by which any member can send descriptors to one that it names.
//!
//! Its abstract name vanishes with it. Strangers can see the name and send to it, so a
//! message begins with a secret, which sender and receiver share in the family's
//! memory; a message without the secret is dropped unread.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{SocketAddrUnix, bind, connect};

use crate::denial::{is_denied, refused};
use crate::error::{Error, ErrorKind, Result};
use crate::fd::kept_fd::KeptFd;
use crate::random;
use crate::socket::fd_passing::{MOST_DESCRIPTORS, recv_with_fds, send_with_fds};
use crate::wait::doorbell::open_socket;
use crate::wait::time::Deadline;

/// Bytes of a secret.
const SECRET_BYTES: usize = 8;

/// Owns a mailbox.
#[derive(Debug)]
pub struct Mailbox(KeptFd);

impl Mailbox {
    /// Opens the mailbox of a member of a family.
    ///
    /// # Errors
    /// When the member has one already, or no descriptor is left (`Limit`).
    pub fn bind(family: u128, stamp: u32) -> Result<Self> {
        let failed = |call, e| {
            refused(
                call,
                format_args!(
                    "open the socket by which others send this process descriptors (mailbox of member \
                 {stamp:#x} of the family)"
                ),
                e,
            )
        };
        let socket = open_socket().map_err(|e| failed("socket", e))?;
        let address = address(family, stamp).map_err(|e| failed("bind", e))?;
        bind(&socket, &address).map_err(|e| failed("bind", e))?;
        KeptFd::keep(socket)
            .map(Self)
            .map_err(|e| failed("fcntl", e))
    }

    /// Receives the `count` descriptors that come with a secret.
    ///
    /// # Errors
    /// `TimedOut` when they have not come, `Limit` when there is no room.
    pub fn receive(&self, secret: u64, count: usize, deadline: Deadline) -> Result<Vec<OwnedFd>> {
        let mut all = Vec::with_capacity(count);
        while all.len() < count {
            let mut bytes = [0; SECRET_BYTES];
            let socket = self.0.ours().ok_or_else(|| {
                let message = "this process has closed the mailbox that it was to be sent \
                               descriptors to";
                Error::new(ErrorKind::Invalid, message)
            })?;
            match recv_with_fds(socket, &mut bytes, deadline) {
                Ok((SECRET_BYTES, fds)) if u64::from_ne_bytes(bytes) == secret => all.extend(fds),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }
}

/// Sends descriptors to the mailbox of a member, with a secret.
///
/// # Errors
/// `Dead` when the member has no mailbox (any more), `TimedOut` when it is full
/// and stays so, `Limit` when no descriptor is left to send with.
pub fn post(
    family: u128,
    stamp: u32,
    secret: u64,
    fds: &[BorrowedFd<'_>],
    deadline: Deadline,
) -> Result<()> {
    send(&reach(family, stamp)?, stamp, secret, fds, deadline)
}

/// Returns a socket that is connected to the mailbox of a member.
fn reach(family: u128, stamp: u32) -> Result<OwnedFd> {
    let failed = |call, e| {
        refused(
            call,
            format_args!("send descriptors to member {stamp:#x}"),
            e,
        )
    };
    let socket = open_socket().map_err(|e| failed("socket", e))?;
    let address = address(family, stamp).map_err(|e| failed("connect", e))?;
    connect(&socket, &address).map_err(|e| match is_denied(e) {
        true => failed("connect", e),
        false => gone(stamp),
    })?;
    Ok(socket)
}

fn send(
    socket: &OwnedFd,
    stamp: u32,
    secret: u64,
    fds: &[BorrowedFd<'_>],
    deadline: Deadline,
) -> Result<()> {
    for some in fds.chunks(MOST_DESCRIPTORS) {
        loop {
            match send_with_fds(socket, &secret.to_ne_bytes(), some, deadline) {
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The second is the error of a socket whose other end has gone after
                // `reach`.
                Err(error)
                    if error.kind() == ErrorKind::Closed
                        || error.errno() == Some(Errno::CONNREFUSED.raw_os_error()) =>
                {
                    return Err(gone(stamp));
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

fn gone(stamp: u32) -> Error {
    let message = format!("member {stamp:#x} takes no descriptors any more: it has ended");
    Error::new(ErrorKind::Dead, message)
}

/// Draws a number that strangers cannot guess.
///
/// # Errors
/// When the kernel gives none (a sandbox).
pub fn secret() -> Result<u64> {
    let mut bytes = [0; SECRET_BYTES];
    random::fill(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

fn address(family: u128, stamp: u32) -> rustix::io::Result<SocketAddrUnix> {
    let name = format!("procession-{family:032x}-{stamp:08x}-mail");
    SocketAddrUnix::new_abstract_name(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsFd as _;

    use super::*;
    use crate::testing::WATCHDOG;

    #[test]
    fn descriptors_arrive_in_order_and_those_of_strangers_do_not() {
        let family = u128::from(std::process::id()) << 64 | u128::from(line!());
        let mailbox = Mailbox::bind(family, 5).unwrap();
        let secret = secret().unwrap();
        let (read, mut write) = std::io::pipe().unwrap();
        let (other, _end) = std::io::pipe().unwrap();
        post(family, 5, secret ^ 1, &[other.as_fd()], WATCHDOG()).unwrap();
        let fds = [read.as_fd(), other.as_fd()];
        post(family, 5, secret, &fds, WATCHDOG()).unwrap();
        let received = mailbox.receive(secret, 2, WATCHDOG()).unwrap();
        write.write_all(b"x").unwrap();
        drop(write);
        let mut text = String::new();
        let first = received.into_iter().next().unwrap();
        std::fs::File::from(first)
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "x");
    }

    #[test]
    fn a_member_that_ends_while_it_is_sent_descriptors_is_dead() {
        let family = u128::from(std::process::id()) << 64 | u128::from(line!());
        let mailbox = Mailbox::bind(family, 5).unwrap();
        let socket = reach(family, 5).unwrap();
        drop(mailbox);
        let (read, _write) = std::io::pipe().unwrap();
        // A process that another test forks has a copy of the mailbox for a moment.
        let error = loop {
            if let Err(error) = send(&socket, 5, 1, &[read.as_fd()], WATCHDOG()) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::Dead);
    }

    #[test]
    fn a_member_without_a_mailbox_is_dead() {
        let family = u128::from(std::process::id()) << 64 | u128::from(line!());
        let error = post(family, 5, 1, &[], WATCHDOG()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Dead);
    }
}
