//! System calls that a sandbox (seccomp, a container, an emulator) may deny.
//!
//! A call that has a fall-back uses it, at the place of the call. A call that has none
//! is tried before its first use, so that the caller's error names the call that must
//! be allowed, and nothing fails half way, in another process.

use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::denial::{is_denial, refused};
use crate::error::Result;
use crate::process::pidfd::PidFd;
use crate::random;
use crate::socket::io::{recv_exact, send_all, stream_pair};
use crate::socket::mailbox::{self, Mailbox};
use crate::wait::doorbell;
use crate::wait::time::Deadline;

/// The things that a program may be about to do for which there is no other way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Start processes and wait for their ends.
    Starts,
    /// Wait for objects of other processes and for descriptors at the same time.
    Bells,
    /// Hand descriptors to processes that run already.
    Mail,
    /// Send bytes through pipes.
    Pipes,
}

/// Tells whether the sandbox lets this process do what it is about to do; asks
/// once, and never again once the answer was yes.
///
/// # Errors
/// When a system call is denied: it names the call, and what to do. Other failures (no
/// descriptor left) are left to the calls that will meet them.
pub fn must_allow(need: Need) -> Result<()> {
    static ALLOWED: [AtomicBool; 4] = [const { AtomicBool::new(false) }; 4];
    let allowed = &ALLOWED[need as usize];
    // Relaxed: nothing else is published by it.
    if allowed.load(Ordering::Relaxed) {
        return Ok(());
    }
    match need.attempt() {
        Err(error) if is_denial(error.errno()) => Err(error.context(need.refusal())),
        Err(_) => Ok(()),
        Ok(()) => {
            allowed.store(true, Ordering::Relaxed);
            Ok(())
        }
    }
}

impl Need {
    fn refusal(self) -> &'static str {
        match self {
            Self::Starts => "no process can be started here",
            Self::Bells => "no wait for several things, and no pool, can be had here",
            Self::Mail => "no process that runs already can be handed descriptors here",
            Self::Pipes => "no pipe can be used here",
        }
    }

    fn attempt(self) -> Result<()> {
        match self {
            Self::Starts => {
                let myself = PidFd::open(std::process::id())?;
                myself.wait(Deadline::now()).map(|_| ())
            }
            Self::Bells => doorbell::attempt(random::number()?),
            Self::Mail => {
                let (family, secret) = (random::number()?, 1);
                let mailbox = Mailbox::bind(family, 0)?;
                let (read, _write) =
                    std::io::pipe().map_err(|e| refused("pipe2", "open a pipe", e))?;
                let gift = [read.as_fd()];
                mailbox::post(family, 0, secret, &gift, Deadline::now())?;
                mailbox
                    .receive(secret, gift.len(), Deadline::now())
                    .map(|_| ())
            }
            Self::Pipes => {
                let (ours, theirs) = stream_pair()?;
                send_all(&ours, &[b"?"], &mut 0, Deadline::now())?;
                recv_exact(&theirs, &mut [0], &mut 0, Deadline::now())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_here_is_said_to_be() {
        for need in [Need::Starts, Need::Bells, Need::Mail, Need::Pipes] {
            need.attempt().unwrap();
            must_allow(need).unwrap();
        }
    }
}
