//! A process that this one has started, and that becomes its child only when it is
//! adopted.
//!
//! A program that waits for any child (`wait`, `waitpid(-1)`), or counts SIGCHLD, must
//! not meet a process that it knows nothing of. So a *guardian* stands between such a
//! process and this one: it shares this one's memory, as the child of a vfork does,
//! starts the process, and sleeps. The guardian is a child of ours that no wait
//! reports, as it was cloned with no signal for its end. Exec would undo that, so the
//! process cannot be such a child itself.
//!
//! To adopt the process, we tell the kernel that we adopt orphans, and let the guardian
//! end: the kernel makes us the parent, as if we had started the process. A guardian
//! ends with us and with the process: it has a descriptor of each, and no other. When
//! the process ends, the guardian reaps it and writes its exit status to our memory:
//! before Linux 6.15 nobody else could tell it, and init, which would reap the process
//! otherwise, takes its time. When we end, the guardian kills the process: the process
//! itself learns of our end by a signal with a handler, which a stopped process does
//! not run.
//!
//! # Safety
//! A guardian runs on a stack of its own. While it may use the C library, whose
//! thread-local data are those of the thread that has cloned it, this thread makes
//! bare system calls only; afterwards it is the guardian that makes no others. It
//! reads nothing of ours once it has said that it has started, and writes one word, at
//! the far end of its stack.

#![expect(unsafe_code, reason = "clone(2), and bare system calls")]

use std::arch::asm;
use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd as _, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{child_subreaper, getpid, set_child_subreaper};

use crate::denial::refused;
use crate::error::{Error, ErrorKind, Result};
use crate::process::exit_status::ExitStatus;
use crate::process::pidfd::PidFd;
use crate::procfs;
use crate::signals::BlockedSignals;
use crate::wait::futex::{self, Scope};
use crate::wait::time::Deadline;
use crate::wait::wait_slices::WaitSlices;

/// Bytes of a guardian's stack: the C library's start of a process needs a few pages.
const STACK: usize = 128 << 10;

/// What `ps` and `top` call a guardian.
const NAME: &[u8; 16] = b"parked spare\0\0\0\0";

/// The attempt, for the text of errors.
const WHAT: &str = "start a process aside";

/// Keeps a process apart from this one. Dropping it leaves the process to init.
#[derive(Debug)]
pub struct Guardian {
    /// 0 once it has ended.
    guardian: libc::pid_t,
    /// The process that has cloned it: a forked copy does not own it.
    owner: u32,
    /// The guardian's stack; its first whole word tells how the process ended
    /// ([`ENDED`]).
    stack: Vec<u8>,
}

/// The bit of that word, besides the 16 of the wait status, that says that there is one.
const ENDED: u32 = 1 << 16;
/// As [`ENDED`]: the process has ended, and nobody knows how.
const UNTOLD: u32 = 1 << 17;

/// Returns where in a guardian's stack it tells how the process ended.
fn ending(stack: &[u8]) -> *const AtomicU32 {
    let start = stack.as_ptr();
    // A whole word fits, as the stack has many.
    start
        .wrapping_add(start.align_offset(align_of::<AtomicU32>()))
        .cast()
}

/// The orders of a guardian, and its answers.
struct Task<'a> {
    start: &'a mut dyn FnMut() -> u32,
    /// A descriptor of us, which it keeps: it ends when that is readable.
    owner: RawFd,
    /// Where it tells how the process ended.
    ending: *const AtomicU32,
    /// The guardian's number, as we see it.
    guardian: libc::pid_t,
    /// [`STARTED`] or why not, once it is known.
    told: AtomicU32,
}

const STARTED: u32 = 1;
/// A sandbox denies a call that it needs.
const REFUSED: u32 = 2;
/// It is in another pid namespace, where the process ids that it was given mean other
/// processes.
const ELSEWHERE: u32 = 3;

