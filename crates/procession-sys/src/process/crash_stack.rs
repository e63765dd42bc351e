//! Where a process that crashes leaves what its runtime writes of it.
//!
//! A runtime like Python's has handlers of its own for the signals of a crash: they write
//! where the program was to a descriptor, by number, and let the process die. A descriptor
//! that is kept for that could be closed by the program, and its number be another file's
//! when the process crashes. So there is none: the runtime is told a [`number`], and the
//! handlers here, which come before those of the runtime, put a memory file there when the
//! process crashes, call those of the runtime, and copy what was written into memory that
//! others share. Whatever had the number gets it back.
//!
//! # Safety
//! The handlers make system calls only, which signal-safety(7) allows or which are as plain
//! as those, and touch atomics and statics that are written before they are installed. They
//! call the handlers that were there before, as the kernel would have.

#![expect(unsafe_code, reason = "signal handlers")]

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use crate::error::{Error, Result};
use crate::limits::rlimits::{Resource, limit};

/// The signals of a crash.
const SIGNALS: [i32; 5] = [
    libc::SIGSEGV,
    libc::SIGFPE,
    libc::SIGABRT,
    libc::SIGBUS,
    libc::SIGILL,
];

/// The number is not above this: the kernel's table of descriptors is as long as the highest.
const HIGHEST: u64 = 1023;

/// In a text that is too long, what it says of the thread that has crashed begins with this.
const CRASHED_THREAD: &[u8] = b"Current thread";

/// Where the text goes: its length, and its bytes. Null when nothing is to be left.
static LENGTH: AtomicPtr<AtomicU32> = AtomicPtr::new(std::ptr::null_mut());
static BYTES: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
static CAPACITY: AtomicU32 = AtomicU32::new(0);

/// The process whose text that is, and not a forked copy.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// The number that the runtime writes to.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The handlers were installed, by this process or the one that it is a copy of.
static INSTALLED: AtomicBool = AtomicBool::new(false);

/// What the runtime does for each of the signals.
static BEFORE: RuntimeActions =
    RuntimeActions(UnsafeCell::new([MaybeUninit::uninit(); SIGNALS.len()]));

struct RuntimeActions(UnsafeCell<[MaybeUninit<libc::sigaction>; SIGNALS.len()]>);

// SAFETY: written once, by the thread that turned `INSTALLED` from false, before any
// handler that reads it is installed.
unsafe impl Sync for RuntimeActions {}

/// Shared memory for the text of one process.
#[derive(Clone, Copy, Debug)]
pub struct TextRegion {
    /// How many bytes of it there are; stored last.
    pub length: NonNull<AtomicU32>,
    /// Where they begin.
    pub bytes: NonNull<u8>,
    /// How many there may be.
    pub capacity: u32,
}

/// Tells whether the handlers are installed: then the runtime knows the number.
#[must_use]
pub fn is_installed() -> bool {
    INSTALLED.load(Ordering::SeqCst)
}

/// Returns the number that the runtime's handlers are to write to. Nothing needs to be open
/// there.
#[must_use]
pub fn number() -> i32 {
    let most = limit(Resource::OpenFiles).current.unwrap_or(u64::MAX);
    most.saturating_sub(1).clamp(3, HIGHEST) as i32
}

