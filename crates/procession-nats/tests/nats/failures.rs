//! What happens when nodes and servers are lost.

use std::collections::HashSet;
use std::thread;
use std::time::{Duration, Instant};

use procession::Pool;

use crate::Test;
use crate::nodes::{Gate, NodeProcess, Waiting, pool, wait_at, wait_for_nodes};
use crate::server::{Server, server};

pub const TESTS: &[Test] = &[
    (
        "tasks_of_a_killed_node_run_again",
        tasks_of_a_killed_node_run_again,
    ),
    (
        "without_retries_they_are_lost_and_told",
        without_retries_they_are_lost_and_told,
    ),
    (
        "a_node_that_stood_still_runs_nothing_late",
        a_node_that_stood_still_runs_nothing_late,
    ),
    ("a_node_that_ends_gives_back", a_node_that_ends_gives_back),
    (
        "a_node_that_ends_finishes_what_runs",
        a_node_that_ends_finishes_what_runs,
    ),
    (
        "a_server_that_comes_back_has_everything",
        a_server_that_comes_back_has_everything,
    ),
    (
        "a_server_that_was_away_loses_no_node",
        a_server_that_was_away_loses_no_node,
    ),
    (
        "a_server_that_stays_away_fails_calls",
        a_server_that_stays_away_fails_calls,
    ),
    (
        "a_question_that_is_lost_is_asked_again",
        a_question_that_is_lost_is_asked_again,
    ),
    ("arguments_are_fetched_again", arguments_are_fetched_again),
    ("results_are_fetched_again", results_are_fetched_again),
    (
        "what_the_server_has_lost_is_published_again",
        what_the_server_has_lost_is_published_again,
    ),
];

/// Two nodes of two workers each, which hold at most eight tasks.
struct Two {
    first: NodeProcess,
    second: NodeProcess,
    pool: Pool,
    gate: Gate,
    server: Server,
}

fn two() -> Two {
    let server = server();
    let url = server.url("workers=2&lease=1");
    let (first, second) = (NodeProcess::start(&url, "1"), NodeProcess::start(&url, "2"));
    let pool = pool(&url);
    wait_for_nodes(&pool, 2);
    Two {
        first,
        second,
        pool,
        gate: Gate::new(),
        server,
    }
}

impl Two {
    /// Waits until all four workers have a task.
    fn all_begun(&self) -> Vec<Waiting> {
        let waiting: Vec<_> = (0..4).map(|_| self.gate.next()).collect();
        let names: HashSet<_> = waiting.iter().map(|it| &it.node).collect();
        assert_eq!(names.len(), 2);
        waiting
    }
}

fn tasks_of_a_killed_node_run_again() {
    let mut two = two();
    let port = two.gate.port();
    let calls = two.pool.retries(1).chunk_size(1);
    let out = calls
        .map_async(wait_at, (0..40).map(|n| (port, n)))
        .unwrap();
    let waiting = two.all_begun();
    two.first.kill();
    drop((waiting, two.gate));
    assert!(out.get().unwrap().into_iter().eq(0..40));
    assert_eq!(two.server.messages("procession-test"), 0);
}

fn without_retries_they_are_lost_and_told() {
    let mut two = two();
    let port = two.gate.port();
    let task = |n| two.pool.apply_async(wait_at, (port, n)).unwrap();
    let out: Vec<_> = (0..20).map(task).collect();
    let waiting = two.all_begun();
    two.first.kill();
    drop((waiting, two.gate));
    let mut lost = 0;
    for (number, out) in out.into_iter().enumerate() {
        match out.get() {
            Ok(returned) => assert_eq!(returned, number as u64),
            Err(error) => {
                assert!(error.is_node_lost(), "{error}");
                lost += 1;
            }
        }
    }
    assert!((2..=4).contains(&lost), "{lost} are lost");
    two.server
        .wait_for_messages("procession-test-results", lost);
    two.server.look(async |jetstream| {
        let results = jetstream
            .get_stream("procession-test-results")
            .await
            .unwrap();
        let dead = results
            .get_last_raw_message_by_subject("procession.test.dead")
            .await;
        let headers = dead.unwrap().headers;
        let function = headers.get("Procession-Function").unwrap();
        assert!(function.as_str().contains("wait_at"), "{function}");
    });
}

fn a_node_that_stood_still_runs_nothing_late() {
    let server = server();
    let url = server.url("workers=1&lease=1");
    let node = NodeProcess::start(&url, "1");
    let (pool, gate) = (pool(&url), Gate::new());
    let task = |n| {
        pool.retries(1)
            .apply_async(wait_at, (gate.port(), n))
            .unwrap()
    };
    let first = task(1);
    let waiting = gate.next();
    // The node has asked for one more, and stands still when that is sent.
    node.stop();
    let second = task(2);
    server.wait_for_messages("procession-test", 2);
    let other = NodeProcess::start(&url, "2");
    for _ in 0..2 {
        assert_eq!(gate.next().node, "2");
    }
    drop(waiting);
    assert_eq!((first.get().unwrap(), second.get().unwrap()), (1, 2));
    server.wait_for_messages("procession-test", 0);
    node.resume();
    assert_eq!(
        pool.chunk_size(1).map(|n: u64| n, 0..100).unwrap().len(),
        100
    );
    drop(other);
    // The first node is there, and has run nothing twice.
    assert_eq!(pool.apply(|| 1, ()).unwrap(), 1);
    assert!(gate.try_next().is_none());
}

