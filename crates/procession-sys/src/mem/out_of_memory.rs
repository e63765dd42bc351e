//! The report that a process leaves behind when it dies because it was refused memory.
//!
//! A program that is refused memory aborts, as Rust does, or reads from an invalid
//! address. From outside, that is a signal like any other. So a process that dies by
//! one of these signals right after the kernel has said ENOMEM reports it in a word of
//! shared memory. The error number is the thread's last: a program that was refused
//! memory, went on without, and crashed for another reason before any other call
//! failed, is taken for one that died of it. Rust may print a backtrace before it
//! aborts, which loses the number; for an abort, the handler therefore also looks
//! whether the thread is inside `handle_alloc_error`.
//!
//! # Safety
//! The handler calls `getpid`, `sigaction` and `raise`, which signal-safety(7)
//! allows, and touches statics that are written before it is installed. In a
//! process that aborts it walks the stack, which allocates nothing; were it to
//! fault, the process would end by that.

#![expect(unsafe_code, reason = "a signal handler")]

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use crate::error::{Error, Result};

/// The signals by which programs end that cannot have memory.
const SIGNALS: [i32; 3] = [libc::SIGABRT, libc::SIGSEGV, libc::SIGBUS];

/// The address of the word; null when there is nothing to report to.
static WORD: AtomicPtr<AtomicU32> = AtomicPtr::new(std::ptr::null_mut());

/// The process that is to leave it, and not a forked copy.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// The earlier disposition of each of the signals.
static BEFORE: Before = Before(UnsafeCell::new([MaybeUninit::uninit(); SIGNALS.len()]));

struct Before(UnsafeCell<[MaybeUninit<libc::sigaction>; SIGNALS.len()]>);

// SAFETY: written once, by the thread that turned `WORD` from null, before any handler
// that reads it is installed.
unsafe impl Sync for Before {}

/// Has this process store 1 into `word` when it dies for lack of memory, until
/// [`forget`]. The first call counts.
///
/// # Safety
/// `word` is an `AtomicU32` that stays where it is until `forget`.
///
/// # Errors
/// When a handler cannot be installed.
pub unsafe fn leave_in(word: NonNull<AtomicU32>) -> Result<()> {
    let first = WORD.compare_exchange(
        std::ptr::null_mut(),
        word.as_ptr(),
        Ordering::SeqCst,
        Ordering::SeqCst,
    );
    if first.is_err() {
        return Ok(());
    }
    OWNER.store(std::process::id(), Ordering::SeqCst);
    for (at, signal) in SIGNALS.into_iter().enumerate() {
        // SAFETY: an integer and a pointer: all zeros are valid.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) = on_death;
        action.sa_sigaction = handler as usize;
        // On the stack that runtimes have for a stack that has overflowed.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: the handler for this signal, which reads it, is not installed yet.
        let before = unsafe { (*BEFORE.0.get())[at].as_mut_ptr() };
        // SAFETY: both point to actions, the second to be written.
        if unsafe { libc::sigaction(signal, &raw const action, before) } != 0 {
            let error = std::io::Error::last_os_error();
            return Err(Error::os("handle a signal", error));
        }
    }
    Ok(())
}

/// Stops reporting. The handlers stay.
pub fn forget() {
    WORD.store(std::ptr::null_mut(), Ordering::SeqCst);
}

extern "C" fn on_death(signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    let errno = std::io::Error::last_os_error().raw_os_error();
    let was_refused = errno == Some(libc::ENOMEM) || signal == libc::SIGABRT && is_in_alloc_error();
    let is_owner = std::process::id() == OWNER.load(Ordering::SeqCst);
    let word = WORD.load(Ordering::SeqCst);
    // SAFETY: null, or the word that `leave_in` was given, still in its place.
    let word = unsafe { word.as_ref() };
    if let Some(word) = word.filter(|_| was_refused && is_owner) {
        word.store(1, Ordering::SeqCst);
    }
    let Some(at) = SIGNALS.iter().position(|&known| known == signal) else {
        return;
    };
    // SAFETY: written before this handler was installed, and never since.
    let before = unsafe { (*BEFORE.0.get())[at].as_ptr() };
    // SAFETY: an action that the kernel gave us.
    unsafe { libc::sigaction(signal, before, std::ptr::null_mut()) };
    // SAFETY: the kernel passes what it knows of the signal.
    let was_sent = unsafe { (*info).si_code } <= 0;
    if was_sent {
        // Blocked until this returns. A fault comes again by itself.
        // SAFETY: a plain call.
        unsafe { libc::raise(signal) };
    }
}

/// Tells whether this thread is reporting that it was refused memory.
fn is_in_alloc_error() -> bool {
    let mut found = false;
    // SAFETY: the callback is of the right type, and gets the flag, which lives on.
    unsafe { _Unwind_Backtrace(look_at_frame, (&raw mut found).cast()) };
    found
}