/// Has this process leave in `region` what its runtime writes to `number` when it crashes,
/// until [`forget`]. The runtime has installed its handlers before; if this was called before,
/// only the region changes.
///
/// # Safety
/// The region is what it says it is, for this process alone, and stays where it is until
/// `forget`.
///
/// # Errors
/// When a handler cannot be installed.
pub unsafe fn leave_in(region: TextRegion, number: i32) -> Result<()> {
    BYTES.store(region.bytes.as_ptr(), Ordering::SeqCst);
    CAPACITY.store(region.capacity, Ordering::SeqCst);
    OWNER.store(std::process::id(), Ordering::SeqCst);
    LENGTH.store(region.length.as_ptr(), Ordering::SeqCst);
    if INSTALLED.swap(true, Ordering::SeqCst) {
        return Ok(());
    }
    NUMBER.store(number.cast_unsigned(), Ordering::SeqCst);
    for (at, signal) in SIGNALS.into_iter().enumerate() {
        // SAFETY: an integer and a pointer: all zeros are valid.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: the handler for this signal, which reads it, is not installed yet.
        let before = unsafe { (*BEFORE.0.get())[at].as_mut_ptr() };
        // SAFETY: a place for an action, which zeros are.
        unsafe { before.write(action) };
        // SAFETY: both point to actions, or to none.
        let asked = unsafe { libc::sigaction(signal, std::ptr::null(), before) };
        // SAFETY: written above.
        if asked == 0 && unsafe { is_default(&*before) } {
            continue; // The runtime writes nothing for this one.
        }
        let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) = on_crash;
        action.sa_sigaction = handler as usize;
        // On the stack that runtimes have for a stack that has overflowed. The signal is
        // blocked meanwhile: a runtime raises it again when it has written.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: an action, and a null pointer.
        if unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) } != 0 {
            let error = std::io::Error::last_os_error();
            return Err(Error::os("handle a signal", error));
        }
    }
    Ok(())
}

/// Leaves nothing any more. The handlers stay.
pub fn forget() {
    LENGTH.store(std::ptr::null_mut(), Ordering::SeqCst);
}

fn is_default(action: &libc::sigaction) -> bool {
    matches!(action.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN)
}

extern "C" fn on_crash(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let errno = std::io::Error::last_os_error().raw_os_error();
    let Some(at) = SIGNALS.iter().position(|&known| known == signal) else {
        return;
    };
    // SAFETY: written before this handler was installed, and never since.
    let before = unsafe { &*BEFORE.0.get() };
    // SAFETY: the same.
    let before = unsafe { before[at].assume_init_ref() };
    let number = NUMBER.load(Ordering::SeqCst).cast_signed();
    // Without a file the runtime is not called: it might write into one of the program's.
    if let Some(file) = TextFile::at(number) {
        // SAFETY: as the kernel would have called it.
        unsafe { call(before, signal, info, context) };
        if std::process::id() == OWNER.load(Ordering::SeqCst) {
            file.copy();
        }
        file.close();
    }
    // A runtime takes its handler away, and with it this one, before it writes. Where it has
    // not, the process would crash for ever.
    if action_of(signal).is_none_or(|now| now.sa_sigaction == on_crash as *const () as usize) {
        // SAFETY: a plain call.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
        // SAFETY: a plain call; the signal is blocked until this returns.
        unsafe { libc::raise(signal) };
    }
    if let Some(errno) = errno {
        // SAFETY: a plain call.
        let place = unsafe { libc::__errno_location() };
        // SAFETY: the thread's own number.
        unsafe { *place = errno };
    }
}

/// Returns what is done for a signal.
fn action_of(signal: i32) -> Option<libc::sigaction> {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: it asks only, and writes an action.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: the kernel has written it.
    (asked == 0).then(|| unsafe { action.assume_init() })
}

/// Calls a handler.
///
/// # Safety
/// The arguments are those of a handler that was called for the signal.
unsafe fn call(
    action: &libc::sigaction,
    signal: i32,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    if is_default(action) {
        return;
    }
    if action.sa_flags & libc::SA_SIGINFO != 0 {
        type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);
        // SAFETY: the flag says that it is one of these.
        let handler: Handler = unsafe { std::mem::transmute(action.sa_sigaction) };
        handler(signal, info, context);
    } else {
        // SAFETY: and here, that it is one of those.
        let handler: extern "C" fn(i32) = unsafe { std::mem::transmute(action.sa_sigaction) };
        handler(signal);
    }
}

/// A memory file under the number that the runtime writes to, during a crash.
struct TextFile {
    file: i32,
    number: i32,
    /// What had the number; negative if nothing had.
    kept: i32,
}

