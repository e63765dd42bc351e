//! A timer that sends a signal to the thread which made it.
//!
//! A child by fork has none of its parent's timers.
//!
//! # Safety
//! The kernel gets structures that are initialised, and the number of a timer that lives for
//! as long as its owner.

#![expect(unsafe_code, reason = "timer_create, which rustix lacks")]

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::time::Duration;

use crate::denial::refused;
use crate::error::Result;

/// The signal for it: one that programs have no use for.
#[must_use]
pub fn time_is_up() -> i32 {
    libc::SIGRTMAX() - 4
}

/// Sends a signal to the thread that made it, once, when its time is up.
#[derive(Debug)]
pub struct ThreadTimer(libc::timer_t);

impl ThreadTimer {
    /// Makes a timer that is not running.
    ///
    /// # Errors
    /// When the kernel refuses (a sandbox, too many signals that wait).
    pub fn new(signal: i32) -> Result<Self> {
        // SAFETY: all zeroes is a valid value of this structure of numbers.
        let mut event: libc::sigevent = unsafe { MaybeUninit::zeroed().assume_init() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = signal;
        // SAFETY: a plain call.
        event.sigev_notify_thread_id = unsafe { libc::gettid() };
        let mut timer = MaybeUninit::uninit();
        // SAFETY: the event is initialised; there is room for the timer's number.
        let code = unsafe {
            libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, timer.as_mut_ptr())
        };
        check("timer_create", "make a timer", code)?;
        // SAFETY: filled by the call that has succeeded.
        Ok(Self(unsafe { timer.assume_init() }))
    }

    /// Starts it, or starts it anew.
    ///
    /// # Errors
    /// When the kernel refuses (a sandbox).
    pub fn start(&self, time: Duration) -> Result<()> {
        // A time of 0 would stop it.
        self.set(time.max(Duration::from_nanos(1)))
    }

    /// Stops it. A signal that was sent before may still come.
    ///
    /// # Errors
    /// When the kernel refuses (a sandbox).
    pub fn stop(&self) -> Result<()> {
        self.set(Duration::ZERO)
    }

    fn set(&self, time: Duration) -> Result<()> {
        let never = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let time = libc::itimerspec {
            it_interval: never,
            it_value: libc::timespec {
                tv_sec: time.as_secs().try_into().unwrap_or(libc::time_t::MAX),
                tv_nsec: time.subsec_nanos().into(),
            },
        };
        // SAFETY: the timer lives; the time is initialised; the time before is not wanted.
        let code = unsafe { libc::timer_settime(self.0, 0, &raw const time, ptr::null_mut()) };
        check("timer_settime", "set a timer", code)
    }
}

impl Drop for ThreadTimer {
    fn drop(&mut self) {
        // SAFETY: the timer lives. In a child by fork there is none, and this fails.
        unsafe { libc::timer_delete(self.0) };
    }
}

fn check(call: &str, what: &str, code: i32) -> Result<()> {
    match code {
        0 => Ok(()),
        _ => Err(refused(call, what, io::Error::last_os_error())),
    }
}
