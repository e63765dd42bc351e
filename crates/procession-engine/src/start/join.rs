//! The first steps of a fresh image: it joins the family that started it.

use std::time::Duration;

use crate::arena::member::BOOTED;
use crate::arena::{Block, Family};
use crate::error::{Error, ErrorKind, Result};
use crate::os::inherited;
use crate::os::lifeline::Lifeline;
use crate::os::signals;
use crate::primitive::Ordering;
use crate::process::Payload;
use crate::start::introduction::Introduction;
use crate::start::orders::Received;
use crate::start::server::Server;
use crate::start::spares::{Spare, Spares, Tie};

/// Says what a fresh image was started for.
#[derive(Debug)]
pub enum Joined {
    /// To do this.
    Process(Received),
    /// To keep spares for the family, by forking itself.
    Server(Server),
    /// To wait for orders.
    Spare(Box<Spare>),
}

/// Joins the family that an introduction names, and finds what was handed
/// over. A process that is to end with its parent does so from here on.
///
/// # Errors
/// When the parent has given the start up or ended, or no descriptor is left.
/// The process has nothing to do then.
pub fn join(introduction: &Introduction) -> Result<Joined> {
    let mut numbers = vec![introduction.family];
    numbers.extend(introduction.lifeline);
    numbers.extend(&introduction.fds);
    let mut taken = inherited::take(&numbers)?.into_iter();
    let missing = || Error::new(ErrorKind::Invalid, "the family's descriptor is missing");
    let family = Family::adopt(taken.next().ok_or_else(missing)?, introduction.stamp)?;
    let lifeline = match introduction.lifeline {
        Some(_) => taken.next().map(Lifeline::hold).transpose()?,
        None => None,
    };
    let spares = introduction.spares.map(Spares::attach).transpose()?;
    if let (Some(spares), Some(cell)) = (&spares, introduction.cell) {
        let line = lifeline
            .ok_or_else(|| Error::new(ErrorKind::Invalid, "a spare needs its user's lifeline"))?;
        let patience = introduction.patience.map(Duration::from_millis);
        let interrupts = signals::ignore_interrupts()?;
        signals::release_interrupts()?;
        let tie = Tie::ToUser(line);
        let spare = Spare::new(spares.clone(), cell, tie, interrupts, patience)?;
        return Ok(Joined::Spare(Box::new(spare)));
    }
    if let Some(lifeline) = lifeline {
        hold_for_life(lifeline);
    }
    let payload = introduction
        .payload
        .map(|(offset, len)| {
            let block = Block::claim(offset, family.me())?;
            Ok::<_, Error>(Payload::new(block, usize::try_from(len).unwrap_or(0)))
        })
        .transpose()?;
    let fds = taken.collect();
    let received = Received { payload, fds };
    Ok(match spares {
        Some(spares) => Joined::Server(Server::new(spares, received)),
        None => Joined::Process(received),
    })
}

/// Says that this process has got through its start, and does from now on what
/// it was started for. The processors it needed for that are free again, which
/// is when spares are started.
pub fn booted() {
    if let Some(family) = Family::existing() {
        let member = family.member(family.me());
        member.flags.fetch_or(BOOTED, Ordering::Relaxed);
    }
}

/// Keeps a lifeline until the process ends.
pub(super) fn hold_for_life(lifeline: Lifeline) {
    std::mem::forget(lifeline);
}
