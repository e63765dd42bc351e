//! Children that a server has forked.

use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use procession_engine::launch::LaunchSpec;
use procession_engine::process::{Child, Payload, current};
use procession_engine::shm::Loans;
use procession_engine::standby::ForkServer;
use procession_engine::sync::Lock;
use procession_engine::sys::process::pidfd::PidFd;
use procession_engine::sys::procfs::status::ProcStatus;
use procession_engine::sys::wait::time::Deadline;
use procession_engine::{ErrorKind, Result};
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

use crate::fork::forked;
use crate::harness::{AT_FIRST, soon, tests};
use crate::role::payload;
use crate::spawn::{get_descriptors_in_order, outcome, program, told};

tests![
    a_served_child_is_ours_and_its_exit_arrives,
    a_served_child_gets_descriptors_in_order,
    a_served_child_has_no_descriptor_that_is_not_its_own,
    bursts_are_served_and_leave_nothing,
    a_killed_spare_is_replaced,
    what_a_spare_is_given_after_its_end_is_given_back,
    a_stopped_server_holds_no_join_back,
    a_killed_server_is_replaced_and_its_children_live_on,
    no_start_is_lost_with_a_killed_server,
    a_child_that_comes_after_its_servers_end_touches_no_other_servers_spares,
    a_server_that_ends_at_once_is_an_error,
    a_server_with_threads_does_not_fork,
    a_spare_that_cannot_be_watched_is_not_to_be_had,
    who_claimed_a_spare_that_cannot_be_watched_hears_of_its_end,
    a_served_daemon_ends_with_its_killed_parent,
    relatives_share_a_server,
    a_server_ends_with_who_started_it,
    a_dropped_claim_is_no_process,
    an_ended_child_has_its_pid_until_its_parent_has_seen_the_end,
    parents_that_never_look_do_not_use_up_the_pids,
    ended_children_of_a_killed_parent_are_reaped,
];

fn nothing() -> Result<LaunchSpec<'static>> {
    Ok(LaunchSpec {
        name: "server".into(),
        ..LaunchSpec::default()
    })
}

pub fn start(server: &mut ForkServer, orders: LaunchSpec<'_>) -> Child {
    server.start(&program(), nothing, orders).unwrap()
}

fn ended(child: &Child) -> i32 {
    child.wait(soon()).unwrap().code()
}

fn a_served_child_is_ours_and_its_exit_arrives() {
    let mut server = ForkServer::new();
    for code in 0..5 {
        let child = start(&mut server, told(&format!("exit {code}")));
        assert_eq!(ended(&child), code);
    }
    let child = start(&mut server, told("report me"));
    let text = outcome(&child);
    assert!(text.contains("name: \"told\""), "{text}");
    let me = format!("pid: Some({})", std::process::id());
    assert!(text.contains(&me), "{text}");
    let child = start(&mut server, told("stop"));
    child.request_stop();
    assert_eq!(ended(&child), 0);
    let child = start(&mut server, told("stop"));
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    assert_eq!(ended(&child), -9);
}

fn a_served_child_gets_descriptors_in_order() {
    let mut server = ForkServer::new();
    let mut daemons = [false, true].into_iter();
    get_descriptors_in_order(2, |spec| {
        let daemon = daemons.next().unwrap();
        start(&mut server, LaunchSpec { daemon, ..spec })
    });
}

fn a_served_child_has_no_descriptor_that_is_not_its_own() {
    let mut server = ForkServer::new();
    let (_read, _write) = std::io::pipe().unwrap();
    let _others: Vec<_> = (0..4)
        .map(|_| start(&mut server, told("stop")))
        .inspect(Child::request_stop)
        .collect();
    let text = outcome(&start(&mut server, told("report descriptors")));
    let own: Vec<_> = text
        .lines()
        .filter(|fd| !AT_FIRST.get().unwrap().iter().any(|known| known == fd))
        .collect();
    let what = "not only memory, lifeline, and what it rings by";
    assert_eq!(own.len(), 3, "{what}: {text}");
    assert!(text.contains("socket:"), "{what}: {text}");
    for child in _others {
        assert_eq!(ended(&child), 0);
    }
}

