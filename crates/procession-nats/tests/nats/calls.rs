//! What calls do when nothing is lost.

use std::collections::HashSet;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use procession_nats::connect;
use rustix::process::{Signal, getpid, kill_process};

use crate::Test;
use crate::nodes::{Gate, NodeProcess, pool, wait_at, wait_for_nodes};
use crate::server::{self, server};

pub const TESTS: &[Test] = &[
    ("a_map_runs_on_two_nodes", a_map_runs_on_two_nodes),
    ("the_demo_runs_on_nodes", the_demo_runs_on_nodes),
    (
        "a_panic_arrives_with_its_message",
        a_panic_arrives_with_its_message,
    ),
    (
        "a_death_is_told_with_pid_and_signal",
        a_death_is_told_with_pid_and_signal,
    ),
    ("a_deadline_kills", a_deadline_kills),
    (
        "what_is_cancelled_does_not_run",
        what_is_cancelled_does_not_run,
    ),
    ("what_runs_is_killed", what_runs_is_killed),
    (
        "what_is_large_goes_through_the_object_store",
        what_is_large_goes_through_the_object_store,
    ),
    (
        "a_large_context_is_stored_once",
        a_large_context_is_stored_once,
    ),
    (
        "who_may_not_connect_is_refused",
        who_may_not_connect_is_refused,
    ),
    ("nobody_there_is_said_in_time", nobody_there_is_said_in_time),
    (
        "a_server_without_jetstream_says_so",
        a_server_without_jetstream_says_so,
    ),
    (
        "a_function_with_a_name_is_for_any_build",
        a_function_with_a_name_is_for_any_build,
    ),
    (
        "nodes_of_another_build_are_named",
        nodes_of_another_build_are_named,
    ),
];

fn square(number: u64) -> u64 {
    number * number
}

fn the_demo_runs_on_nodes() {
    let server = server();
    let url = server.url("workers=2");
    let tests = std::env::current_exe().unwrap();
    // Cargo builds examples with the tests, beside the folder of these.
    let demo = tests
        .parent()
        .unwrap()
        .with_file_name("examples")
        .join("demo");
    let _nodes = [1, 2].map(|n| NodeProcess::start_of(&demo, &url, &n.to_string()));
    let output = Command::new(&demo).arg(&url).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    let names: Vec<&str> = lines.iter().map(|line| line[0]).collect();
    assert!(
        names[0].starts_with("count primes") && names.len() == 3,
        "{text}"
    );
    assert!(lines[0][1].parse::<usize>().unwrap() >= 1, "{text}");
}

fn a_map_runs_on_two_nodes() {
    let server = server();
    let url = server.url("workers=2");
    let _nodes = [NodeProcess::start(&url, "1"), NodeProcess::start(&url, "2")];
    let pool = pool(&url);
    wait_for_nodes(&pool, 2);
    let squares = pool.map(square, 0..1000).unwrap();
    assert!(squares.into_iter().eq((0..1000).map(square)));
    let gate = Gate::new();
    let port = gate.port();
    let out = pool
        .chunk_size(1)
        .map_async(wait_at, (0..4).map(|n| (port, n)))
        .unwrap();
    let waiting: Vec<_> = (0..4).map(|_| gate.next()).collect();
    let names: HashSet<_> = waiting.iter().map(|it| it.node.clone()).collect();
    assert_eq!(names.len(), 2);
    drop(waiting);
    assert_eq!(out.get().unwrap(), [0, 1, 2, 3]);
    let nodes = pool.nodes().unwrap();
    assert!(
        nodes
            .iter()
            .all(|node| node.workers == 2 && node.is_of_this_build())
    );
}

fn a_panic_arrives_with_its_message() {
    let server = server();
    let url = server.url("workers=1");
    let _node = NodeProcess::start(&url, "1");
    let error = pool(&url).apply(|n: u8| -> u8 { panic!("no luck with {n}") }, 7);
    assert_eq!(
        error.unwrap_err().panic_info().unwrap().message,
        "no luck with 7"
    );
}

