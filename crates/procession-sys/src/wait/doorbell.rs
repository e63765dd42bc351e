//! A descriptor that any member of the family can make readable.
//!
//! A process that waits in `poll` binds a doorbell; another rings it by its name,
//! without having been given a descriptor. The name is an abstract Unix address, which
//! vanishes with its socket. The name holds the family's random id, but /proc/net/unix
//! shows it, so strangers may ring, too: a ring only ever means "look again". A member
//! rings in the network namespace in which it joined and in the one that it is in now;
//! it cannot reach a bell that was bound in another.
//!
//! # Safety
//! The socket to ring with is opened once per process, as long as the program
//! leaves it open, and never freed. One call that rustix lacks takes several
//! messages at once.

#![expect(unsafe_code, reason = "what is never freed, and recvmmsg")]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicPtr, Ordering};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, sendto, socket_with,
};

use crate::denial::refused;
use crate::error::Result;
use crate::fd::kept_fd::{KeptFd, past_streams};
use crate::steps::step;

/// Owns a doorbell: readable when it was rung since the last drain.
#[derive(Debug)]
pub struct Doorbell {
    socket: KeptFd,
}

impl Doorbell {
    /// Binds the doorbell `number` of member `stamp` of a family.
    ///
    /// A forked child inherits it, and keeps its name taken until the copy is
    /// dropped too.
    ///
    /// # Errors
    /// When the name is taken, or no descriptor is left (`Limit`).
    pub fn bind(family: u128, stamp: u32, number: u32) -> Result<Self> {
        let failed = |call, e| {
            refused(
                call,
                format_args!(
                    "open the socket by which others wake this process (doorbell {number} of member \
                 {stamp:#x} of the family)"
                ),
                e,
            )
        };
        let socket = open_socket().map_err(|e| failed("socket", e))?;
        let address = address(family, stamp, number).map_err(|e| failed("bind", e))?;
        bind(&socket, &address).map_err(|e| failed("bind", e))?;
        let socket = KeptFd::keep(socket).map_err(|e| failed("fcntl", e))?;
        Ok(Self { socket })
    }

    /// Tells whether it is still bound: the program may have closed it.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.socket.ours().is_some()
    }

    /// Silences the bell until the next ring; tells whether it had been rung.
    pub fn drain(&self) -> bool {
        // The messages of another socket are not ours to take.
        let Some(socket) = self.socket.lately_ours() else {
            return false;
        };
        let mut rung = false;
        // The queue is short, but others may ring quickly: this takes no more rings
        // than a queue holds, and the bell stays readable if there were more.
        for _ in 0..MOST_QUEUED / BATCH {
            match take(socket) {
                Ok(BATCH) => rung = true,
                Ok(0) | Err(_) => break,
                Ok(_) => return true,
            }
        }
        rung
    }
}

/// Rings taken by one call.
const BATCH: usize = 8;

/// Takes some rings that wait; returns how many there were, [`BATCH`] at most.
fn take(socket: BorrowedFd<'_>) -> std::io::Result<usize> {
    // SAFETY: pointers and integers: all zeros are valid, and stand for no room.
    let mut rings: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
    let most = BATCH as libc::c_uint;
    let (number, flags) = (socket.as_raw_fd(), libc::MSG_DONTWAIT);
    loop {
        // SAFETY: the array has so many entries, none with room for bytes.
        let count = unsafe {
            libc::recvmmsg(
                number,
                rings.as_mut_ptr(),
                most,
                flags,
                std::ptr::null_mut(),
            )
        };
        if let Ok(count) = usize::try_from(count) {
            return Ok(count);
        }
        let error = std::io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::EAGAIN) => return Ok(0),
            _ => return Err(error),
        }
    }
}

impl AsFd for Doorbell {
    /// A caller that trusts the answer of the descriptor asks
    /// [`is_up`](Doorbell::is_up) first.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.unverified()
    }
}