impl TextFile {
    fn at(number: i32) -> Option<Self> {
        // SAFETY: a plain call; the name is a string of C.
        let file = unsafe { libc::memfd_create(c"crash".as_ptr(), libc::MFD_CLOEXEC) };
        if file < 0 {
            return None;
        }
        // SAFETY: a plain call.
        let kept = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 0) };
        let this = Self { file, number, kept };
        if put(file, number) {
            return Some(this);
        }
        // The program may have lowered its limit since.
        raise_limit();
        if put(file, number) {
            return Some(this);
        }
        close(file);
        close(kept);
        None
    }

    /// Copies what was written to where it is to be left; of what is too long, what it says of
    /// the thread that has crashed and what follows.
    fn copy(&self) {
        let length = LENGTH.load(Ordering::SeqCst);
        let bytes = BYTES.load(Ordering::SeqCst);
        let capacity = CAPACITY.load(Ordering::SeqCst) as usize;
        // SAFETY: null, or the word that `leave_in` was given, still in its place.
        let Some(length) = (unsafe { length.as_ref() }) else {
            return;
        };
        // SAFETY: a plain call on a file of this function's caller.
        let size = unsafe { libc::lseek(self.file, 0, libc::SEEK_END) };
        let start = match usize::try_from(size) {
            Ok(size) if size > capacity => self.find(CRASHED_THREAD, size).unwrap_or(0),
            _ => 0,
        };
        // SAFETY: the region has room for as many, and nobody reads it before there is a length.
        let count = unsafe { libc::pread(self.file, bytes.cast(), capacity, start as i64) };
        if let Ok(count) = u32::try_from(count) {
            // Release: a reader that sees the length sees the bytes.
            length.store(count, Ordering::Release);
        }
    }

    /// Returns where some bytes are among the first `size`.
    fn find(&self, wanted: &[u8], size: usize) -> Option<usize> {
        let (read, private) = (libc::PROT_READ, libc::MAP_PRIVATE);
        // SAFETY: a new mapping, of a file that only this thread writes to.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), size, read, private, self.file, 0) };
        if at == libc::MAP_FAILED {
            return None;
        }
        // SAFETY: the file has as many bytes; they stay mapped, as this process ends now.
        let text = unsafe { std::slice::from_raw_parts(at.cast::<u8>(), size) };
        text.windows(wanted.len())
            .position(|window| window == wanted)
    }

    /// Gives the number back to what had it.
    fn close(self) {
        if self.kept < 0 {
            close(self.number);
        } else {
            put(self.kept, self.number);
            close(self.kept);
        }
        close(self.file);
    }
}

/// Has a number be that of another descriptor's file.
fn put(file: i32, number: i32) -> bool {
    // SAFETY: what had the number was kept, and gets it back.
    unsafe { libc::dup3(file, number, libc::O_CLOEXEC) >= 0 }
}

/// Closes a descriptor that was opened here, if it is one.
fn close(fd: i32) {
    // SAFETY: nobody else knows of it.
    unsafe { libc::close(fd) };
}

