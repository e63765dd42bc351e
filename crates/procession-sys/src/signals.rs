//! The dispositions and masks of this process's signals.
//!
//! # Safety
//! Actions and masks are initialised before they are set. The caller that sets a handler
//! promises that it is safe.

#![expect(
    unsafe_code,
    reason = "sigaction and pthread_sigmask, which rustix lacks"
)]

pub mod masked_thread;
pub mod thread_timer;

use std::io;
use std::mem::MaybeUninit;

use crate::error::{Error, Result};
use crate::procfs;

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

/// The signal of an interrupt: from the terminal it reaches the whole group of processes.
pub const INTERRUPT: i32 = libc::SIGINT;

/// Sends the calling thread a signal.
pub fn raise(signal: i32) {
    // SAFETY: a plain call, which signal-safety(7) allows in handlers.
    unsafe { libc::raise(signal) };
}

/// Tells whether a process has been sent an interrupt that it holds back
/// ([`Spawn::hold_interrupts`](crate::process::spawn::Spawn::hold_interrupts)); false where
/// /proc does not tell.
#[must_use]
pub fn holds_interrupt(pid: u32) -> bool {
    let status = procfs::path(pid, "status").and_then(|path| std::fs::read_to_string(path).ok());
    status.is_some_and(|status| {
        let mut sets = status
            .lines()
            .filter_map(|line| line.strip_prefix("ShdPnd:\t"));
        let pending = sets.find_map(|set| u64::from_str_radix(set, 16).ok());
        pending.is_some_and(|pending| pending & 1 << (INTERRUPT - 1) != 0)
    })
}

/// Makes children that end wait to be reaped, even if this process was started
/// by one that ignores SIGCHLD; returns what it did before.
///
/// # Errors
/// When the kernel refuses (a sandbox).
pub fn keep_ended_children() -> Result<Disposition> {
    replace(libc::SIGCHLD, libc::SIG_DFL)
}

/// Stops a process until it is continued; no process can refuse it.
pub const STOP: i32 = libc::SIGSTOP;

/// Continues a stopped process.
pub const CONTINUE: i32 = libc::SIGCONT;

/// The signal by which a process is told that its parent has ended, where it
/// is not killed at once.
pub const ORPHANED: i32 = libc::SIGUSR2;

/// Returns the signal by which a process is told that its lifeline has hung up: one
/// that programs have no use for, and that ends a process which does not handle it.
#[must_use]
pub fn hung_up() -> i32 {
    libc::SIGRTMAX() - 3
}

/// As [`handle`]; a system call that the signal interrupts is continued.
///
/// # Safety
/// As for [`handle`].
///
/// # Errors
/// When the kernel refuses (a sandbox).
pub unsafe fn handle_and_restart(signal: i32, handler: extern "C" fn(i32)) -> Result<Disposition> {
    let flags = libc::SA_RESTART | libc::SA_ONSTACK;
    let before = replace_with(signal, handler as libc::sighandler_t, flags)?;
    unblock(signal)?;
    Ok(before)
}

/// Has `handler` called when a signal comes, and unblocks the signal; returns the
/// disposition before.
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

/// Blocks the signals that would interrupt the calling thread, until it is dropped:
/// signals that arrive meanwhile are delivered then. A process or thread that is started
/// meanwhile inherits the mask.
///
/// Signals that report a fault are not blocked, as they cannot wait.
#[derive(Debug)]
#[must_use = "dropping it lets the signals come"]
pub struct BlockedSignals(libc::sigset_t);

impl BlockedSignals {
    /// Blocks all signals that can be blocked.
    pub fn all() -> Self {
        const FAULTS: [i32; 6] = [
            libc::SIGSEGV,
            libc::SIGBUS,
            libc::SIGFPE,
            libc::SIGILL,
            libc::SIGTRAP,
            libc::SIGABRT,
        ];
        let mut all = MaybeUninit::uninit();
        // SAFETY: the set is there to be initialised; it cannot fail.
        unsafe { libc::sigfillset(all.as_mut_ptr()) };
        // SAFETY: initialised just above.
        let mut all: libc::sigset_t = unsafe { all.assume_init() };
        for fault in FAULTS {
            // SAFETY: the set is initialised.
            unsafe { libc::sigdelset(&raw mut all, fault) };
        }
        let mut before = MaybeUninit::uninit();
        // SAFETY: the first set is initialised, the second is room for an answer. It
        // fails for wrong commands only.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, before.as_mut_ptr()) };
        // SAFETY: filled by the call above.
        Self(unsafe { before.assume_init() })
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // SAFETY: the mask is one that was in force; a null is allowed.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut())
        };
    }
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
    replace_with(signal, handler, 0)
}

fn replace_with(signal: i32, handler: libc::sighandler_t, flags: i32) -> Result<Disposition> {
    // SAFETY: all zeroes is a valid action: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
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