fn a_death_is_told_with_pid_and_signal() {
    let server = server();
    let url = server.url("workers=1");
    let _node = NodeProcess::start(&url, "1");
    let pool = pool(&url);
    let pid = pool.apply(std::process::id, ()).unwrap();
    let die = || -> u8 {
        kill_process(getpid(), Signal::KILL).unwrap();
        0
    };
    let error = pool.apply(die, ()).unwrap_err();
    assert!(error.is_died() && !error.is_node_lost());
    assert_eq!((error.pid(), error.signal()), (Some(pid), Some(9)));
    let error = pool.retries(2).apply(die, ()).unwrap_err();
    assert_eq!(error.tries(), Some(3));
}

fn a_deadline_kills() {
    let server = server();
    let url = server.url("workers=1");
    let _node = NodeProcess::start(&url, "1");
    let pool = pool(&url);
    let limit = Duration::from_millis(100);
    let error = pool
        .timeout(limit)
        .apply(std::thread::park, ())
        .unwrap_err();
    assert_eq!(error.time_limit(), Some(limit));
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
}

fn what_is_cancelled_does_not_run() {
    let server = server();
    let url = server.url("workers=1");
    let gate = Gate::new();
    let pool = pool(&url);
    // There is no node that could tell of it.
    let nowhere = pool.apply_async(wait_at, (gate.port(), 0)).unwrap();
    server.wait_for_messages("procession-test", 1);
    nowhere.cancel().unwrap();
    assert!(nowhere.get().unwrap_err().is_cancelled());
    server.wait_for_messages("procession-test", 0);

    let _node = NodeProcess::start(&url, "1");
    let task = |number| pool.apply_async(wait_at, (gate.port(), number)).unwrap();
    let first = task(1);
    let waiting = gate.next();
    assert_eq!(waiting.number, 1);
    let others: Vec<_> = (2..20).map(task).collect();
    for other in &others {
        other.cancel().unwrap();
    }
    for other in others {
        assert!(other.get().unwrap_err().is_cancelled());
    }
    first.cancel().unwrap();
    drop(waiting);
    assert_eq!(first.get().unwrap(), 1);
    let last = task(20);
    assert_eq!(gate.next().number, 20);
    assert_eq!(last.get().unwrap(), 20);
}

fn what_runs_is_killed() {
    let server = server();
    let url = server.url("workers=1");
    let _node = NodeProcess::start(&url, "1");
    let gate = Gate::new();
    let pool = pool(&url);
    let stuck = pool.apply_async(wait_at, (gate.port(), 1)).unwrap();
    let _waiting = gate.next();
    stuck.kill().unwrap();
    assert!(stuck.get().unwrap_err().is_cancelled());
    assert_eq!(pool.apply(square, 4).unwrap(), 16);
}

fn what_is_large_goes_through_the_object_store() {
    let server = server();
    let url = server.url("workers=2");
    let _node = NodeProcess::start(&url, "1");
    let pool = pool(&url);
    let input: Vec<u8> = (0..5 << 20).map(|n: u32| n as u8).collect();
    let reversed = |mut bytes: Vec<u8>| {
        bytes.reverse();
        bytes
    };
    let results = pool
        .chunk_size(1)
        .map(reversed, [input.clone(), vec![1; 2 << 20], vec![2]]);
    let results = results.unwrap();
    assert!(results[0].iter().eq(input.iter().rev()));
    assert_eq!((results[1].len(), results[2].len()), (2 << 20, 1));
    drop(pool);
    let left = server.look(server::objects);
    assert!(left.is_empty(), "{left:?}");
}