fn bursts_are_served_and_leave_nothing() {
    let mut server = ForkServer::new();
    for _ in 0..50 {
        let children: Vec<_> = (0..10)
            .map(|code| start(&mut server, told(&format!("exit {code}"))))
            .collect();
        for (code, child) in children.iter().enumerate() {
            assert_eq!(ended(child), code as i32);
        }
    }
}

/// Returns the pids of the members called `spare`.
fn spares() -> Vec<u32> {
    let mut pids = Vec::new();
    procession_engine::family()
        .unwrap()
        .for_each_member(|_, member| {
            let pid = member.pid();
            if member.name() == "spare" && pid != 0 {
                pids.push(pid);
            }
        });
    pids
}

fn a_killed_spare_is_replaced() {
    let mut server = ForkServer::new();
    assert_eq!(ended(&start(&mut server, told("exit 0"))), 0);
    let killed: Vec<_> = spares()
        .into_iter()
        .filter_map(|pid| PidFd::open(pid).ok())
        .inspect(|spare| drop(spare.send_signal(libc::SIGKILL)))
        .collect();
    for spare in &killed {
        assert!(spare.wait(soon()).unwrap());
    }
    for code in 0..5 {
        let child = start(&mut server, told(&format!("exit {code}")));
        assert_eq!(ended(&child), code);
    }
}

fn what_a_spare_is_given_after_its_end_is_given_back() {
    let mut server = ForkServer::new();
    server.ensure(&program(), nothing).unwrap();
    let family = procession_engine::family().unwrap();
    let claim = server.claim(true, soon()).unwrap();
    for pid in spares() {
        let Ok(spare) = PidFd::open(pid) else {
            continue;
        };
        spare.send_signal(libc::SIGKILL).unwrap();
        assert!(spare.wait(soon()).unwrap());
    }
    // Before the claim is used, anybody may find the claimed one dead.
    family.reclaim_all();
    let before = family.usage();
    let lock = Lock::create().unwrap();
    let mut loans = Loans::default();
    lock.lend(&mut loans);
    drop(lock);
    let block = loans.into_message(family, &[b"exit 0"], 6).unwrap();
    let mut orders = LaunchSpec {
        payload: Some(Payload::new(block, 6)),
        ..nothing().unwrap()
    };
    let child = claim.hand_over(&mut orders).unwrap();
    let after = family.usage();
    assert_eq!(
        (after.blocks, after.objects),
        (before.blocks, before.objects)
    );
    assert_eq!(ended(&child), -9);
}

fn a_stopped_server_holds_no_join_back() {
    let mut server = ForkServer::new();
    let child = start(&mut server, told("stop"));
    let other = start(&mut server, told("stop"));
    let process = PidFd::open(server.pid().unwrap()).unwrap();
    process.send_signal(libc::SIGSTOP).unwrap();
    child.request_stop();
    assert_eq!(ended(&child), 0);
    other.kill().unwrap();
    assert_eq!(ended(&other), -9);
    // Its place in the table is given back before the server has reaped it.
    drop((child, other));
    process.send_signal(libc::SIGCONT).unwrap();
    for code in 0..5 {
        let child = start(&mut server, told(&format!("exit {code}")));
        assert_eq!(ended(&child), code);
    }
}

fn a_killed_server_is_replaced_and_its_children_live_on() {
    let mut server = ForkServer::new();
    let child = start(&mut server, told("stop"));
    let before = PidFd::open(server.pid().unwrap()).unwrap();
    before.send_signal(libc::SIGKILL).unwrap();
    assert!(before.wait(soon()).unwrap());
    let next = start(&mut server, told("exit 5"));
    assert_eq!(ended(&next), 5);
    assert_ne!(server.pid().unwrap(), before.pid());
    assert!(child.try_wait().unwrap().is_none());
    child.request_stop();
    // Once init has reaped it, only newer kernels tell; 255 is unknown.
    assert!([0, 255].contains(&ended(&child)));
}

