//! Children that are copies of this program.
//!
//! # Safety
//! This program has one thread, and its copies leave by `_exit`.

#![expect(unsafe_code, reason = "fork and _exit")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use procession_engine::ErrorKind;
use procession_engine::launch::{Forked, LaunchSpec, PreparedFork, fork_with};
use procession_engine::process::{Child, ExitStatus, Payload, State, current};
use procession_engine::shm::{ObjectKind, SharedObject};
use procession_engine::sys::process::fork::{Forked as Side, fork};
use procession_engine::sys::process::pidfd::PidFd;
use procession_engine::sys::wait::time::Deadline;

use crate::harness::{soon, tests};
use crate::role;

tests![
    a_forked_child_is_reaped_with_its_code,
    a_wait_ends_at_its_deadline,
    an_outcome_reaches_the_parent_even_from_the_killed,
    a_stop_request_is_seen,
    a_sleeper_is_blocked_and_a_worker_runs,
    a_failed_fork_leaves_nothing,
    a_child_that_was_lost_on_its_way_is_ended_and_not_buried_alive,
    a_copy_of_a_child_is_inert_in_a_forked_sibling,
    a_detached_child_runs_on_and_is_reaped_later,
    a_daemon_ends_with_its_killed_parent,
    a_tree_ends_together,
    somebody_elses_reaping_is_survived,
];

/// Forks a child that runs `body` and exits with what it returns.
pub fn forked(orders: &LaunchSpec<'_>, body: impl FnOnce() -> i32) -> Child {
    // SAFETY: this program has one thread.
    match fork_with(orders, || unsafe { fork() }).unwrap() {
        Forked::Parent(child) => child,
        Forked::Child => {
            let code = body();
            // SAFETY: ends the copy without running the program's own ends.
            unsafe { libc::_exit(code) }
        }
    }
}

fn named(name: &str) -> LaunchSpec<'_> {
    LaunchSpec {
        name: name.into(),
        ..LaunchSpec::default()
    }
}

fn a_forked_child_is_reaped_with_its_code() {
    let parent = procession_engine::family().unwrap().me();
    let child = forked(&named("worker-7"), || {
        let me = current::current().unwrap();
        let known = me.parent.unwrap().stamp == parent && !me.is_daemon;
        if me.name == "worker-7" && known {
            42
        } else {
            1
        }
    });
    assert_eq!(child.wait(soon()).unwrap().code(), 42);
    assert_eq!(child.try_wait().unwrap().unwrap().code(), 42);
    assert_eq!(
        child.state().unwrap(),
        State::Terminated(ExitStatus::from_code(42))
    );
    assert!(!child.kill().unwrap());
}

fn a_wait_ends_at_its_deadline() {
    let child = forked(&named("sleeper"), || {
        i32::from(!current::wait_stop(soon()).unwrap())
    });
    let error = child
        .wait(Deadline::after(Duration::from_millis(2)))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(child.try_wait().unwrap(), None);
    assert!(child.terminate().unwrap());
    assert_eq!(child.wait(soon()).unwrap().signal(), Some(libc::SIGTERM));
}

fn an_outcome_reaches_the_parent_even_from_the_killed() {
    let child = forked(&named("worker"), || {
        current::publish_outcome(Payload::copy_of(b"first thought").unwrap()).unwrap();
        current::publish_outcome(Payload::copy_of(b"last words").unwrap()).unwrap();
        // SAFETY: ends this process.
        unsafe { libc::raise(libc::SIGKILL) }
    });
    assert_eq!(child.wait(soon()).unwrap().signal(), Some(libc::SIGKILL));
    let outcome = child.take_outcome().unwrap().unwrap();
    assert_eq!(&*outcome, b"last words");
    assert!(child.take_outcome().unwrap().is_none());
}

fn a_stop_request_is_seen() {
    assert!(!current::stop_requested());
    let child = forked(&named("worker"), || {
        assert!(current::wait_stop(soon()).unwrap());
        i32::from(!current::stop_requested())
    });
    child.request_stop();
    assert!(child.wait(soon()).unwrap().is_success());
}

fn a_sleeper_is_blocked_and_a_worker_runs() {
    let sleeper = forked(&named("sleeper"), || {
        i32::from(!current::wait_stop(soon()).unwrap())
    });
    while !matches!(sleeper.state().unwrap(), State::Blocked(_)) {
        std::thread::yield_now();
    }
    let family = procession_engine::family().unwrap();
    let waiting_on = (ObjectKind::Lock as u64) << 56 | 12;
    let member = family.member(sleeper.stamp());
    member.waiting_on.store(waiting_on, Ordering::Relaxed);
    assert_eq!(sleeper.state().unwrap(), State::Blocked("lock #12".into()));
    sleeper.request_stop();
    sleeper.wait(soon()).unwrap();

    let busy = forked(&named("busy"), || {
        loop {
            std::hint::spin_loop();
        }
    });
    assert_eq!(busy.state().unwrap(), State::Running);
    busy.kill().unwrap();
    busy.wait(soon()).unwrap();
}

fn a_failed_fork_leaves_nothing() {
    let _shared =
        SharedObject::<[AtomicU64; 1]>::create(procession_engine::family().unwrap(), 0).unwrap();
    let error = fork_with(&named("nobody"), || {
        Err(procession_engine::Error::new(ErrorKind::Limit, "no more"))
    })
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    PreparedFork::new(&named("nobody")).unwrap().cancel();
}