/// Calls `start` in a guardian, whose child is what that starts.
///
/// `start` runs as after a vfork: it may start a process and return its number, 0 for
/// none, and nothing else.
///
/// # Errors
/// When no descriptor or process is left, or a sandbox is in the way.
pub fn start_aside(start: &mut dyn FnMut() -> u32) -> Result<Guardian> {
    if procfs::moves_children() {
        return Err(elsewhere());
    }
    // Whether the process could be taken, later.
    child_subreaper().map_err(|e| refused("prctl", WHAT, e))?;
    let owner = PidFd::open(std::process::id())?;
    let mut stack = vec![0u8; STACK];
    let top = stack.as_mut_ptr_range().end;
    let mut task = Task {
        start,
        owner: owner.fd()?.as_raw_fd(),
        ending: ending(&stack),
        guardian: 0,
        told: AtomicU32::new(0),
    };
    // A handler in this thread would use its thread-local data, too.
    let held_back = BlockedSignals::all();
    // SAFETY: in bounds, and aligned as every stack must be.
    let top = unsafe { top.sub(top as usize % 64) };
    // SAFETY: the stack is in use until the guardian has ended, which its owner waits
    // for; the task until it has told. Until then this thread is in bare system calls,
    // and deaf.
    let guardian = unsafe {
        libc::clone(
            guard,
            top.cast(),
            libc::CLONE_VM | libc::CLONE_PARENT_SETTID,
            (&raw mut task).cast(),
            &raw mut task.guardian,
        )
    };
    if guardian < 0 {
        let error = std::io::Error::last_os_error();
        return Err(refused("clone", WHAT, error));
    }
    let mut ended = false;
    while task.told.load(Ordering::Acquire) == 0 && !ended {
        wait_while_zero(&task.told);
        // It may be killed before it has answered.
        ended = has_ended(guardian);
    }
    drop(held_back);
    let aside = Guardian {
        guardian: if ended { 0 } else { guardian },
        owner: std::process::id(),
        stack,
    };
    match task.told.load(Ordering::Acquire) {
        // A process that ends at once ends its guardian, too; it was started all the
        // same.
        STARTED => Ok(aside),
        REFUSED => Err(refused(
            "close_range",
            WHAT,
            std::io::Error::from_raw_os_error(libc::ENOSYS),
        )),
        ELSEWHERE => Err(elsewhere()),
        _ => {
            let message = format!("cannot {WHAT}: the one that was to start it was killed");
            Err(Error::new(ErrorKind::Dead, message))
        }
    }
}

fn elsewhere() -> Error {
    let message = format!("cannot {WHAT}: it would be in another pid namespace");
    Error::new(ErrorKind::Unsupported, message)
}

impl Guardian {
    /// Makes this process the parent of the other.
    ///
    /// # Errors
    /// When a sandbox is in the way; then the process is init's.
    pub fn adopt(mut self) -> Result<()> {
        self.take_over()
    }

    /// Waits for the guardian to tell how the process has ended; `None` where it cannot:
    /// it was killed, or SIGCHLD is ignored, or the process runs on at the deadline.
    #[must_use]
    pub fn outcome(&self, deadline: Deadline) -> Option<ExitStatus> {
        if self.owner != std::process::id() {
            return None;
        }
        // SAFETY: within the stack, which lives as long as this does; the guardian
        // writes it as an atomic, too.
        let word = unsafe { &*ending(&self.stack) };
        loop {
            // Before the look: the guardian wrote its answer before its end.
            let is_over = deadline.has_passed() || self.is_over();
            // Acquire pairs with the Release in `guard`.
            let told = word.load(Ordering::Acquire);
            if told & ENDED != 0 {
                let status = told & (ENDED - 1);
                return Some(ExitStatus::from_wait_status(status.cast_signed()));
            }
            if told & UNTOLD != 0 || is_over {
                return None;
            }
            let slice = WaitSlices::for_answer().end(deadline);
            futex::wait(word, 0, slice, Scope::Private);
        }
    }

    fn is_over(&self) -> bool {
        self.guardian == 0 || is_zombie(self.guardian)
    }

    fn take_over(&mut self) -> Result<()> {
        let refused = |e| refused("prctl", "adopt a process that was started aside", e);
        let _turn = Turn::take();
        let before = child_subreaper().map_err(refused)?;
        set_child_subreaper(Some(getpid())).map_err(refused)?;
        self.end();
        if before.is_none() {
            set_child_subreaper(None).map_err(refused)?;
        }
        Ok(())
    }

    fn end(&mut self) {
        let guardian = std::mem::take(&mut self.guardian);
        if guardian == 0 || self.owner != std::process::id() {
            return;
        }
        // SAFETY: it is our child until we reap it, so the number is its own.
        if unsafe { libc::kill(guardian, libc::SIGKILL) } != 0 {
            // A sandbox is in the way, or it has privileges that we have dropped: it
            // ends with us, and needs its stack until then.
            std::mem::forget(std::mem::take(&mut self.stack));
            return;
        }
        loop {
            // SAFETY: no status is asked for. It is our child until we reap it.
            let code = unsafe { libc::waitpid(guardian, ptr::null_mut(), libc::__WALL) };
            let is_interrupted =
                std::io::Error::last_os_error().raw_os_error() == Some(libc::EINTR);
            if code >= 0 || !is_interrupted {
                return;
            }
        }
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        let _turn = Turn::take();
        self.end();
    }
}

