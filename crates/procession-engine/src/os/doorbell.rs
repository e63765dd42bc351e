//! A descriptor that any member of the family can make readable.
//!
//! Whoever waits in `poll` binds a doorbell; whoever has news rings it by name,
//! without having been given a descriptor. The name is an abstract Unix
//! address, which vanishes with its socket. It holds the family's random id,
//! but /proc/net/unix shows it, so strangers may ring too: a ring only ever
//! means "look again". Members in different network namespaces do not hear
//! each other.
//!
//! # Safety
//! The socket to ring with is opened once per process and never closed.

#![expect(unsafe_code, reason = "borrows a descriptor that is never closed")]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, recv,
    sendto, socket_with,
};

use crate::error::{Error, Result};
use crate::os::steps::step;

/// Owns a doorbell: readable when it was rung since the last drain.
#[derive(Debug)]
pub struct Doorbell {
    socket: OwnedFd,
}

impl Doorbell {
    /// Hangs up the doorbell `number` of member `stamp` of a family.
    ///
    /// A forked child inherits it, and keeps its name taken until the copy is
    /// dropped too.
    ///
    /// # Errors
    /// When the name is taken, or no descriptor is left (`Limit`).
    pub fn bind(family: u128, stamp: u32, number: u32) -> Result<Self> {
        let failed = |e| {
            Error::os(
                format_args!("hang up doorbell {number} of member {stamp:#x}"),
                e,
            )
        };
        let socket = open_socket().map_err(failed)?;
        let address = address(family, stamp, number).map_err(failed)?;
        bind(&socket, &address).map_err(failed)?;
        Ok(Self { socket })
    }