fn no_start_is_lost_with_a_killed_server() {
    let mut server = ForkServer::new();
    for code in 0..20 {
        server.ensure(&program(), nothing).unwrap();
        let before = PidFd::open(server.pid().unwrap()).unwrap();
        let first = start(&mut server, told("stop"));
        before.send_signal(libc::SIGKILL).unwrap();
        let second = start(&mut server, told(&format!("exit {code}")));
        assert!([code, 255].contains(&ended(&second)));
        first.request_stop();
        assert!([0, 255].contains(&ended(&first)));
        assert!(before.wait(soon()).unwrap());
    }
}

fn a_child_that_comes_after_its_servers_end_touches_no_other_servers_spares() {
    let mut killed = ForkServer::new();
    let halting = || {
        Ok(LaunchSpec {
            payload: payload("halt"),
            ..nothing()?
        })
    };
    killed.ensure(&program(), halting).unwrap();
    while children(&killed).is_empty() {
        std::thread::yield_now();
    }
    // So that it has no more of them.
    let process = PidFd::open(killed.pid().unwrap()).unwrap();
    process.send_signal(libc::SIGSTOP).unwrap();
    let is_stopped = |pid: &u32| ProcStatus::of(*pid).is_some_and(|status| status.state == 'T');
    while !is_stopped(&process.pid()) || !children(&killed).iter().all(is_stopped) {
        std::thread::yield_now();
    }
    let late: Vec<PidFd> = children(&killed)
        .into_iter()
        .map(|pid| PidFd::open(pid).unwrap())
        .collect();
    process.send_signal(libc::SIGKILL).unwrap();
    assert!(process.wait(soon()).unwrap());
    drop(killed);
    // Most likely the memory of its table is the same.
    let mut server = ForkServer::new();
    assert_eq!(ended(&start(&mut server, told("exit 3"))), 3);
    for child in &late {
        child.send_signal(libc::SIGCONT).unwrap();
        assert!(child.wait(soon()).unwrap());
    }
    for code in 0..20 {
        let child = start(&mut server, told(&format!("exit {code}")));
        assert_eq!(ended(&child), code);
    }
}

fn a_server_that_ends_at_once_is_an_error() {
    let mut server = ForkServer::new();
    let exits = || {
        Ok(LaunchSpec {
            payload: payload("exit"),
            ..LaunchSpec::default()
        })
    };
    let error = server.start(&program(), exits, told("exit 0")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Dead);
    assert!(error.to_string().contains("exited with code 4"), "{error}");
}

fn a_server_with_threads_does_not_fork() {
    let mut server = ForkServer::new();
    let threads = || {
        Ok(LaunchSpec {
            payload: payload("threads"),
            ..LaunchSpec::default()
        })
    };
    let error = server
        .start(&program(), threads, told("exit 0"))
        .unwrap_err();
    assert!(error.to_string().contains("2 threads"), "{error}");
}