fn a_node_that_ends_gives_back() {
    let mut two = two();
    let port = two.gate.port();
    // None may be lost.
    let task = |n| two.pool.apply_async(wait_at, (port, n)).unwrap();
    let out: Vec<_> = (0..20).map(task).collect();
    let waiting = two.all_begun();
    two.first.terminate();
    drop((waiting, two.gate));
    assert_eq!(two.first.wait().code(), Some(0));
    for (number, out) in out.into_iter().enumerate() {
        assert_eq!(out.get().unwrap(), number as u64);
    }
}

fn a_node_that_ends_finishes_what_runs() {
    let server = server();
    let url = server.url("workers=1");
    let mut node = NodeProcess::start(&url, "1");
    let (pool, gate) = (pool(&url), Gate::new());
    let [runs, waits] = [1, 2].map(|n| pool.apply_async(wait_at, (gate.port(), n)).unwrap());
    let waiting = gate.next();
    node.terminate();
    // The other one is given back under a place of its own.
    server.look(async |jetstream| {
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(20));
        loop {
            ticks.tick().await;
            let stream = jetstream.get_stream("procession-test").await.unwrap();
            if stream.cached_info().state.last_sequence == 3 {
                break;
            }
        }
    });
    drop(waiting);
    assert_eq!(runs.get().unwrap(), 1);
    assert_eq!(node.wait().code(), Some(0));
    let _next = NodeProcess::start(&url, "2");
    assert_eq!(gate.next().number, 2);
    assert_eq!(waits.get().unwrap(), 2);
}

fn a_server_that_comes_back_has_everything() {
    let mut two = two();
    let calls = two.pool.chunk_size(1);
    let mut results = calls.imap_unordered(|n: u64| n, 0..2000);
    let mut numbers: Vec<u64> = results.by_ref().take(200).map(Result::unwrap).collect();
    two.server.kill();
    two.server.begin();
    numbers.extend(results.map(Result::unwrap));
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..2000));
    let _both = (&two.first, &two.second);
}

fn a_server_that_was_away_loses_no_node() {
    let mut two = two();
    let port = two.gate.port();
    let task = |n| two.pool.apply_async(wait_at, (port, n)).unwrap();
    let out: Vec<_> = (0..20).map(task).collect();
    let waiting = two.all_begun();
    two.server.kill();
    // For longer than a lease.
    let (_never, ends) = std::sync::mpsc::channel::<()>();
    let _ = ends.recv_timeout(std::time::Duration::from_millis(1500));
    two.server.begin();
    let held: HashSet<u64> = waiting.iter().map(|it| it.number).collect();
    drop(waiting);
    let rest = thread::spawn(move || {
        let mut rest = Vec::new();
        while rest.len() < 16 {
            rest.push(two.gate.next().number);
        }
        rest
    });
    for (number, out) in out.into_iter().enumerate() {
        assert_eq!(out.get().unwrap(), number as u64);
    }
    // None has run a second time.
    let rest = rest.join().unwrap();
    assert!(rest.iter().all(|number| !held.contains(number)));
}

fn a_server_that_stays_away_fails_calls() {
    let mut server = server();
    let url = server.url("patience=1");
    let pool = pool(&url);
    let waits = pool.apply_async(|| 1, ()).unwrap();
    server.wait_for_messages("procession-test", 1);
    server.kill();
    let error = waits.get().unwrap_err();
    assert!(error.to_string().contains("nats://127.0.0.1"), "{error}");
    assert!(pool.apply(|| 1, ()).is_err());
}

fn what_the_server_has_lost_is_published_again() {
    let server = server();
    let url = server.url("workers=1&keep=8");
    let pool = pool(&url);
    let out: Vec<_> = (0..10_u64)
        .map(|n| pool.apply_async(|n: u64| n, n).unwrap())
        .collect();
    server.wait_for_messages("procession-test", 10);
    server.look(async |jetstream| {
        let stream = jetstream.get_stream("procession-test").await.unwrap();
        stream.purge().await.unwrap();
    });
    let _node = NodeProcess::start(&url, "1");
    for (number, out) in out.into_iter().enumerate() {
        assert_eq!(out.get().unwrap(), number as u64);
    }
}

fn a_question_that_is_lost_is_asked_again() {
    let server = server();
    // A node asks for consumers when it begins.
    let cut = server.url_cut_at("CONSUMER.NAMES", "workers=1");
    let begin = Instant::now();
    let _node = NodeProcess::start(&cut, "1");
    let answer = pool(&server.url("")).apply(|n: u64| n, 1);
    assert_eq!(answer.unwrap(), 1);
    // Any question that is never answered takes longer.
    assert!(begin.elapsed() < Duration::from_secs(4));
}

fn arguments_are_fetched_again() {
    let server = server();
    // A node asks the object store where the arguments are.
    let cut = server.url_cut_at("OBJ_procession-test", "workers=1");
    let _node = NodeProcess::start(&cut, "1");
    let large = pool(&server.url("")).apply(|bytes: Vec<u8>| bytes.len(), vec![7; 3 << 20]);
    assert_eq!(large.unwrap(), 3 << 20);
}

fn results_are_fetched_again() {
    let server = server();
    let _node = NodeProcess::start(&server.url("workers=1"), "1");
    // The client asks for the pieces of an object so.
    let pool = pool(&server.url_cut_at("CONSUMER.CREATE.OBJ_procession-test", ""));
    let large = pool.apply(|length: usize| vec![7_u8; length], 3 << 20);
    assert!(large.unwrap() == vec![7; 3 << 20]);
}
