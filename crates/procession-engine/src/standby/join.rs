//! The first steps of a fresh image: it joins the family that started it.

use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::SCHEMA;
use crate::launch::boot::{hold_for_life, pid_to_end_with};
use crate::launch::bootstrap::BootstrapArgument;
use crate::launch::spec::Inherited;
use crate::process::Payload;
use crate::standby::claim::{KeeperTie, Spare, Spares, no_slot};
use crate::standby::interrupts::{self, Interrupts};
use crate::standby::server::Server;
use crate::standby::slot::StandbySlot;
use crate::trace;
use procession_shm::{Family, Stamp};
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::fd::inherited;
use procession_sys::primitive::Ordering;
use procession_sys::process::lifeline::Lifeline;

/// The purpose of a fresh image.
#[derive(Debug)]
pub enum Joined {
    /// To run what it has inherited.
    Process(Inherited),
    /// To keep spares for the family, by forking itself.
    Server(Server),
    /// To wait for a launch spec.
    Spare(Box<Spare>),
    /// None any more: it was to be a spare, which is not needed by now. It has to end.
    Unneeded,
}

/// Joins the family that the bootstrap argument names, and finds what the process inherits. A
/// daemon ends with its parent from here on.
///
/// A spare that cannot join is reported only if it is claimed: nobody waits for another, whose
/// slot goes to gone, and the start that finds none fails or succeeds by itself.
///
/// # Errors
/// When the parent has given up the start or has ended, no descriptor is left, or a sandbox
/// denies a call. Then the process has to end.
pub fn join(argument: &BootstrapArgument) -> Result<Joined> {
    match join_as_told(argument) {
        // The reservation or the object of spares has gone while the spare booted: nobody
        // can claim it.
        Err(error) if error.kind() == ErrorKind::Stale && argument.slot.is_some() => {
            Ok(Joined::Unneeded)
        }
        joined => joined,
    }
}

fn join_as_told(argument: &BootstrapArgument) -> Result<Joined> {
    let mut numbers = vec![argument.family];
    numbers.extend(argument.lifeline);
    numbers.extend(&argument.fds);
    let mut taken = inherited::take(&numbers)?.into_iter();
    let missing = || {
        Error::new(
            ErrorKind::Invalid,
            "the parent has passed on no descriptor of the family's memory",
        )
    };
    let family = Family::adopt(taken.next().ok_or_else(missing)?, argument.stamp, &SCHEMA)?;
    let spares = argument.spares.map(Spares::attach).transpose()?;
    let slot = match (&spares, argument.slot) {
        (Some(spares), Some(index)) => Some(spares.slot(index).ok_or_else(|| no_slot(index))?),
        _ => None,
    };
    match join_family(argument, family, spares, taken) {
        Err(_) if slot.is_some_and(StandbySlot::leave) => Ok(Joined::Unneeded),
        joined => joined,
    }
}

/// Takes this process's part in the family, with the descriptors that come after the family's.
fn join_family(
    argument: &BootstrapArgument,
    family: &'static Family,
    spares: Option<Spares>,
    mut taken: impl Iterator<Item = OwnedFd>,
) -> Result<Joined> {
    let lifeline = match argument.lifeline {
        // The parent by the member table, not by `getppid`, which may be a guardian.
        Some(_) => {
            let parent = Stamp::from_raw(family.member(family.me()).parent.load(Ordering::Relaxed));
            let pid = pid_to_end_with(family, parent)?;
            taken
                .next()
                .map(|end| Lifeline::hold(end, pid))
                .transpose()?
        }
        None => None,
    };
    if let (Some(spares), Some(slot)) = (&spares, argument.slot) {
        let line = lifeline.ok_or_else(|| {
            Error::new(
                ErrorKind::Invalid,
                "a spare was booted without the lifeline of the process that will use it",
            )
        })?;
        let patience = argument.patience.map(Duration::from_millis);
        let word = spares.slot(slot);
        interrupts::begin(word.ok_or_else(|| no_slot(slot))?);
        let interrupts = Interrupts::pass_by()?;
        let tie = KeeperTie::ToUser(line);
        let spare = Spare::new(spares.clone(), slot, tie, interrupts, patience)?;
        return Ok(Joined::Spare(Box::new(spare)));
    }
    if let Some(lifeline) = lifeline {
        hold_for_life(lifeline);
    }
    if family.is_traced() {
        trace::process_started(family);
    }
    let payload = argument.payload.map(Payload::claim).transpose()?;
    let fds = taken.collect();
    let received = Inherited { payload, fds };
    Ok(match spares {
        Some(spares) => Joined::Server(Server::new(spares, received)),
        None => Joined::Process(received),
    })
}