/// Lets a server fork one spare, and go on without descriptors once `meanwhile` was
/// called; gives it some again when it has said that it can fork no more. Returns the
/// spare's pid, too.
fn with_an_unwatched_spare<T>(
    server: &mut ForkServer,
    meanwhile: impl FnOnce(&ForkServer) -> T,
) -> (T, u32) {
    let stops = || {
        Ok(LaunchSpec {
            payload: payload("stop"),
            ..LaunchSpec::default()
        })
    };
    server.ensure(&program(), stops).unwrap();
    let pid = Pid::from_raw(server.pid().unwrap() as i32).unwrap();
    stopped(pid);
    let value = meanwhile(server);
    let spare = PidFd::open(children(server)[0]).unwrap();
    let allowed = getrlimit(Resource::Nofile);
    let none = Rlimit {
        current: Some(0),
        ..allowed
    };
    prlimit(Some(pid), Resource::Nofile, none).unwrap();
    kill_process(pid, Signal::CONT).unwrap();
    assert!(spare.wait(soon()).unwrap());
    let error = server.claim(true, soon()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
    // A spare has the limit of the moment in which it was forked. So the server stops
    // between two forks, and those that it has are given what it is given.
    kill_process(pid, Signal::STOP).unwrap();
    stopped(pid);
    prlimit(Some(pid), Resource::Nofile, allowed).unwrap();
    for child in children(server) {
        let child = Pid::from_raw(child as i32).unwrap();
        match prlimit(Some(child), Resource::Nofile, allowed) {
            Ok(_) | Err(Errno::SRCH) => {}
            Err(error) => panic!("{error}"),
        }
    }
    kill_process(pid, Signal::CONT).unwrap();
    (value, spare.pid())
}

/// Returns when that process is stopped. It is no child of ours, so no event tells.
fn stopped(pid: Pid) {
    let pid = pid.as_raw_nonzero().get() as u32;
    while ProcStatus::of(pid).unwrap().state != 'T' {
        std::thread::yield_now();
    }
}

fn a_spare_that_cannot_be_watched_is_not_to_be_had() {
    let mut server = ForkServer::new();
    let ((), spare) = with_an_unwatched_spare(&mut server, |_| ());
    assert!(!spares().contains(&spare));
    assert_eq!(ended(&start(&mut server, told("exit 3"))), 3);
}

fn who_claimed_a_spare_that_cannot_be_watched_hears_of_its_end() {
    let mut server = ForkServer::new();
    let (claim, spare) =
        with_an_unwatched_spare(&mut server, |server| server.claim(true, soon()).unwrap());
    assert!(spares().contains(&spare), "its place is free for another");
    let child = claim.hand_over(&mut told("exit 3")).unwrap();
    assert_eq!(ended(&child), -9);
    assert_eq!(ended(&start(&mut server, told("exit 3"))), 3);
}

fn a_served_daemon_ends_with_its_killed_parent() {
    let mut server = ForkServer::new();
    assert_eq!(ended(&start(&mut server, told("exit 0"))), 0);
    let (mut read, write) = std::io::pipe().unwrap();
    let parent = forked(&LaunchSpec::default(), || {
        let orders = LaunchSpec {
            daemon: true,
            fds: vec![write.as_fd()],
            ..told("spin")
        };
        start(&mut server, orders).wait(soon()).unwrap();
        1
    });
    drop(write);
    let mut pid = [0; 4];
    read.read_exact(&mut pid).unwrap();
    let daemon = PidFd::open(u32::from_ne_bytes(pid)).unwrap();
    let killed = Instant::now();
    parent.kill().unwrap();
    assert!(
        daemon
            .wait(Deadline::after(Duration::from_secs(1)))
            .unwrap()
    );
    assert!(killed.elapsed() < Duration::from_secs(1));
    parent.wait(soon()).unwrap();
    // The server lives, and clears away after it.
    while PidFd::open(daemon.pid()).is_ok() {
        std::thread::yield_now();
    }
}

fn relatives_share_a_server() {
    let mut server = ForkServer::new();
    assert_eq!(ended(&start(&mut server, told("exit 0"))), 0);
    let handle = server.handle().unwrap();
    let relative = forked(&LaunchSpec::default(), || {
        let mut shared = ForkServer::attach(handle).unwrap();
        let same = shared.pid() == server.pid();
        let child = start(&mut shared, told("exit 6"));
        let code = ended(&child);
        drop(child);
        if same { code } else { 1 }
    });
    assert_eq!(ended(&relative), 6);
    server.stop().unwrap();
    let error = ForkServer::attach(handle).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Stale | ErrorKind::Dead));
}

fn a_server_ends_with_who_started_it() {
    let (mut read, write) = std::io::pipe().unwrap();
    let parent = forked(&LaunchSpec::default(), || {
        let mut server = ForkServer::new();
        assert_eq!(ended(&start(&mut server, told("exit 0"))), 0);
        let pids: Vec<_> = spares().into_iter().chain(server.pid()).collect();
        for pid in pids {
            std::io::Write::write_all(&mut &write, &pid.to_ne_bytes()).unwrap();
        }
        std::io::Write::write_all(&mut &write, &[0; 4]).unwrap();
        current::wait_stop(soon()).unwrap();
        1
    });
    drop(write);
    let mut all = Vec::new();
    loop {
        let mut pid = [0; 4];
        read.read_exact(&mut pid).unwrap();
        match u32::from_ne_bytes(pid) {
            0 => break,
            pid => all.push(PidFd::open(pid).unwrap()),
        }
    }
    assert!(!all.is_empty());
    parent.kill().unwrap();
    for process in all {
        assert!(process.wait(soon()).unwrap());
    }
    parent.wait(soon()).unwrap();
}