fn a_large_context_is_stored_once() {
    let server = server();
    let url = server.url("workers=2");
    let _node = NodeProcess::start(&url, "1");
    let pool = pool(&url);
    let context = vec![3_u64; 1 << 17];
    let times = |context: &Vec<u64>, n: u64| context[0] * n;
    let results = pool
        .chunk_size(1)
        .map_with(&context, times, 0..100)
        .unwrap();
    assert!(results.into_iter().eq((0..100).map(|n| n * 3)));
    // One object: a piece, and what tells of it.
    assert_eq!(server.messages("OBJ_procession-test"), 2);
}

fn who_may_not_connect_is_refused() {
    let server = server::start(&["-js", "--user", "ada", "--pass", "s@fe"]);
    let refused = connect(&server.url_of("ada:wrong")).unwrap_err();
    assert!(refused.is_unavailable());
    assert!(refused.to_string().contains("refuses these credentials"));
    assert!(!refused.to_string().contains("wrong"));
    connect(&server.url_of("ada:s%40fe")).unwrap();
    drop(server);

    let server = server::start(&["-js", "--auth", "s3cret"]);
    assert!(
        connect(&server.url_of("another"))
            .unwrap_err()
            .is_unavailable()
    );
    let url = server.url_of("s3cret");
    let _node = NodeProcess::start(&url, "1");
    assert_eq!(pool(&url).apply(square, 5).unwrap(), 25);
}

fn nobody_there_is_said_in_time() {
    let begin = Instant::now();
    let nobody = connect("nats://127.0.0.1:1").unwrap_err();
    assert!(nobody.is_unavailable());
    // One that accepts and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", silent.local_addr().unwrap());
    let error = connect(&url).unwrap_err();
    assert!(error.is_unavailable() && error.to_string().contains(&url));
    assert!(begin.elapsed() < Duration::from_secs(6));

    let mut node = NodeProcess::start("nats://127.0.0.1:1", "1");
    assert_eq!(node.wait().code(), Some(1));
    assert!(
        connect("nats://127.0.0.1:1?retries=3")
            .unwrap_err()
            .is_invalid()
    );
}

fn a_server_without_jetstream_says_so() {
    let server = server::start(&[]);
    let error = connect(&server.url("")).unwrap_err();
    assert!(error.is_unavailable());
    assert!(
        error.to_string().contains("nats-server --jetstream"),
        "{error}"
    );
}

fn nodes_of_another_build_are_named() {
    let server = server();
    let url = server.url("workers=1");
    let _other = NodeProcess::start_of(&another_program(), &url, "1");
    let observer = pool(&url);
    wait_for_nodes(&observer, 1);
    assert!(!observer.nodes().unwrap()[0].is_of_this_build());
    let pool = pool(&url);
    let error = pool.apply(square, 2).unwrap_err();
    assert!(
        error.is_unavailable() && error.to_string().contains("another build"),
        "{error}"
    );
    let _node = NodeProcess::start(&url, "2");
    wait_for_nodes(&pool, 2);
    assert_eq!(pool.apply(square, 2).unwrap(), 4);
}

#[procession::task]
fn cube(number: u64) -> u64 {
    number * number * number
}

fn a_function_with_a_name_is_for_any_build() {
    let server = server();
    let url = server.url("workers=1");
    let pool = pool(&url);
    let out = pool.apply_async(cube, 3).unwrap();
    server.wait_for_messages("procession-test", 1);
    server.look(async |jetstream| {
        let stream = jetstream.get_stream("procession-test").await.unwrap();
        let message = stream.get_raw_message(1).await.unwrap();
        let subject = message.subject.as_str();
        assert!(
            subject.starts_with("procession.test.tasks.any."),
            "{subject}"
        );
    });
    let _node = NodeProcess::start(&url, "1");
    assert_eq!(out.get().unwrap(), 27);
    let cubes = pool.map(cube, 0..100).unwrap();
    assert!(cubes.into_iter().eq((0..100).map(|n| n * n * n)));
}

/// Returns the example, which cargo has built with the tests.
fn another_program() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let folder = program.parent().unwrap().parent().unwrap();
    folder.join("examples/word_count")
}
