//! Children that are copies of this program.
//!
//! # Safety
//! This program has one thread, and its copies leave by `_exit`.

#![expect(unsafe_code, reason = "fork and _exit")]

use std::sync::atomic::Ordering;
use std::time::Duration;

use procession_engine::ErrorKind;
use procession_engine::arena::{Family, Object, ObjectKind};
use procession_engine::os::fork::{Forked as Side, fork};
use procession_engine::os::pidfd::PidFd;
use procession_engine::os::time::Deadline;
use procession_engine::process::{Child, ExitStatus, Payload, State, me};
use procession_engine::start::{Forked, Orders, PreparedFork, fork_with};

use crate::harness::{soon, tests};
use crate::role;

tests![
    a_forked_child_is_reaped_with_its_code,
    a_wait_ends_at_its_deadline,
    an_outcome_reaches_the_parent_even_from_the_killed,
    a_stop_request_is_seen,
    a_sleeper_is_blocked_and_a_worker_runs,
    a_failed_fork_leaves_nothing,
    a_copy_of_a_child_is_inert_in_a_forked_sibling,
    a_detached_child_runs_on_and_is_reaped_later,
    a_daemon_ends_with_its_killed_parent,
    a_tree_ends_together,
    somebody_elses_reaping_is_survived,
];

/// Forks a child that runs `body` and exits with what it returns.
pub fn forked(orders: &Orders<'_>, body: impl FnOnce() -> i32) -> Child {
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

fn named(name: &str) -> Orders<'_> {
    Orders {
        name: name.into(),
        ..Orders::default()
    }
}

fn a_forked_child_is_reaped_with_its_code() {
    let parent = Family::get().unwrap().me();
    let child = forked(&named("worker-7"), || {
        let me = me::current().unwrap();
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
        i32::from(!me::wait_stop(soon()).unwrap())
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
        me::publish_outcome(Payload::copy_of(b"first thought").unwrap()).unwrap();
        me::publish_outcome(Payload::copy_of(b"last words").unwrap()).unwrap();
        // SAFETY: ends this process.
        unsafe { libc::raise(libc::SIGKILL) }
    });
    assert_eq!(child.wait(soon()).unwrap().signal(), Some(libc::SIGKILL));
    let outcome = child.take_outcome().unwrap().unwrap();
    assert_eq!(&*outcome, b"last words");
    assert!(child.take_outcome().unwrap().is_none());
}

fn a_stop_request_is_seen() {
    assert!(!me::stop_requested());
    let child = forked(&named("worker"), || {
        assert!(me::wait_stop(soon()).unwrap());
        i32::from(!me::stop_requested())
    });
    child.request_stop();
    assert!(child.wait(soon()).unwrap().is_success());
}

fn a_sleeper_is_blocked_and_a_worker_runs() {
    let sleeper = forked(&named("sleeper"), || {
        i32::from(!me::wait_stop(soon()).unwrap())
    });
    while !matches!(sleeper.state().unwrap(), State::Blocked(_)) {
        std::thread::yield_now();
    }
    let family = Family::get().unwrap();
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
    let _shared = Object::create(ObjectKind::Array, 8).unwrap();
    let error = fork_with(&named("nobody"), || {
        Err(procession_engine::Error::new(ErrorKind::Limit, "no more"))
    })
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    PreparedFork::new(&named("nobody")).unwrap().cancel();
}

fn a_copy_of_a_child_is_inert_in_a_forked_sibling() {
    let first = forked(&named("first"), || {
        i32::from(!me::wait_stop(soon()).unwrap())
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
        i32::from(!me::wait_stop(soon()).unwrap())
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
        let daemon = Orders {
            daemon: true,
            ..named("daemon")
        };
        let child = forked(&daemon, || {
            role::act(procession_engine::start::Received {
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
    assert!(matches!(
        fork_with(&Orders::default(), || Ok(Side::Parent(u32::MAX))),
        Err(error) if error.kind() == ErrorKind::Dead
    ));
}