fn a_child_that_was_lost_on_its_way_is_ended_and_not_buried_alive() {
    let mut lost = 0;
    // SAFETY: this program has one thread.
    let forked = fork_with(&named("lost"), || match unsafe { fork() }? {
        Side::Parent(pid) => {
            lost = pid;
            // Before and after the child has joined, as it happens to be.
            Err(procession_engine::Error::new(ErrorKind::Limit, "lost"))
        }
        side @ Side::Child => Ok(side),
    });
    match forked {
        Ok(_) => {
            // Neither killed nor refused: the test fails by its own wait.
            let _ = current::wait_stop(Deadline::NEVER);
            unreachable!("nobody asks it to stop");
        }
        Err(_) if lost == 0 => {
            // In the child, which finds its place gone.
            // SAFETY: ends the copy without running the program's own ends.
            unsafe { libc::_exit(0) }
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::Limit),
    }
    // It was reaped, or ends by itself.
    // SAFETY: a null status is allowed.
    unsafe { libc::waitpid(lost.cast_signed(), std::ptr::null_mut(), 0) };
    assert_eq!(PidFd::open(lost).unwrap_err().kind(), ErrorKind::Dead);
}

fn a_copy_of_a_child_is_inert_in_a_forked_sibling() {
    let first = forked(&named("first"), || {
        i32::from(!current::wait_stop(soon()).unwrap())
    });
    let second = forked(&named("second"), || {
        let refused = first.try_wait().unwrap_err().kind() == ErrorKind::NotOwner
            && first.wait(soon()).unwrap_err().kind() == ErrorKind::NotOwner
            && !first.is_ours();
        i32::from(!refused)
    });
    assert!(second.wait(soon()).unwrap().is_success());
    assert_eq!(first.try_wait().unwrap(), None);
    first.request_stop();
    assert!(first.wait(soon()).unwrap().is_success());
}

fn a_detached_child_runs_on_and_is_reaped_later() {
    let child = forked(&named("detached"), || {
        i32::from(!current::wait_stop(soon()).unwrap())
    });
    let watch = PidFd::open(child.pid()).unwrap();
    child.request_stop();
    drop(child);
    assert!(watch.wait(soon()).unwrap());
    // Any later start finds it.
    let next = forked(&named("next"), || 0);
    assert!(next.wait(soon()).unwrap().is_success());
}

fn a_daemon_ends_with_its_killed_parent() {
    let (read, write) = std::io::pipe().unwrap();
    let parent = forked(&named("parent"), || {
        let daemon = LaunchSpec {
            daemon: true,
            ..named("daemon")
        };
        let child = forked(&daemon, || {
            role::act(procession_engine::launch::Inherited {
                payload: role::payload("spin"),
                fds: vec![write.try_clone().unwrap().into()],
            })
        });
        child.wait(soon()).unwrap();
        1
    });
    drop(write);
    let mut pid = [0; 4];
    std::io::Read::read_exact(&mut &read, &mut pid).unwrap();
    let daemon = PidFd::open(u32::from_ne_bytes(pid)).unwrap();
    assert!(!daemon.is_dead());
    parent.kill().unwrap();
    assert!(daemon.wait(soon()).unwrap());
    parent.wait(soon()).unwrap();
}

fn a_tree_ends_together() {
    for number in [libc::SIGTERM, libc::SIGKILL] {
        let (read, write) = std::io::pipe().unwrap();
        // A child, its child, and a program that this one runs.
        let root = forked(&named("root"), || {
            let child = forked(&named("child"), || {
                let mut program = std::process::Command::new("sleep")
                    .arg("600")
                    .spawn()
                    .unwrap();
                let pids = [std::process::id(), program.id()];
                let bytes: Vec<u8> = pids.iter().flat_map(|pid| pid.to_ne_bytes()).collect();
                std::io::Write::write_all(&mut &write, &bytes).unwrap();
                program.wait().unwrap();
                1
            });
            child.wait(soon()).unwrap();
            1
        });
        drop(write);
        let mut bytes = [0; 8];
        std::io::Read::read_exact(&mut &read, &mut bytes).unwrap();
        let others: Vec<_> = bytes
            .chunks_exact(4)
            .map(|pid| PidFd::open(u32::from_ne_bytes(pid.try_into().unwrap())).unwrap())
            .collect();
        assert!(root.signal_tree(number).unwrap());
        assert_eq!(root.wait(soon()).unwrap().code(), -number);
        for other in &others {
            assert!(other.wait(soon()).unwrap());
        }
        assert!(!root.kill_tree().unwrap());
    }
}

fn somebody_elses_reaping_is_survived() {
    let child = forked(&named("stolen"), || 7);
    // SAFETY: a null status is allowed.
    let pid = unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) };
    assert_eq!(pid.unsigned_abs(), child.pid());
    // 7 where the kernel still tells, else what CPython says.
    let code = child.wait(soon()).unwrap().code();
    assert!(code == 7 || code == 255, "{code}");
    // One that was reaped before it could be opened has ended, too.
    let forked = fork_with(&LaunchSpec::default(), || Ok(Side::Parent(u32::MAX)));
    let Ok(Forked::Parent(child)) = forked else {
        panic!("a start fails because its process is gone already");
    };
    assert_eq!(child.wait(soon()).unwrap().code(), 255);
    assert!(!child.kill().unwrap());
}
