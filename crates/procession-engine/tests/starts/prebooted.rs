//! Fresh images that were booted ahead.
//!
//! # Safety
//! A child closes descriptors by their numbers, and leaves by `_exit`.

#![expect(unsafe_code, reason = "closes descriptors behind their owners' backs")]

use std::io::Read as _;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

use procession_engine::launch::{LaunchSpec, Program};
use procession_engine::process::Child;
use procession_engine::standby::{prebooted, spawn_ahead};
use procession_engine::sys::process::pidfd::PidFd;

use crate::fork::forked;
use crate::harness::{soon, tests};
use crate::spawn::{get_descriptors_in_order, outcome, program as bare_program, told};

tests![
    a_program_that_starts_one_process_has_no_spare,
    a_spare_is_used_and_is_as_one_that_was_not,
    a_spare_gets_descriptors_in_order,
    a_spare_is_not_used_where_it_would_differ,
    a_killed_spare_costs_no_start,
    a_spare_that_becomes_a_daemon_ends_with_its_parent_and_another_does_not,
    a_spare_ends_with_its_killed_keeper,
    a_spare_ends_with_a_killed_keeper_that_had_closed_all_descriptors,
    no_descriptor_of_the_program_is_taken_to_boot_spares,
    a_forked_copy_has_no_spares,
    one_that_nobody_wants_any_more_ends_in_silence,
];

/// Returns this program, with an environment that can be compared.
fn program() -> Program {
    Program {
        env: Some(std::env::vars_os().collect()),
        ..bare_program()
    }
}

fn start(words: &str) -> Child {
    spawn_ahead(&program(), told(words)).unwrap()
}

/// Starts processes until spares are there; returns their process ids.
fn have_spares() -> Vec<u32> {
    for _ in 0..4 {
        assert_eq!(start("exit 3").wait(soon()).unwrap().code(), 3);
    }
    let deadline = soon();
    loop {
        let parked: Vec<_> = prebooted::pids()
            .into_iter()
            .filter(|pid| called(*pid) == "parked spare")
            .collect();
        if parked.len() == 4 {
            return parked;
        }
        assert!(!deadline.has_passed(), "no spares: {parked:?}");
        std::thread::yield_now();
    }
}

/// Returns what `ps` calls a process.
fn called(pid: u32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim_end().into()
}

fn a_program_that_starts_one_process_has_no_spare() {
    assert_eq!(start("exit 3").wait(soon()).unwrap().code(), 3);
    assert_eq!(prebooted::pids(), []);
    prebooted::clear();
}

fn a_spare_is_used_and_is_as_one_that_was_not() {
    let pids = have_spares();
    let child = start("report me");
    assert!(pids.contains(&child.pid()), "not a spare");
    let text = outcome(&child);
    assert!(text.contains("name: \"told\""), "{text}");
    assert!(text.contains("is_daemon: false"), "{text}");
    let me = format!("pid: Some({})", std::process::id());
    assert!(text.contains(&me), "{text}");
    let child = start("stop");
    assert!(pids.contains(&child.pid()), "not a spare");
    child.request_stop();
    assert_eq!(child.wait(soon()).unwrap().code(), 0);
    prebooted::clear();
    assert_eq!(prebooted::pids(), []);
}

fn a_spare_gets_descriptors_in_order() {
    let pids = have_spares();
    get_descriptors_in_order(1, |spec| {
        let child = spawn_ahead(&program(), spec).unwrap();
        assert!(pids.contains(&child.pid()), "not a spare");
        child
    });
    prebooted::clear();
}

fn a_spare_is_not_used_where_it_would_differ() {
    let pids = have_spares();
    let mut other = program();
    other
        .env
        .as_mut()
        .unwrap()
        .push(("MINE".into(), "yes".into()));
    let child = spawn_ahead(&other, told("report MINE")).unwrap();
    assert!(!pids.contains(&child.pid()), "a spare");
    assert_eq!(outcome(&child), "yes");
    assert_eq!(prebooted::pids(), []);
    let pids = have_spares();
    let before = std::env::current_dir().unwrap();
    std::env::set_current_dir("/proc").unwrap();
    let child = start("exit 5");
    std::env::set_current_dir(before).unwrap();
    assert!(!pids.contains(&child.pid()), "a spare");
    assert_eq!(child.wait(soon()).unwrap().code(), 5);
    prebooted::clear();
}

fn a_killed_spare_costs_no_start() {
    for pid in have_spares() {
        let spare = PidFd::open(pid).unwrap();
        spare.send_signal(9).unwrap();
        assert!(spare.wait(soon()).unwrap());
    }
    for code in 0..8 {
        assert_eq!(
            start(&format!("exit {code}")).wait(soon()).unwrap().code(),
            code
        );
    }
    prebooted::clear();
}

