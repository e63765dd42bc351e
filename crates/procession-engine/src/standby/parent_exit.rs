//! The handler by which a forked spare ends with its server, unless it is claimed.
//!
//! When the server ends, the kernel sends the spare a signal: the death signal, or the
//! signal of a lifeline where a sandbox denies that. The handler moves the slot from booting
//! or parked to gone, which wakes the spare. A spare that is claimed by then is not touched, so
//! no start is lost with the server.
//!
//! # Safety
//! The handler runs between any two instructions. It uses two atomics and
//! nothing else: a pointer to a slot of the never-unmapped arena, and that
//! slot's word.

#![expect(unsafe_code, reason = "a signal handler")]

use std::sync::atomic::{AtomicPtr, Ordering};

use crate::standby::slot::StandbySlot;
use procession_sys::attributes::prctl;
use procession_sys::error::Result;
use procession_sys::process::lifeline::{self, Lifeline};
use procession_sys::signals::{self, Disposition};

/// The slot of this process while it is a spare.
static SLOT: AtomicPtr<StandbySlot> = AtomicPtr::new(std::ptr::null_mut());

/// Ends a parked spare when its server ends.
#[derive(Debug)]
pub(crate) struct ParentExitHandler {
    before: Disposition,
    /// The lifeline that is used where the death signal is denied.
    lifeline: Option<Box<Lifeline>>,
}

/// Prepares the server, before its first fork, so that spares can install the handler.
///
/// # Errors
/// When neither a death signal nor a lifeline is possible.
pub(crate) fn prepare() -> Result<()> {
    if prctl::set_death_signal(None).is_err() {
        drop(lifeline::read_end()?);
    }
    Ok(())
}

impl ParentExitHandler {
    /// Installs the handler in this process, a spare in `slot`; `None` when the server has
    /// ended already and the spare was not claimed.
    pub(crate) fn to_server(slot: &'static StandbySlot, server: u32) -> Result<Option<Self>> {
        SLOT.store(std::ptr::from_ref(slot).cast_mut(), Ordering::Release);
        // SAFETY: the handler touches atomics only; see the head of this file.
        let before = unsafe { signals::handle(signals::ORPHANED, leave) }?;
        let lifeline = match prctl::set_death_signal(Some(signals::ORPHANED)) {
            Ok(()) => None,
            Err(_) => Some(Box::new(Lifeline::hold_inherited_by(signals::ORPHANED)?)),
        };
        let tie = Self { before, lifeline };
        // If the server ended before that, no signal came.
        if prctl::parent().is_none_or(|parent| parent == server) {
            return Ok(Some(tie));
        }
        leave(signals::ORPHANED);
        Ok(slot.word().state.is_claimed().then_some(tie))
    }

    /// Removes the handler, so that the process outlives the server.
    pub(crate) fn cut(self) -> Result<()> {
        match self.lifeline {
            Some(lifeline) => drop(lifeline),
            None => prctl::set_death_signal(None)?,
        }
        self.before.restore()?;
        SLOT.store(std::ptr::null_mut(), Ordering::Release);
        Ok(())
    }
}

/// Moves the slot to gone, unless the spare is claimed.
extern "C" fn leave(_signal: i32) {
    let slot = SLOT.load(Ordering::Acquire);
    // SAFETY: null, or a slot of the arena, which is never unmapped.
    let Some(slot) = (unsafe { slot.as_ref() }) else {
        return;
    };
    slot.leave();
}