    /// Silences the bell until the next ring; tells whether it had been rung.
    pub fn drain(&self) -> bool {
        let mut rung = false;
        let mut byte = [0u8; 1];
        // The queue is short, but ringers may be quick: take no more than a
        // queue's worth, and stay readable if there was more.
        for _ in 0..MOST_QUEUED {
            match recv(&self.socket, &mut byte, RecvFlags::DONTWAIT) {
                Ok(_) => rung = true,
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        rung
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Rings doorbell `number` of member `stamp`; never blocks. Returns false when
/// nobody has it any more, so that the caller may forget it.
///
/// # Errors
/// When the system has no descriptor or memory left to ring with. After
/// [`prepare`] only memory can be short.
pub fn ring(family: u128, stamp: u32, number: u32) -> Result<bool> {
    let failed = |e| {
        Error::os(
            format_args!("ring doorbell {number} of member {stamp:#x}"),
            e,
        )
    };
    let address = address(family, stamp, number).map_err(failed)?;
    match send(sender().map_err(failed)?, &address) {
        // Too many rings of ours are still unheard, at this bell or at others:
        // the kernel says the same of both. Or a program that closes "all"
        // descriptors closed ours. A new socket has rung nowhere yet.
        Err(Errno::AGAIN | Errno::BADF | Errno::NOTSOCK) => {
            let fresh = open_socket().map_err(failed)?;
            // A full queue will be heard.
            match send(fresh.as_fd(), &address) {
                Err(Errno::AGAIN) => Ok(true),
                other => other.map_err(failed),
            }
        }
        other => other.map_err(failed),
    }
}

/// Opens what this process rings with, so that a later ring cannot fail for
/// lack of a descriptor. May be called any number of times.
///
/// # Errors
/// `Limit` when no descriptor is left.
pub fn prepare() -> Result<()> {
    sender()
        .map(drop)
        .map_err(|e| Error::os("open a socket to ring doorbells", e))
}

/// Rings a bell can hold unheard, at the most (net.unix.max_dgram_qlen is 10,
/// and 512 where distributions raise it).
const MOST_QUEUED: usize = 512;

/// The number of the socket that this process rings with, or -1. A forked
/// child rings with its parent's: nothing is ever received on it.
static SENDER: AtomicI32 = AtomicI32::new(-1);

/// Returns the socket to ring with; opens it on first use. It takes no lock,
/// so a fork in the middle does no harm.
fn sender() -> rustix::io::Result<BorrowedFd<'static>> {
    // Relaxed: the number itself is all that is shared.
    let mut number = SENDER.load(Ordering::Relaxed);
    if number < 0 {
        let mine = open_socket()?;
        let swap =
            SENDER.compare_exchange(-1, mine.as_raw_fd(), Ordering::Relaxed, Ordering::Relaxed);
        number = match swap {
            Ok(_) => mine.into_raw_fd(),
            Err(theirs) => theirs,
        };
    }
    // SAFETY: a number once stored belongs to a socket that is never closed.
    Ok(unsafe { BorrowedFd::borrow_raw(number) })
}

fn send(socket: BorrowedFd<'_>, address: &SocketAddrUnix) -> rustix::io::Result<bool> {
    loop {
        step();
        match sendto(
            socket,
            b"!",
            SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
            address,
        ) {
            Ok(_) => return Ok(true),
            Err(Errno::CONNREFUSED | Errno::NOENT) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
}

fn open_socket() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)
}

fn address(family: u128, stamp: u32, number: u32) -> rustix::io::Result<SocketAddrUnix> {
    let name = format!("procession-{family:032x}-{stamp:08x}-{number:08x}");
    SocketAddrUnix::new_abstract_name(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::poll;
    use crate::os::testing::{WATCHDOG, child};

    /// Tests run side by side, each in a family of its own.
    fn family(line: u32) -> u128 {
        u128::from(std::process::id()) << 64 | u128::from(line)
    }

    #[test]
    fn a_ring_from_another_process_makes_it_readable_until_drained() {
        let id = family(line!());
        let bell = Doorbell::bind(id, 1, 2).unwrap();
        assert!(!poll::is_readable(&bell).unwrap());
        assert!(!bell.drain());
        let (ringer, _release) = child(|_| i32::from(!ring(id, 1, 2).unwrap()));
        assert!(poll::wait_readable(&bell, WATCHDOG()).unwrap());
        assert!(ringer.wait(WATCHDOG()).unwrap());
        assert!(ringer.reap().unwrap().unwrap().is_success());
        assert!(bell.drain());
        assert!(!poll::is_readable(&bell).unwrap());
    }

    #[test]
    fn nobody_answers_once_the_bell_is_gone() {
        let id = family(line!());
        // In a process of its own: whatever forks beside this test would hold
        // copies of the bell.
        let (process, _release) = child(|_| {
            assert!(!ring(id, 1, 1).unwrap());
            let bell = Doorbell::bind(id, 1, 1).unwrap();
            assert!(ring(id, 1, 1).unwrap());
            assert!(!ring(id, 1, 2).unwrap());
            drop(bell);
            assert!(!ring(id, 1, 1).unwrap());
            0
        });
        assert!(process.wait(WATCHDOG()).unwrap());
        assert!(process.reap().unwrap().unwrap().is_success());
    }

    #[test]
    fn a_bell_that_nobody_drains_takes_any_number_of_rings() {
        let id = family(line!());
        let bell = Doorbell::bind(id, 1, 1).unwrap();
        for _ in 0..2_000 {
            assert!(ring(id, 1, 1).unwrap());
        }
        assert!(bell.drain());
        assert!(!poll::is_readable(&bell).unwrap());
    }

    #[test]
    fn bells_that_nobody_drains_do_not_keep_others_from_being_rung() {
        let id = family(line!());
        // More unheard rings than one sending socket may have in flight.
        let deaf: Vec<_> = (0..400)
            .map(|n| Doorbell::bind(id, 1, n).unwrap())
            .collect();
        for number in 0..400 {
            assert!(ring(id, 1, number).unwrap());
        }
        assert!(deaf.iter().all(|bell| poll::is_readable(bell).unwrap()));
    }

    #[test]
    fn a_name_is_taken_once() {
        let id = family(line!());
        let _bell = Doorbell::bind(id, 1, 1).unwrap();
        let error = Doorbell::bind(id, 1, 1).unwrap_err();
        assert_eq!(error.errno(), Some(libc::EADDRINUSE));
    }
}