fn a_spare_that_becomes_a_daemon_ends_with_its_parent_and_another_does_not() {
    let (mut read, write) = std::io::pipe().unwrap();
    let parent = forked(&LaunchSpec::default(), || {
        let pids = have_spares();
        let ask = |daemon| {
            let orders = LaunchSpec {
                daemon,
                fds: vec![write.as_fd()],
                ..told("sleep")
            };
            let child = spawn_ahead(&program(), orders).unwrap();
            assert!(pids.contains(&child.pid()), "not a spare");
            child
        };
        let children = [true, false].map(ask);
        for child in children {
            child.wait(soon()).unwrap();
        }
        1
    });
    drop(write);
    let mut pids = [[0; 4]; 2];
    for pid in &mut pids {
        read.read_exact(pid).unwrap();
    }
    let open = |pid: &[u8; 4]| PidFd::open(u32::from_ne_bytes(*pid)).unwrap();
    let mut processes: Vec<_> = pids.iter().map(open).collect();
    parent.kill().unwrap();
    parent.wait(soon()).unwrap();
    // One of them is the daemon; the other goes on until it is told not to.
    let deadline = soon();
    while processes.len() == 2 {
        processes.retain(|process| !process.is_dead());
        assert!(!deadline.has_passed(), "the daemon lives on");
        std::thread::yield_now();
    }
    assert_eq!(processes.len(), 1);
    assert!(!processes[0].is_dead());
    processes[0].send_signal(9).unwrap();
    assert!(processes[0].wait(soon()).unwrap());
}

fn a_spare_ends_with_its_killed_keeper() {
    ends_with_its_killed_keeper(|_| ());
}

fn a_spare_ends_with_a_killed_keeper_that_had_closed_all_descriptors() {
    ends_with_its_killed_keeper(|kept| {
        have_spares();
        let kept = kept.as_raw_fd();
        for number in (3..1000).filter(|number| *number != kept) {
            // SAFETY: a test's child, which may close what it likes.
            unsafe { libc::close(number) };
        }
    });
}

fn ends_with_its_killed_keeper(first: impl Fn(BorrowedFd<'_>)) {
    let (mut read, write) = std::io::pipe().unwrap();
    let keeper = forked(&LaunchSpec::default(), || {
        use std::io::Write as _;
        first(write.as_fd());
        for pid in have_spares() {
            (&write).write_all(&pid.to_ne_bytes()).unwrap();
        }
        start("stop").wait(soon()).unwrap();
        1
    });
    drop(write);
    let spares: Vec<_> = (0..4)
        .map(|_| {
            let mut pid = [0; 4];
            read.read_exact(&mut pid).unwrap();
            PidFd::open(u32::from_ne_bytes(pid)).unwrap()
        })
        .collect();
    keeper.kill().unwrap();
    // The last has become a process of its own, which waits to be stopped.
    let ended = |spare: &PidFd| spare.wait(soon()).unwrap();
    keeper.wait(soon()).unwrap();
    let mut left: Vec<_> = spares.iter().filter(|spare| !spare.is_dead()).collect();
    let deadline = soon();
    while left.len() > 1 && !deadline.has_passed() {
        left.retain(|spare| !spare.is_dead());
    }
    assert!(left.len() <= 1, "spares live on: {left:?}");
    for process in left {
        process.send_signal(9).unwrap();
        assert!(ended(process));
    }
}

fn no_descriptor_of_the_program_is_taken_to_boot_spares() {
    for _ in 0..4 {
        assert_eq!(start("exit 3").wait(soon()).unwrap().code(), 3);
    }
    // The lowest number that is free is free all the time.
    let file = std::fs::File::open("/dev/null").unwrap();
    let next = || file.try_clone().unwrap().as_raw_fd();
    let (first, deadline) = (next(), soon());
    while prebooted::pids().len() < 4 {
        for _ in 0..1000 {
            assert_eq!(next(), first, "taken by another thread");
        }
        assert!(!deadline.has_passed(), "no spares");
    }
    prebooted::clear();
}

fn a_forked_copy_has_no_spares() {
    let pids = have_spares();
    let child = forked(&LaunchSpec::default(), || {
        assert_eq!(prebooted::pids(), []);
        start("exit 6").wait(soon()).unwrap().code()
    });
    assert_eq!(child.wait(soon()).unwrap().code(), 6);
    let child = start("exit 4");
    assert!(pids.contains(&child.pid()), "not a spare");
    assert_eq!(child.wait(soon()).unwrap().code(), 4);
    prebooted::clear();
}

fn one_that_nobody_wants_any_more_ends_in_silence() {
    let family = procession_engine::family().unwrap();
    // Its place was given back while it booted, or all that it was to be one of.
    let place = family.reserve_member().unwrap();
    let gone = family.reserve_member().unwrap();
    family.release_member(gone);
    for stamp in [gone, place] {
        let memory = family.fd().unwrap().try_clone_to_owned().unwrap();
        rustix::io::fcntl_setfd(&memory, rustix::io::FdFlags::empty()).unwrap();
        let (number, stamp) = (memory.as_raw_fd(), stamp.raw());
        let output = std::process::Command::new(program().exe)
            .arg(format!(
                "procession:family={number},stamp={stamp},spares=65536+999999999,cell=0"
            ))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    }
    family.release_member(place);
}