/// Allows this process as many descriptors as it may have.
fn raise_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes a limit.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0 {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: a plain call.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use super::*;
    use crate::limits::rlimits::{Limit, set_limit};
    use crate::mem::mapping::Mapping;
    use crate::mem::memfd::MemFd;
    use crate::process::exit_status::ExitStatus;
    use crate::testing::{WATCHDOG, child};

    const CAPACITY_HERE: u32 = 64;

    /// As a runtime's handler does: takes itself away, writes, raises the signal again.
    extern "C" fn write_and_raise(signal: i32) {
        write_and_end(signal, 0);
    }

    /// As above, with more than there is room for.
    extern "C" fn write_much_and_raise(signal: i32) {
        write_and_end(signal, 1000);
    }

    fn write_and_end(signal: i32, more: usize) {
        // SAFETY: a plain call.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
        let others = std::iter::repeat_n(&b"Thread 1\n"[..], more + 1);
        for text in others.chain([&b"Current thread 2\n"[..]]) {
            let number = NUMBER.load(Ordering::SeqCst).cast_signed();
            // SAFETY: a plain call.
            unsafe { libc::write(number, text.as_ptr().cast(), text.len()) };
        }
        raise(signal);
    }

    fn raise(signal: i32) -> i32 {
        // SAFETY: a plain call.
        unsafe { libc::raise(signal) }
    }

    /// Returns what a child has left that has ended, and how it did.
    fn left_by(handler: extern "C" fn(i32), end: impl Fn() -> i32) -> (String, ExitStatus) {
        let file = MemFd::create(4096).unwrap();
        let mapping = Mapping::new(&file, 4096).unwrap();
        let (length, bytes) = (mapping.at(0, 4).cast(), mapping.at(4, 64));
        let (process, _release) = child(|_| {
            for signal in SIGNALS {
                // SAFETY: the handler makes plain calls.
                unsafe { libc::signal(signal, handler as *const () as usize) };
            }
            let region = TextRegion {
                length,
                bytes,
                capacity: CAPACITY_HERE,
            };
            // SAFETY: the mapping lasts as long as the process.
            unsafe { leave_in(region, number()) }.unwrap();
            end()
        });
        assert!(process.wait(WATCHDOG()).unwrap());
        let status = process.reap().unwrap().unwrap();
        // SAFETY: as above; zeros are an atomic.
        let length: u32 = unsafe { length.as_ref() }.load(Ordering::Acquire);
        // SAFETY: as above.
        let text = unsafe { std::slice::from_raw_parts(bytes.as_ptr(), length as usize) };
        (String::from_utf8(text.to_vec()).unwrap(), status)
    }

    #[test]
    fn one_that_is_sent_a_signal_leaves_what_its_runtime_writes() {
        for signal in SIGNALS {
            let (text, status) = left_by(write_and_raise, || raise(signal));
            assert_eq!(text, "Thread 1\nCurrent thread 2\n");
            assert_eq!(status.signal(), Some(signal));
        }
    }

    #[test]
    fn one_that_faults_leaves_it_too() {
        let (text, status) = left_by(write_and_raise, || {
            // SAFETY: none; it is what programs do that crash.
            unsafe { std::hint::black_box(8 as *mut u8).write_volatile(1) };
            0
        });
        assert_eq!(text, "Thread 1\nCurrent thread 2\n");
        assert_eq!(status.signal(), Some(libc::SIGSEGV));
    }

    #[test]
    fn of_much_what_tells_of_the_crashed_thread_is_left() {
        let (text, _) = left_by(write_much_and_raise, || std::process::abort());
        assert_eq!(text, "Current thread 2\n");
    }

    #[test]
    fn a_file_of_the_program_is_not_written_to() {
        let file = MemFd::create(4096).unwrap();
        let (text, _) = left_by(write_and_raise, || {
            assert!(put(file.fd().unwrap().as_raw_fd(), number()));
            raise(libc::SIGSEGV)
        });
        assert_eq!(text, "Thread 1\nCurrent thread 2\n");
        let mapping = Mapping::new(&file, 4096).unwrap();
        // SAFETY: the file was not written to, or only by a process that is gone.
        assert_eq!(unsafe { mapping.at(0, 1).as_ref() }, &0);
    }

    #[test]
    fn the_number_may_be_above_a_limit_that_came_later() {
        let (text, _) = left_by(write_and_raise, || {
            let low = Limit {
                current: Some(32),
                ..limit(Resource::OpenFiles)
            };
            set_limit(Resource::OpenFiles, low).unwrap();
            raise(libc::SIGSEGV)
        });
        assert_eq!(text, "Thread 1\nCurrent thread 2\n");
    }

    #[test]
    fn a_copy_of_the_process_leaves_nothing_in_its_place() {
        let (text, status) = left_by(write_and_raise, || {
            let (copy, _release) = child(|_| raise(libc::SIGSEGV));
            let has_ended = copy.wait(WATCHDOG()).unwrap();
            i32::from(!has_ended || copy.reap().unwrap().unwrap().signal() != Some(libc::SIGSEGV))
        });
        assert_eq!(text, "");
        assert!(status.is_success());
    }
}
