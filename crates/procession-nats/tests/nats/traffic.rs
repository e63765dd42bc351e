//! What is stored in the server, and for how long.

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy};

use crate::Test;
use crate::client::{ClientProcess, TASKS};
use crate::nodes::{Gate, NodeProcess, pool, wait_at};
use crate::server::server;

pub const TESTS: &[Test] = &[
    (
        "nothing_of_a_client_that_closes_stays",
        nothing_of_a_client_that_closes_stays,
    ),
    (
        "what_a_killed_client_leaves_goes_by_age",
        what_a_killed_client_leaves_goes_by_age,
    ),
    ("a_full_stream_is_waited_for", a_full_stream_is_waited_for),
];

fn nothing_of_a_client_that_closes_stays() {
    let server = server();
    let url = server.url("workers=1");
    let _node = NodeProcess::start(&url, "1");
    let (pool, gate) = (pool(&url), Gate::new());
    let tasks = (0..50).map(|n| pool.apply_async(wait_at, (gate.port(), n)).unwrap());
    let tasks: Vec<_> = tasks.collect();
    let _waiting = gate.next();
    server.wait_for_messages("procession-test", 50);
    drop((tasks, pool));
    server.wait_for_messages("procession-test", 0);
    server.look(async |jetstream| {
        let results = jetstream
            .get_stream("procession-test-results")
            .await
            .unwrap();
        assert_eq!(results.cached_info().state.consumer_count, 0);
    });
    // The node is free again.
    assert_eq!(crate::nodes::pool(&url).apply(|| 1, ()).unwrap(), 1);
}

fn what_a_killed_client_leaves_goes_by_age() {
    let server = server();
    let url = server.url("keep=2");
    let mut client = ClientProcess::start(&url, 0);
    server.wait_for_messages("procession-test", TASKS);
    client.kill();
    assert_eq!(server.messages("procession-test"), TASKS);
    server.wait_for_messages("procession-test", 0);
}

fn a_full_stream_is_waited_for() {
    let server = server();
    server.look(async |jetstream| {
        let small = Config {
            name: "procession-test".to_owned(),
            subjects: vec!["procession.test.tasks.>".to_owned()],
            retention: RetentionPolicy::WorkQueue,
            discard: DiscardPolicy::New,
            max_messages: 10,
            ..Config::default()
        };
        jetstream.create_stream(small).await.unwrap();
    });
    let url = server.url("workers=2");
    let pool = pool(&url);
    let calls = pool.chunk_size(1);
    let out = calls.map_async(|n: u64| n, 0..200).unwrap();
    server.wait_for_messages("procession-test", 10);
    let _node = NodeProcess::start(&url, "1");
    assert!(out.get().unwrap().into_iter().eq(0..200));
}
