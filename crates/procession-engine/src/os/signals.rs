//! What signals do to this process.
//!
//! # Safety
//! Actions are initialised before they are set. A handler is the promise of who
//! sets it.

#![expect(unsafe_code, reason = "sigaction, which rustix lacks")]

use std::io;
use std::mem::MaybeUninit;

use crate::error::{Error, Result};

/// Remembers what a signal did, to be put back.
#[derive(Clone, Copy)]
pub struct Disposition {
    signal: i32,
    action: libc::sigaction,
}

impl std::fmt::Debug for Disposition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disposition")
            .field("signal", &self.signal)
            .finish_non_exhaustive()
    }
}

/// Lets an interrupt from the terminal, which reaches the whole group of
/// processes, pass by this one; returns what it did before.
///
/// # Errors
/// When the kernel refuses (a sandbox).
pub fn ignore_interrupts() -> Result<Disposition> {
    replace(libc::SIGINT, libc::SIG_IGN)
}

/// Lets interrupts come that were held back since this process was started
/// ([`Spawn::hold_interrupts`](crate::os::spawn::Spawn::hold_interrupts)).
///
/// # Errors
/// Never, so far.
pub fn release_interrupts() -> Result<()> {
    unblock(libc::SIGINT)
}

/// Makes children that end wait to be reaped, even if this process was started
/// by one that ignores SIGCHLD; returns what it did before.
///
/// # Errors
/// When the kernel refuses (a sandbox).
pub fn keep_ended_children() -> Result<Disposition> {
    replace(libc::SIGCHLD, libc::SIG_DFL)
}

/// Stops a process until it is let go on; nobody can refuse it.
pub const STOP: i32 = libc::SIGSTOP;

/// Lets a stopped process go on.
pub const CONTINUE: i32 = libc::SIGCONT;

/// The signal by which a process is told that its parent has ended, where it
/// is not killed at once.
pub const ORPHANED: i32 = libc::SIGUSR2;

/// Has `handler` called when a signal comes, and lets it come; returns what it
/// did before.
///
/// # Safety
/// The handler runs between any two instructions, in any thread: it may do only
/// what signal-safety(7) allows.
///
/// # Errors
/// When the kernel refuses (a sandbox).
pub unsafe fn handle(signal: i32, handler: extern "C" fn(i32)) -> Result<Disposition> {
    let before = replace(signal, handler as libc::sighandler_t)?;
    unblock(signal)?;
    Ok(before)
}

fn unblock(signal: i32) -> Result<()> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the set is there to be initialised; it cannot fail.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: initialised just above.
    let mut set: libc::sigset_t = unsafe { set.assume_init() };
    // SAFETY: the set is initialised.
    unsafe { libc::sigaddset(&raw mut set, signal) };
    // SAFETY: the set is initialised; a null is allowed.
    let code =
        unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut()) };
    if code == 0 {
        return Ok(());
    }
    let error = io::Error::from_raw_os_error(code);
    Err(Error::os(format_args!("let signal {signal} come"), error))
}

impl Disposition {
    /// Puts it back.
    ///
    /// # Errors
    /// When the kernel refuses (a sandbox).
    pub fn restore(&self) -> Result<()> {
        // SAFETY: the action is one that was in force; a null is allowed.
        let code =
            unsafe { libc::sigaction(self.signal, &raw const self.action, std::ptr::null_mut()) };
        check(self.signal, code)
    }
}

fn replace(signal: i32, handler: libc::sighandler_t) -> Result<Disposition> {
    // SAFETY: all zeroes is a valid action: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = handler;
    let mut before = MaybeUninit::uninit();
    // SAFETY: the action is initialised; there is room for the one before.
    let code = unsafe { libc::sigaction(signal, &raw const action, before.as_mut_ptr()) };
    check(signal, code)?;
    // SAFETY: filled by the call that has succeeded.
    let action = unsafe { before.assume_init() };
    Ok(Disposition { signal, action })
}

fn check(signal: i32, code: i32) -> Result<()> {
    if code == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    Err(Error::os(
        format_args!("change what signal {signal} does"),
        error,
    ))
}
