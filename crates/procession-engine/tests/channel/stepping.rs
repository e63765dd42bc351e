//! Killing a child after an exact number of instructions.
//!
//! # Safety
//! Only children that asked to be traced are stepped.

#![expect(unsafe_code, reason = "ptrace in tests")]

use crate::family::{self, Relative};

/// Says how far a stepped child came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stepped {
    Killed,
    Ended,
}

/// Runs `work` in a child, instruction by instruction, and kills it after
/// `count` of them, or at its end; returns how many it were. Leaves its reclaim
/// to whoever notices.
pub fn killed_after(count: u64, work: impl FnOnce()) -> (Stepped, u64, Relative) {
    killed_after_meanwhile(count, || (), work)
}

/// Does the same; runs `meanwhile` here before the child does its first step.
pub fn killed_after_meanwhile(
    count: u64,
    meanwhile: impl FnOnce(),
    work: impl FnOnce(),
) -> (Stepped, u64, Relative) {
    // Two threads that take turns do so faster on one processor.
    let spread = affinity();
    set_affinity(&one_of(&spread));
    let child = family::fork(|| {
        // SAFETY: asks to be traced by the parent; no pointers.
        let traced = unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
        assert_eq!(traced, 0);
        stop();
        work();
        stop();
    });
    assert!(libc::WIFSTOPPED(status_of(&child)), "the child began");
    meanwhile();
    let mut stepped = Stepped::Killed;
    let mut steps = 0;
    while steps < count {
        // SAFETY: our own stopped child; no pointers.
        let went = unsafe { libc::ptrace(libc::PTRACE_SINGLESTEP, child.pid(), 0, 0) };
        assert_eq!(went, 0);
        let status = status_of(&child);
        assert!(libc::WIFSTOPPED(status), "the child failed: {status:#x}");
        if libc::WSTOPSIG(status) == libc::SIGSTOP {
            stepped = Stepped::Ended;
            break;
        }
        steps += 1;
    }
    child.kill();
    set_affinity(&spread);
    (stepped, steps, child)
}

fn affinity() -> libc::cpu_set_t {
    // SAFETY: all-zero is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set lives through the call and its size is given.
    let code = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) };
    assert_eq!(code, 0);
    set
}

fn set_affinity(set: &libc::cpu_set_t) {
    // SAFETY: the set lives through the call and its size is given.
    let code = unsafe { libc::sched_setaffinity(0, size_of_val(set), set) };
    assert_eq!(code, 0);
}

fn one_of(spread: &libc::cpu_set_t) -> libc::cpu_set_t {
    // SAFETY: all-zero is the empty set.
    let mut one: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for cpu in 0..libc::CPU_SETSIZE as usize {
        // SAFETY: `cpu` is below the size of the set.
        if unsafe { libc::CPU_ISSET(cpu, spread) } {
            // SAFETY: as above.
            unsafe { libc::CPU_SET(cpu, &mut one) };
            break;
        }
    }
    one
}

fn stop() {
    // SAFETY: stops this process until its tracer goes on.
    unsafe { libc::raise(libc::SIGSTOP) };
}

fn status_of(child: &Relative) -> i32 {
    let mut status = 0;
    // SAFETY: waits for our own child, which a stop does not reap.
    let waited = unsafe { libc::waitpid(child.pid(), &raw mut status, 0) };
    assert_eq!(waited, child.pid());
    status
}