extern "C" fn look_at_frame(frame: *mut libc::c_void, found: *mut libc::c_void) -> i32 {
    /// Go on, and stop, as the unwinder's ABI numbers them.
    const NO_REASON: i32 = 0;
    const END_OF_STACK: i32 = 5;
    // SAFETY: the unwinder passes a frame.
    let ip = unsafe { _Unwind_GetIP(frame) };
    // One back: a call that does not return may be a function's last instruction.
    // SAFETY: any address may be looked for.
    let function = unsafe { _Unwind_FindEnclosingFunction(ip.wrapping_sub(1) as *mut _) };
    let wanted: fn(std::alloc::Layout) -> ! = std::alloc::handle_alloc_error;
    if function as usize != wanted as usize {
        return NO_REASON;
    }
    // SAFETY: the flag that `is_in_alloc_error` has passed.
    unsafe { found.cast::<bool>().write(true) };
    END_OF_STACK
}

unsafe extern "C" {
    // The unwinder that the standard library uses, too.
    fn _Unwind_Backtrace(
        look: extern "C" fn(*mut libc::c_void, *mut libc::c_void) -> i32,
        data: *mut libc::c_void,
    ) -> i32;
    fn _Unwind_GetIP(frame: *mut libc::c_void) -> usize;
    fn _Unwind_FindEnclosingFunction(address: *mut libc::c_void) -> *mut libc::c_void;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::rlimits::{Limit, Resource, limit, set_limit};
    use crate::mem::mapping::Mapping;
    use crate::mem::memfd::MemFd;
    use crate::process::exit_status::ExitStatus;
    use crate::testing::{WATCHDOG, child};

    /// Returns what is in the word of a child that has ended, and how it did.
    fn word_after(end: impl Fn() -> i32) -> (u32, ExitStatus) {
        let file = MemFd::create(4096).unwrap();
        let word = Mapping::new(&file, 4096).unwrap().at(0, 4).cast();
        let (process, _release) = child(|_| {
            // SAFETY: the mapping lasts as long as the process.
            unsafe { leave_in(word) }.unwrap();
            end()
        });
        assert!(process.wait(WATCHDOG()).unwrap());
        let status = process.reap().unwrap().unwrap();
        // SAFETY: as above; a word of zeros is an atomic.
        (unsafe { word.as_ref() }.load(Ordering::SeqCst), status)
    }

    fn allow_little() {
        let tight = Limit {
            current: Some(64 << 20),
            ..limit(Resource::Data)
        };
        set_limit(Resource::Data, tight).unwrap();
    }

    #[test]
    fn one_that_is_refused_memory_says_so_and_aborts() {
        let (word, status) = word_after(|| {
            allow_little();
            let much = std::hint::black_box(vec![1u8; 1 << 30]);
            i32::from(much[7])
        });
        assert_eq!((word, status.signal()), (1, Some(libc::SIGABRT)));
    }

    #[test]
    fn one_whose_last_call_was_another_says_so_too() {
        let (word, status) = word_after(|| {
            // It fails for another reason.
            assert!(std::fs::metadata("/no/such/file").is_err());
            std::alloc::handle_alloc_error(std::alloc::Layout::new::<u64>())
        });
        assert_eq!((word, status.signal()), (1, Some(libc::SIGABRT)));
    }

    #[test]
    fn one_that_uses_what_it_was_refused_says_so_and_faults() {
        let (word, status) = word_after(|| {
            allow_little();
            // SAFETY: a plain call.
            let refused = std::hint::black_box(unsafe { libc::malloc(1 << 30) }.cast::<u8>());
            // SAFETY: none; it is what C programs do that do not look.
            unsafe { refused.write_volatile(1) };
            0
        });
        assert_eq!((word, status.signal()), (1, Some(libc::SIGSEGV)));
    }

    #[test]
    fn other_deaths_say_nothing() {
        let (word, status) = word_after(|| std::process::abort());
        assert_eq!((word, status.signal()), (0, Some(libc::SIGABRT)));
        let (word, _) = word_after(|| {
            allow_little();
            forget();
            let much = std::hint::black_box(vec![1u8; 1 << 30]);
            i32::from(much[7])
        });
        assert_eq!(word, 0);
    }

    #[test]
    fn a_copy_of_the_process_does_not_speak_for_it() {
        let (word, status) = word_after(|| {
            let (copy, _release) = child(|_| {
                allow_little();
                let much = std::hint::black_box(vec![1u8; 1 << 30]);
                i32::from(much[7])
            });
            i32::from(!copy.wait(WATCHDOG()).unwrap())
        });
        assert_eq!(word, 0);
        assert!(status.is_success());
    }
}
