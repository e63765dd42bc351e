//! Relatives for tests: forked, let go or killed, and gone afterwards.
//!
//! # Safety
//! Children run the test's closure alone and leave by `_exit` or a kill, so no
//! destructor of the test runs twice.

#![expect(unsafe_code, reason = "fork, kill and wait in tests")]
#![allow(dead_code, reason = "each test program uses some of it")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::Duration;

use procession_engine::shm::Stamp;
use procession_engine::sys::wait::time::Deadline;

/// How long a test waits before it says that something hangs.
pub fn watchdog() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

/// A forked member of the family.
pub struct Relative {
    pub stamp: Stamp,
    pid: libc::pid_t,
}

/// Forks a member that runs `work` and exits with 0, or 101 if it panics.
pub fn fork(work: impl FnOnce()) -> Relative {
    let family = procession_engine::family().unwrap();
    let stamp = family.prepare_fork().unwrap();
    // SAFETY: see the head of this file.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        let code = match catch_unwind(AssertUnwindSafe(work)) {
            Ok(()) => 0,
            Err(_) => 101,
        };
        // SAFETY: ends the copy without running the test's destructors.
        unsafe { libc::_exit(code) };
    }
    Relative { stamp, pid }
}

/// Forks a member that runs `work`, and kills it when that is done.
///
/// It is a zombie to be reclaimed by whoever first needs to.
pub fn killed_after(work: impl FnOnce()) -> Relative {
    let relative = fork(|| {
        work();
        // SAFETY: ends this process at once, with nothing cleared away.
        unsafe { libc::raise(libc::SIGKILL) };
    });
    relative.wait_for_end();
    relative
}

impl Relative {
    /// Returns the process id.
    pub fn pid(&self) -> libc::pid_t {
        self.pid
    }

    /// Blocks until the member is parked, or no longer parked, in `sync`.
    pub fn await_parked(&self, parked: bool) {
        let end = watchdog();
        let member = procession_engine::family().unwrap().member(self.stamp);
        while (member.waiting_on.load(Ordering::Relaxed) != 0) != parked {
            assert!(!end.has_passed(), "the child does not wait");
            std::thread::yield_now();
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) {
        // SAFETY: our child, which nobody has reaped.
        assert_eq!(unsafe { libc::kill(self.pid, signal) }, 0);
    }

    /// Kills the member, and leaves it a zombie.
    pub fn kill(&self) {
        self.signal(libc::SIGKILL);
        self.wait_for_end();
    }

    /// Blocks until the member has ended, and leaves it a zombie.
    pub fn wait_for_end(&self) {
        assert!(self.wait(libc::WEXITED | libc::WNOWAIT), "nothing ended");
    }

    /// Tells whether the member, which has ended, did so by a signal.
    pub fn was_killed(&self) -> bool {
        // SAFETY: all-zero is a valid siginfo.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let options = libc::WEXITED | libc::WNOWAIT;
        // SAFETY: waits for our own child, into our own siginfo.
        let done = unsafe { libc::waitid(libc::P_PID, self.pid as u32, &raw mut info, options) };
        assert_eq!(done, 0);
        // SAFETY: waitid has filled in the part that describes a child.
        let status = unsafe { info.si_status() };
        match info.si_code {
            libc::CLD_KILLED if status == libc::SIGKILL => true,
            libc::CLD_EXITED if status == 0 => false,
            code => panic!("the child failed: {code} {status}"),
        }
    }

    /// Waits until the member has stopped or ended; tells whether it has stopped.
    pub fn has_stopped(&self) -> bool {
        // SAFETY: all-zero is a valid siginfo.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let options = libc::WEXITED | libc::WSTOPPED | libc::WNOWAIT;
        // SAFETY: waits for our own child, into our own siginfo.
        let done = unsafe { libc::waitid(libc::P_PID, self.pid as u32, &raw mut info, options) };
        assert_eq!(done, 0);
        info.si_code == libc::CLD_STOPPED
    }

    /// Waits until the member has forked a process which has stopped or ended since;
    /// tells which it is, and whether it has stopped.
    pub fn stopped_child(&self) -> (libc::pid_t, bool) {
        let end = watchdog();
        let pid = self.pid;
        loop {
            assert!(!end.has_passed(), "the child's child does not stop");
            let children = format!("/proc/{pid}/task/{pid}/children");
            let children = std::fs::read_to_string(children).unwrap();
            let child = children.split_whitespace().next();
            let state = child
                .and_then(|child| std::fs::read_to_string(format!("/proc/{child}/stat")).ok())
                .and_then(|stat| stat.rsplit(')').next()?.trim().chars().next());
            match (child, state) {
                (Some(child), Some('T' | 'Z')) => {
                    return (child.parse().unwrap(), state == Some('T'));
                }
                _ => std::thread::yield_now(),
            }
        }
    }

    /// Lets a stopped member go on.
    pub fn go_on(&self) {
        // SAFETY: our own child, which is not reaped yet.
        unsafe { libc::kill(self.pid, libc::SIGCONT) };
    }

    /// Tells whether the member has ended.
    pub fn has_ended(&self) -> bool {
        self.wait(libc::WEXITED | libc::WNOWAIT | libc::WNOHANG)
    }

    fn wait(&self, options: i32) -> bool {
        // SAFETY: all-zero is a valid siginfo.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let id = self.pid as libc::id_t;
        // SAFETY: waits for our own child, into our own siginfo.
        let done = unsafe { libc::waitid(libc::P_PID, id, &raw mut info, options) };
        // SAFETY: waitid has filled in the part that describes a child.
        done == 0 && unsafe { info.si_pid() } == self.pid
    }

    /// Blocks until the member exits, and asserts that it did so with 0.
    pub fn join(self) {
        self.wait_for_end();
        let status = self.reap();
        assert_eq!(status, 0, "the child failed");
    }

    /// Kills the member if need be, and reclaims it.
    pub fn reclaim(self) {
        drop(self);
    }

    fn reap(&self) -> i32 {
        let mut status = 0;
        // SAFETY: reaps our own child.
        unsafe { libc::waitpid(self.pid, &raw mut status, 0) };
        status
    }
}

impl Drop for Relative {
    fn drop(&mut self) {
        // SAFETY: our child; if it was reaped already this finds none, as the
        // id cannot have been used again by a child of ours in the meantime.
        if self.wait(libc::WEXITED | libc::WNOWAIT | libc::WNOHANG) || !self.is_reaped() {
            self.signal(libc::SIGKILL);
            self.reap();
        }
        procession_engine::family()
            .unwrap()
            .release_member(self.stamp);
    }
}

impl Relative {
    fn is_reaped(&self) -> bool {
        // SAFETY: signal 0 only asks.
        unsafe { libc::kill(self.pid, 0) != 0 }
    }
}

/// Makes SIGUSR1 interrupt system calls of this process and do nothing else.
pub fn listen_to_signals() {
    extern "C" fn hear(_: i32) {}
    // SAFETY: all-zero is a valid sigaction: no flags, so calls are not restarted.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = hear as extern "C" fn(i32) as usize;
    // SAFETY: installs a handler that does nothing.
    let done = unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };
    assert_eq!(done, 0);
}

impl Relative {
    /// Sends SIGUSR1 until the member ends: one may come before it is parked.
    pub fn signal_until_it_ends(&self) {
        let end = watchdog();
        while !self.has_ended() {
            assert!(!end.has_passed(), "no signal ends the wait");
            self.signal(libc::SIGUSR1);
            std::thread::yield_now();
        }
    }
}
