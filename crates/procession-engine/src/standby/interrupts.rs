//! What an interrupt (SIGINT) does to a spare: nothing until a process has claimed the spare,
//! and from then on what it does to any process.
//!
//! A handler looks at the spare's slot for that, and notes an interrupt that is meant for the
//! process. Once the process runs what it was started for, and the signal has its former
//! effect again, the interrupt is raised anew. README.md in this folder tells the races.
//!
//! # Safety
//! The handler runs between any two instructions, in any thread. It uses atomics and
//! `raise`, and nothing else: a pointer to a slot of the never-unmapped arena, that
//! slot's word, and two flags.

#![expect(unsafe_code, reason = "a signal handler")]

use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use crate::standby::slot::StandbySlot;
use procession_sys::error::Result;
use procession_sys::signals::{self, Disposition};

/// The slot of the spare that this process is, or that it is about to fork; null for
/// none, in a server.
static SLOT: AtomicPtr<StandbySlot> = AtomicPtr::new(std::ptr::null_mut());

/// Whether an interrupt has come that is meant for the process.
static NOTED: AtomicBool = AtomicBool::new(false);

/// Whether the signal does again what it did before.
static OVER: AtomicBool = AtomicBool::new(false);

/// Has interrupts pass by this process until a process has claimed it.
#[derive(Debug)]
pub(crate) struct Interrupts {
    before: Disposition,
}

impl Interrupts {
    /// Has interrupts pass by from now on, those included that were held back so far.
    ///
    /// # Errors
    /// When the kernel refuses (a sandbox).
    pub(crate) fn pass_by() -> Result<Self> {
        // SAFETY: the handler does what it may; see the head of this file.
        let before = unsafe { signals::handle_and_restart(signals::INTERRUPT, note) }?;
        Ok(Self { before })
    }

    /// Has interrupts take effect again, and raises the one that was noted.
    ///
    /// # Errors
    /// When the kernel refuses (a sandbox).
    pub(crate) fn let_come(self) -> Result<()> {
        self.before.restore()?;
        OVER.store(true, Ordering::SeqCst);
        // The handler may be at work in another thread: one of the two threads raises it.
        if NOTED.swap(false, Ordering::SeqCst) {
            signals::raise(signals::INTERRUPT);
        }
        Ok(())
    }
}

/// Sets the slot of the spare that this process is, or is about to become by a fork.
pub(crate) fn begin(slot: &'static StandbySlot) {
    OVER.store(false, Ordering::SeqCst);
    NOTED.store(false, Ordering::SeqCst);
    SLOT.store(std::ptr::from_ref(slot).cast_mut(), Ordering::SeqCst);
}

/// Notes that this process, a server, has forked the spare, or could not.
pub(crate) fn forked() {
    SLOT.store(std::ptr::null_mut(), Ordering::SeqCst);
}

/// Notes an interrupt, if a process has claimed the spare.
extern "C" fn note(_signal: i32) {
    let slot = SLOT.load(Ordering::SeqCst);
    // SAFETY: null, or a slot of the arena, which is never unmapped.
    let Some(slot) = (unsafe { slot.as_ref() }) else {
        return;
    };
    // By then the slot may be another's.
    let is_over = OVER.load(Ordering::SeqCst);
    if !is_over && !slot.word().state.is_claimed() {
        return;
    }
    NOTED.store(true, Ordering::SeqCst);
    if OVER.load(Ordering::SeqCst) && NOTED.swap(false, Ordering::SeqCst) {
        signals::raise(signals::INTERRUPT);
    }
}
