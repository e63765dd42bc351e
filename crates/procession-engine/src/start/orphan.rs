//! What becomes of a forked spare when its server ends: it ends too, unless it
//! was claimed.
//!
//! The kernel sends a signal then. Its handler moves the cell from booting or
//! parked to gone, which wakes the spare as any change does; a spare that is
//! somebody's by then is not touched, so that no start is lost with the server.
//!
//! # Safety
//! The handler runs between any two instructions. It uses two atomics and
//! nothing else: a pointer to a cell of the never-unmapped arena, and that
//! cell's word.

#![expect(unsafe_code, reason = "a signal handler")]

use std::os::unix::process::parent_id;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::error::Result;
use crate::os::prctl;
use crate::os::signals::{self, Disposition};
use crate::start::cell::Cell;

/// The cell of this process while it is a spare.
static CELL: AtomicPtr<Cell> = AtomicPtr::new(std::ptr::null_mut());

/// Ends a parked spare when its server ends.
#[derive(Debug)]
pub(super) struct Tie {
    before: Disposition,
}

impl Tie {
    /// Ties this process, a spare in `cell`, to its parent, the server; `None`
    /// when that has ended already.
    pub(super) fn to_server(cell: &'static Cell, server: u32) -> Result<Option<Self>> {
        CELL.store(std::ptr::from_ref(cell).cast_mut(), Ordering::Release);
        // SAFETY: the handler touches atomics only; see the head of this file.
        let before = unsafe { signals::handle(signals::ORPHANED, leave) }?;
        let tie = Self { before };
        prctl::set_death_signal(Some(signals::ORPHANED))?;
        // What happened before that raised no signal.
        if parent_id() == server {
            return Ok(Some(tie));
        }
        leave(signals::ORPHANED);
        Ok(cell.word().state.is_claimed().then_some(tie))
    }

    /// Lets the process outlive the server.
    pub(super) fn cut(self) -> Result<()> {
        prctl::set_death_signal(None)?;
        self.before.restore()?;
        CELL.store(std::ptr::null_mut(), Ordering::Release);
        Ok(())
    }
}

/// Gives the cell up, unless somebody has claimed it.
extern "C" fn leave(_signal: i32) {
    let cell = CELL.load(Ordering::Acquire);
    // SAFETY: null, or a cell of the arena, which is never unmapped.
    let Some(cell) = (unsafe { cell.as_ref() }) else {
        return;
    };
    cell.leave();
}