fn a_dropped_claim_is_no_process() {
    let mut server = ForkServer::new();
    server.ensure(&program(), nothing).unwrap();
    for _ in 0..5 {
        drop(server.claim(true, soon()).unwrap());
    }
    let child = server
        .claim(false, soon())
        .unwrap()
        .hand_over(&mut told("exit 2"))
        .unwrap();
    assert_eq!(ended(&child), 2);
}

/// Starts a child that ends, waits until it has, and until the server has taken
/// note of that; does not look at the end itself.
fn start_unseen(server: &mut ForkServer) -> Child {
    let child = start(server, told("exit 7"));
    assert!(poll(&child));
    // The server takes note of one end after the other.
    assert_eq!(ended(&start(server, told("exit 0"))), 0);
    child
}

/// Returns the pids of the server's children.
fn children(server: &ForkServer) -> Vec<u32> {
    let pid = server.pid().unwrap();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let pids = children.split_whitespace().map(|pid| pid.parse().unwrap());
    pids.collect()
}

/// Returns the pids of those that have ended and are not reaped.
fn zombies(server: &ForkServer) -> Vec<u32> {
    let mut pids = children(server);
    pids.retain(|&pid| PidFd::open(pid).is_ok_and(|process| process.is_dead()));
    pids
}

fn an_ended_child_has_its_pid_until_its_parent_has_seen_the_end() {
    let mut server = ForkServer::new();
    for _ in 0..10 {
        let child = start_unseen(&mut server);
        let process = PidFd::open(child.pid()).unwrap();
        assert!(process.send_signal(0).unwrap());
        assert!(zombies(&server).contains(&child.pid()));
        assert_eq!(child.try_wait().unwrap().unwrap().code(), 7);
        while process.send_signal(0).unwrap() {
            std::thread::yield_now();
        }
    }
}

fn parents_that_never_look_do_not_use_up_the_pids() {
    let mut server = ForkServer::new();
    let children: Vec<_> = (0..200)
        .map(|_| start(&mut server, told("exit 7")))
        .collect();
    for child in &children {
        assert!(poll(child));
    }
    while zombies(&server).len() > 128 {
        std::thread::yield_now();
    }
    assert!(!zombies(&server).is_empty());
    for child in &children {
        assert_eq!(child.try_wait().unwrap().unwrap().code(), 7);
    }
    while !zombies(&server).is_empty() {
        std::thread::yield_now();
    }
}

fn ended_children_of_a_killed_parent_are_reaped() {
    let mut server = ForkServer::new();
    assert_eq!(ended(&start(&mut server, told("exit 0"))), 0);
    let handle = server.handle().unwrap();
    let (mut read, write) = std::io::pipe().unwrap();
    let parent = forked(&LaunchSpec::default(), || {
        let mut shared = ForkServer::attach(handle).unwrap();
        let _children: Vec<_> = (0..3).map(|_| start_unseen(&mut shared)).collect();
        std::io::Write::write_all(&mut &write, b"!").unwrap();
        current::wait_stop(soon()).unwrap();
        1
    });
    read.read_exact(&mut [0]).unwrap();
    assert!(zombies(&server).len() >= 3);
    parent.kill().unwrap();
    parent.wait(soon()).unwrap();
    while !zombies(&server).is_empty() {
        std::thread::yield_now();
    }
}

/// Waits for a child's end without seeing it.
fn poll(child: &Child) -> bool {
    procession_engine::sys::wait::poll::wait_readable(child.sentinel(), soon()).unwrap()
}