/// Rings doorbell `number` of member `stamp`; never blocks. Returns false when no
/// process has it any more, so that the caller may forget it.
///
/// # Errors
/// When the system has no descriptor or memory left to ring with. After
/// [`prepare`] only memory can be short.
pub fn ring(family: u128, stamp: u32, number: u32) -> Result<bool> {
    let why = |call, e| {
        refused(
            call,
            format_args!("ring doorbell {number} of member {stamp:#x}"),
            e,
        )
    };
    let failed = |e| why("sendto", e);
    let address = address(family, stamp, number).map_err(failed)?;
    match send(sender().map_err(|e| why("socket", e))?, &address) {
        // Too many of our rings are still queued, at this bell or at others: the kernel
        // reports both alike. Or the program closes descriptors just now. A new socket
        // has rung nowhere yet, and rings in the network namespace that this thread is
        // in now; the bell may be where we have moved to.
        Ok(false) | Err(Errno::AGAIN | Errno::BADF | Errno::NOTSOCK) => {
            let fresh = open_socket().map_err(|e| why("socket", e))?;
            // A full queue is readable already.
            match send(fresh.as_fd(), &address) {
                Err(Errno::AGAIN) => Ok(true),
                other => other.map_err(failed),
            }
        }
        other => other.map_err(failed),
    }
}

/// Opens the socket that this process rings with, so that a later ring cannot fail for
/// lack of a descriptor. May be called any number of times.
///
/// # Errors
/// `Limit` when no descriptor is left.
pub fn prepare() -> Result<()> {
    sender()
        .map(drop)
        .map_err(|e| refused("socket", "open a socket to ring doorbells", e))
}

/// Binds a bell of a family that no other process has, and rings it.
pub(crate) fn attempt(family: u128) -> Result<()> {
    let bell = Doorbell::bind(family, 0, 0)?;
    ring(family, 0, 0)?;
    let heard = take(bell.as_fd()).map_err(|e| refused("recvmmsg", "hear a doorbell", e))?;
    debug_assert_eq!(heard, 1);
    Ok(())
}

/// The most rings that a bell can hold queued (net.unix.max_dgram_qlen is 10, and 512
/// where distributions raise it).
const MOST_QUEUED: usize = 512;

/// The socket that this process rings with, once it has one. A forked child rings
/// with its parent's: nothing is ever received on it. A stored socket is never freed,
/// as another thread may be about to ring.
static SENDER: AtomicPtr<KeptFd> = AtomicPtr::new(std::ptr::null_mut());

/// Returns the socket to ring with; opens it on first use, and again when the
/// program has closed it. It takes no lock, so a fork in the middle does no harm.
fn sender() -> rustix::io::Result<BorrowedFd<'static>> {
    loop {
        // Acquire pairs with the Release below.
        let known = SENDER.load(Ordering::Acquire);
        // SAFETY: null, or stored below and never freed.
        if let Some(socket) = unsafe { known.as_ref() }.and_then(KeptFd::lately_ours) {
            return Ok(socket);
        }
        let fresh = Box::into_raw(Box::new(KeptFd::keep(open_socket()?)?));
        let swap = SENDER.compare_exchange(known, fresh, Ordering::AcqRel, Ordering::Relaxed);
        if swap.is_err() {
            // SAFETY: nobody else has seen it.
            drop(unsafe { Box::from_raw(fresh) });
        }
    }
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

/// Opens a socket for datagrams, of which none is waited for.
pub(crate) fn open_socket() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    past_streams(socket_with(
        AddressFamily::UNIX,
        SocketType::DGRAM,
        flags,
        None,
    )?)
}

fn address(family: u128, stamp: u32, number: u32) -> rustix::io::Result<SocketAddrUnix> {
    let name = format!("procession-{family:032x}-{stamp:08x}-{number:08x}");
    SocketAddrUnix::new_abstract_name(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{WATCHDOG, child};
    use crate::wait::poll;

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