/// Which process is ending a guardian, 0 for none: while one is ended to take its
/// process over, another's would be taken over, too.
static TURN: AtomicU32 = AtomicU32::new(0);

/// Holds [`TURN`]. In a forked copy, the turn of the original means nothing.
struct Turn;

impl Turn {
    fn take() -> Self {
        let me = std::process::id();
        loop {
            let holder = TURN.load(Ordering::Relaxed);
            // Acquire pairs with the Release of the last holder.
            let taken = || TURN.compare_exchange(holder, me, Ordering::Acquire, Ordering::Relaxed);
            if holder != me && taken().is_ok() {
                return Self;
            }
            std::thread::yield_now();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        TURN.store(0, Ordering::Release);
    }
}

/// Runs the guardian; never returns.
extern "C" fn guard(task: *mut c_void) -> c_int {
    // SAFETY: the task lives until it is told.
    let task = unsafe { &mut *task.cast::<Task<'_>>() };
    const LAST: usize = u32::MAX as usize;
    // SAFETY: the name is 16 bytes, as asked for.
    unsafe {
        bare(
            libc::SYS_prctl,
            [libc::PR_SET_NAME as usize, NAME.as_ptr() as usize, 0, 0, 0],
        )
    };
    let close = |from: usize, to: usize| {
        // SAFETY: these are a guardian's own copies, which nobody uses here.
        unsafe { bare(libc::SYS_close_range, [from, to, 0, 0, 0]) }
    };
    // Nothing has this number.
    let mut told = REFUSED;
    let (owner, mut ward, mut pid) = (task.owner, -1, 0);
    let ending = task.ending;
    // SAFETY: it takes nothing.
    let me = unsafe { bare(libc::SYS_getpid, [0; 5]) };
    if me != task.guardian as isize {
        told = ELSEWHERE;
    } else if close(LAST, LAST) == 0 {
        pid = (task.start)();
        // SAFETY: it takes numbers only. A failure leaves a number that is no descriptor.
        ward = unsafe { bare(libc::SYS_pidfd_open, [pid as usize, 0, 0, 0, 0]) } as RawFd;
        // Another process may wait for the end of a file that we keep open, so all are
        // closed.
        let other = if ward < 0 { owner } else { ward };
        let (low, high) = (owner.min(other), owner.max(other));
        if low > 0 {
            close(0, low as usize - 1);
        }
        if low + 1 < high {
            close(low as usize + 1, high as usize - 1);
        }
        close(high as usize + 1, LAST);
        told = STARTED;
    }
    let word = &raw const task.told;
    task.told.store(told, Ordering::Release);
    // SAFETY: the address is one of this memory, whatever is there by now.
    unsafe { bare(libc::SYS_futex, [word as usize, WAKE, 1, 0, 0]) };
    // One without a descriptor is passed by.
    let mut list = [owner, ward].map(|fd| libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    });
    let mut ready = if told == STARTED { INTERRUPTED } else { 0 };
    while ready == INTERRUPTED {
        let list = list.as_mut_ptr() as usize;
        // SAFETY: the list has two entries. No time, and no signals, are given.
        ready = unsafe { bare(libc::SYS_ppoll, [list, 2, 0, 0, 8]) };
    }
    // A stopped process does not learn by itself that its owner has ended.
    if told == STARTED && ward >= 0 && list[0].revents != 0 {
        let signal = libc::SIGKILL as usize;
        // SAFETY: it takes numbers, and no further information.
        unsafe {
            bare(
                libc::SYS_pidfd_send_signal,
                [ward as usize, signal, 0, 0, 0],
            )
        };
    }
    if told == STARTED {
        tell_ending(pid, ending);
    }
    loop {
        // SAFETY: it ends this process, which has one thread.
        unsafe { bare(libc::SYS_exit, [0; 5]) };
    }
}

/// Reaps a guardian's process if it has ended, and tells how.
fn tell_ending(pid: u32, ending: *const AtomicU32) {
    let mut status: c_int = 0;
    let (at, options) = ((&raw mut status) as usize, libc::__WALL | libc::WNOHANG);
    let arguments = [pid as usize, at, options as usize, 0, 0];
    // SAFETY: there is room for the status.
    let reaped = unsafe { bare(libc::SYS_wait4, arguments) };
    let word = match reaped {
        0 => return,
        _ if pid != 0 && reaped == pid as isize => ENDED | status.cast_unsigned() & (ENDED - 1),
        _ => UNTOLD,
    };
    // SAFETY: the stack is in use until this process has ended.
    unsafe { (*ending).store(word, Ordering::Release) };
    const ALL: usize = c_int::MAX as usize;
    // SAFETY: the same.
    unsafe { bare(libc::SYS_futex, [ending as usize, WAKE, ALL, 0, 0]) };
}

/// The result of a bare system call that a signal has interrupted.
const INTERRUPTED: isize = -(libc::EINTR as isize);

const WAKE: usize = (libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG) as usize;
const WAIT: usize = (libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG) as usize;

/// Sleeps for as long as the word is 0, but no longer than a slice.
fn wait_while_zero(word: &AtomicU32) {
    let slice = WaitSlices::for_answer().length();
    let slice = libc::timespec {
        tv_sec: slice.as_secs().cast_signed(),
        tv_nsec: slice.subsec_nanos().into(),
    };
    let (word, slice) = (word.as_ptr() as usize, (&raw const slice) as usize);
    // SAFETY: both live through the call.
    unsafe { bare(libc::SYS_futex, [word, WAIT, 0, slice, 0]) };
}

/// Reaps a guardian if it has ended; tells whether it had.
fn has_ended(guardian: libc::pid_t) -> bool {
    let options = (libc::WNOHANG | libc::__WALL) as usize;
    // SAFETY: no status is asked for.
    let reaped = unsafe { bare(libc::SYS_wait4, [guardian as usize, 0, options, 0, 0]) };
    // A denial says nothing.
    reaped == guardian as isize || reaped == -(libc::ECHILD as isize)
}

/// Tells whether a guardian has ended, and leaves it to be reaped.
fn is_zombie(guardian: libc::pid_t) -> bool {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    // SAFETY: all zeroes is a valid one.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let number = guardian.unsigned_abs();
    // SAFETY: there is room for the answer.
    let code = unsafe { libc::waitid(libc::P_PID, number, &raw mut info, options) };
    // SAFETY: filled by the call, or zero.
    code == 0 && unsafe { info.si_pid() } == guardian
}

/// Makes a system call without the C library, which would note errors in
/// thread-local data.
///
/// # Safety
/// The call must be one that does no harm to memory.
#[cfg(target_arch = "x86_64")]
unsafe fn bare(number: libc::c_long, arguments: [usize; 5]) -> isize {
    let [a, b, c, d, e] = arguments;
    let result: isize;
    // SAFETY: the kernel changes the result, rcx and r11 only; the rest is promised.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Makes a system call without the C library, which would note errors in
/// thread-local data.
///
/// # Safety
/// The call must be one that does no harm to memory.
#[cfg(target_arch = "aarch64")]
unsafe fn bare(number: libc::c_long, arguments: [usize; 5]) -> isize {
    let [a, b, c, d, e] = arguments;
    let result: isize;
    // SAFETY: the kernel changes the result only; the rest is promised.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a as isize => result,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e,
            options(nostack),
        );
    }
    result
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd as _, OwnedFd};

    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;
    use crate::process::spawn::Spawn;
    use crate::procfs::status::ProcStatus;
    use crate::testing::{WATCHDOG, child};

    /// Starts a shell that ends once what is returned is dropped.
    fn shell() -> (PidFd, Guardian, OwnedFd) {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        // Not `<&10`: a shell may know numbers of one digit only.
        let script = format!("cat /proc/self/fd/{} >/dev/null; exit 3", read.as_raw_fd());
        let spawn = Spawn {
            program: "/bin/sh".into(),
            argv: ["sh", "-c", &script].map(Into::into).into(),
            keep: vec![read.as_fd()],
            ..Spawn::default()
        };
        let (process, aside) = spawn.start_aside().unwrap();
        (process, aside, write)
    }

    /// Tells whether `waitpid(-1)` knows of a child.
    fn has_children() -> bool {
        // SAFETY: no status is asked for.
        unsafe { libc::waitpid(-1, ptr::null_mut(), libc::WNOHANG) == 0 }
    }

    #[test]
    fn a_process_is_no_child_until_it_is_taken() {
        let (process, _release) = child(|_| {
            let (other, aside, write) = shell();
            let parent = || ProcStatus::of(other.pid()).unwrap().parent;
            assert!(!has_children());
            assert!(!other.is_dead());
            assert_ne!(parent(), std::process::id());
            aside.adopt().unwrap();
            assert_eq!(parent(), std::process::id());
            assert!(has_children());
            assert_eq!(child_subreaper().unwrap(), None);
            drop(write);
            assert!(other.wait(WATCHDOG()).unwrap());
            assert_eq!(other.reap().unwrap().unwrap().code(), 3);
            0
        });
        assert!(process.wait(WATCHDOG()).unwrap());
        assert!(process.reap().unwrap().unwrap().is_success());
    }

    #[test]
    fn a_process_that_ends_at_once_has_been_started() {
        let (process, _release) = child(|_| {
            for _ in 0..20 {
                let spawn = Spawn {
                    program: "/bin/true".into(),
                    argv: vec!["true".into()],
                    ..Spawn::default()
                };
                let (process, _aside) = spawn.start_aside().unwrap();
                assert!(process.wait(WATCHDOG()).unwrap());
            }
            0
        });
        assert!(process.wait(WATCHDOG()).unwrap());
        assert!(process.reap().unwrap().unwrap().is_success());
    }

    #[test]
    fn a_guardian_tells_how_its_process_ended_and_reaps_it() {
        let (process, _release) = child(|_| {
            for (how, code) in [("exit 3", 3), ("exit 0", 0), ("kill -9 $$", -9)] {
                let spawn = Spawn {
                    program: "/bin/sh".into(),
                    argv: ["sh", "-c", how].map(Into::into).into(),
                    ..Spawn::default()
                };
                let (process, aside) = spawn.start_aside().unwrap();
                assert!(process.wait(WATCHDOG()).unwrap());
                assert_eq!(aside.outcome(WATCHDOG()).unwrap().code(), code);
                assert_eq!(ProcStatus::of(process.pid()), None, "it was not reaped");
            }
            let (other, killed, _write) = shell();
            assert_eq!(killed.outcome(Deadline::now()), None);
            // SAFETY: a guardian of the test's own.
            assert_eq!(unsafe { libc::kill(killed.guardian, libc::SIGKILL) }, 0);
            assert_eq!(killed.outcome(WATCHDOG()), None);
            assert!(!other.is_dead());
            0
        });
        assert!(process.wait(WATCHDOG()).unwrap());
        assert!(process.reap().unwrap().unwrap().is_success());
    }

    #[test]
    fn a_stopped_process_ends_with_its_owner() {
        let (heard, tell) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (owner, _release) = child(|go| {
            let spawn = Spawn {
                program: "/bin/sh".into(),
                argv: ["sh", "-c", "kill -STOP $$; sleep 1000"]
                    .map(Into::into)
                    .into(),
                ..Spawn::default()
            };
            let (process, _aside) = spawn.start_aside().unwrap();
            while ProcStatus::of(process.pid()).unwrap().state != 'T' {
                std::thread::yield_now();
            }
            rustix::io::write(&tell, &process.pid().to_ne_bytes()).unwrap();
            go.wait()
        });
        let mut number = [0; 4];
        rustix::io::read(&heard, &mut number).unwrap();
        let stopped = PidFd::open(u32::from_ne_bytes(number)).unwrap();
        assert!(!stopped.is_dead());
        owner.send_signal(libc::SIGKILL).unwrap();
        assert!(stopped.wait(WATCHDOG()).unwrap());
        assert!(owner.wait(WATCHDOG()).unwrap());
        owner.reap().unwrap();
    }

    #[test]
    fn a_guardian_ends_with_its_owner_and_when_it_is_let_go() {
        let (heard, tell) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (process, _release) = child(|go| {
            let (_, dropped, _write) = shell();
            let gone = PidFd::open(dropped.guardian.unsigned_abs()).unwrap();
            assert!(!gone.is_dead());
            drop(dropped);
            assert!(gone.is_dead());
            let (_, kept, _write) = shell();
            rustix::io::write(&tell, &kept.guardian.to_ne_bytes()).unwrap();
            go.wait()
        });
        let mut number = [0; 4];
        rustix::io::read(&heard, &mut number).unwrap();
        let guardian = PidFd::open(i32::from_ne_bytes(number).unsigned_abs()).unwrap();
        assert!(!guardian.is_dead());
        process.send_signal(libc::SIGKILL).unwrap();
        assert!(guardian.wait(WATCHDOG()).unwrap());
        assert!(process.wait(WATCHDOG()).unwrap());
        process.reap().unwrap();
    }
}
