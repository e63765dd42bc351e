//! Children that are fresh images of this program.

use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::path::Path;

use procession_engine::ErrorKind;
use procession_engine::launch::{LaunchSpec, Program, spawn};
use procession_engine::process::Child;
use procession_engine::sys::process::pidfd::PidFd;

use crate::fork::forked;
use crate::harness::{soon, tests};
use crate::role::payload;

tests![
    a_fresh_image_gets_its_payload_and_gives_an_outcome,
    descriptors_arrive_in_order,
    a_fresh_image_has_no_descriptor_that_is_not_its_own,
    the_environment_is_the_one_given_and_tells_nothing_of_procession,
    a_program_that_is_not_there_leaves_nothing,
    a_fresh_daemon_ends_with_its_killed_parent,
    hundreds_of_starts_leave_nothing,
];

/// Returns this program.
pub fn program() -> Program {
    Program {
        exe: std::env::current_exe().unwrap(),
        argv: vec!["starts".into()],
        ..Program::default()
    }
}

pub fn told(words: &str) -> LaunchSpec<'static> {
    LaunchSpec {
        name: "told".into(),
        payload: payload(words),
        ..LaunchSpec::default()
    }
}

pub fn outcome(child: &Child) -> String {
    assert!(child.wait(soon()).unwrap().is_success());
    let outcome = child.take_outcome().unwrap().unwrap();
    String::from_utf8_lossy(&outcome).into_owned()
}

fn a_fresh_image_gets_its_payload_and_gives_an_outcome() {
    let child = spawn(&program(), told("report me")).unwrap();
    let text = outcome(&child);
    assert!(text.contains("name: \"told\""), "{text}");
    assert!(text.contains("is_daemon: false"), "{text}");
    let me = format!("pid: Some({})", std::process::id());
    assert!(text.contains(&me), "{text}");
    let child = spawn(&program(), told("exit 3")).unwrap();
    assert_eq!(child.wait(soon()).unwrap().code(), 3);
}

fn descriptors_arrive_in_order() {
    get_descriptors_in_order(1, |spec| spawn(&program(), spec).unwrap());
}

/// Checks that each of some children that are started has the descriptors that it was given,
/// by the order in which they were.
pub fn get_descriptors_in_order(children: usize, mut start: impl FnMut(LaunchSpec<'_>) -> Child) {
    let (mut first, to_first) = std::io::pipe().unwrap();
    let (mut second, to_second) = std::io::pipe().unwrap();
    for _ in 0..children {
        let child = start(LaunchSpec {
            fds: vec![to_second.as_fd(), to_first.as_fd(), to_second.as_fd()],
            ..told("write x")
        });
        assert!(child.wait(soon()).unwrap().is_success());
    }
    drop((to_first, to_second));
    let mut text = String::new();
    first.read_to_string(&mut text).unwrap();
    assert_eq!(text, "1x".repeat(children));
    text.clear();
    second.read_to_string(&mut text).unwrap();
    assert_eq!(text, "0x2x".repeat(children));
}

fn a_fresh_image_has_no_descriptor_that_is_not_its_own() {
    let (_read, _write) = std::io::pipe().unwrap();
    let text = outcome(&spawn(&program(), told("report descriptors")).unwrap());
    // Whatever else this program was started with: only the standard streams.
    let streams = (0..3).filter(|number| Path::new(&format!("/proc/self/fd/{number}")).exists());
    let own = text.lines().count().checked_sub(streams.count());
    assert_eq!(own, Some(2), "not only the family's two: {text}");
    assert!(text.contains("/memfd:procession"), "{text}");
    // By which it rings in the network namespace in which it began.
    assert!(text.contains("socket:"), "{text}");
}

fn the_environment_is_the_one_given_and_tells_nothing_of_procession() {
    let mut program = program();
    program.env = Some(vec![("MINE".into(), "yes".into())]);
    let child = spawn(&program, told("report MINE")).unwrap();
    assert_eq!(outcome(&child), "yes");
    let child = spawn(&program, told("report HOME")).unwrap();
    assert_eq!(outcome(&child), "unset");
}

fn a_program_that_is_not_there_leaves_nothing() {
    let program = Program {
        exe: "/nowhere/at/all".into(),
        ..program()
    };
    let error = spawn(&program, told("exit 0")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
}

fn a_fresh_daemon_ends_with_its_killed_parent() {
    let (mut read, write) = std::io::pipe().unwrap();
    let parent = forked(&LaunchSpec::default(), || {
        let orders = LaunchSpec {
            daemon: true,
            fds: vec![write.as_fd()],
            ..told("spin")
        };
        let child = spawn(&program(), orders).unwrap();
        child.wait(soon()).unwrap();
        1
    });
    drop(write);
    let mut pid = [0; 4];
    read.read_exact(&mut pid).unwrap();
    let daemon = PidFd::open(u32::from_ne_bytes(pid)).unwrap();
    parent.kill().unwrap();
    assert!(daemon.wait(soon()).unwrap());
    parent.wait(soon()).unwrap();
}

fn hundreds_of_starts_leave_nothing() {
    for code in 0..100 {
        let child = spawn(&program(), told(&format!("exit {code}"))).unwrap();
        assert_eq!(child.wait(soon()).unwrap().code(), code);
    }
    for code in 0..100 {
        let child = forked(&LaunchSpec::default(), || code);
        assert_eq!(child.wait(soon()).unwrap().code(), code);
    }
}
