//! The first steps of a fresh image: it joins the family that started it.

use crate::arena::{Block, Family};
use crate::error::{Error, ErrorKind, Result};
use crate::os::inherited;
use crate::os::lifeline::Lifeline;
use crate::process::Payload;
use crate::start::introduction::Introduction;
use crate::start::orders::Received;

/// Says what a fresh image was started for.
#[derive(Debug)]
pub enum Joined {
    /// To do this.
    Process(Received),
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
    if introduction.lifeline.is_some()
        && let Some(read_end) = taken.next()
    {
        hold_for_life(Lifeline::hold(read_end)?);
    }
    let payload = introduction
        .payload
        .map(|(offset, len)| {
            let block = Block::claim(offset, family.me())?;
            Ok::<_, Error>(Payload::new(block, usize::try_from(len).unwrap_or(0)))
        })
        .transpose()?;
    let fds = taken.collect();
    Ok(Joined::Process(Received { payload, fds }))
}

/// Keeps a lifeline until the process ends.
pub(super) fn hold_for_life(lifeline: Lifeline) {
    std::mem::forget(lifeline);
}
