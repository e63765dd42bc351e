//! What happens when clients are killed, or stand still.

use std::time::Duration;

use futures_util::TryStreamExt;

use crate::Test;
use crate::client::{ClientProcess, TASKS};
use crate::nodes::{Gate, NodeProcess, pool, wait_for_nodes};
use crate::server::{Server, server};

pub const TESTS: &[Test] = &[
    (
        "a_killed_client_leaves_nothing",
        a_killed_client_leaves_nothing,
    ),
    (
        "a_new_node_runs_nothing_for_the_dead",
        a_new_node_runs_nothing_for_the_dead,
    ),
    (
        "answers_for_the_dead_are_found_by_a_new_node",
        answers_for_the_dead_are_found_by_a_new_node,
    ),
    (
        "a_client_that_stands_still_for_a_while_loses_nothing",
        a_client_that_stands_still_for_a_while_loses_nothing,
    ),
    (
        "a_client_that_counted_as_dead_is_told",
        a_client_that_counted_as_dead_is_told,
    ),
    (
        "a_server_that_was_away_loses_no_client",
        a_server_that_was_away_loses_no_client,
    ),
    (
        "a_server_that_stands_still_loses_no_client",
        a_server_that_stands_still_loses_no_client,
    ),
];

/// Waits until the server has nothing of any client, but for dead letters.
pub fn wait_until_empty(server: &Server) {
    server.wait_for_messages("procession-test", 0);
    server.wait_for(async |jetstream| {
        let results = jetstream.get_stream("procession-test-results").await;
        let results = results.unwrap();
        let answers = results.info_with_subjects("procession.test.results.>");
        let mut answers = answers.await.unwrap();
        let has_none = answers.try_next().await.unwrap().is_none();
        has_none && results.cached_info().state.consumer_count == 0
    });
    server.wait_for(async |jetstream| crate::server::objects(jetstream).await.is_empty());
}

fn a_killed_client_leaves_nothing() {
    let server = server();
    let url = server.url("workers=1&client_lease=2");
    let _nodes = [NodeProcess::start(&url, "1"), NodeProcess::start(&url, "2")];
    wait_for_nodes(&pool(&url), 2);
    let gate = Gate::new();
    let mut client = ClientProcess::start(&url, gate.port());
    let running = [gate.next(), gate.next()];
    server.wait_for_messages("procession-test", TASKS);
    // The last task has large arguments.
    assert_eq!(server.look(crate::server::objects).len(), 1);
    client.kill();
    wait_until_empty(&server);
    running.into_iter().for_each(|it| it.wait_until_killed());
    // The workers are free, and have begun nothing else.
    let next = pool(&url).chunk_size(1).map(|n: u64| n, 0..20).unwrap();
    assert!(next.into_iter().eq(0..20));
    assert!(gate.try_next().is_none());
}

fn a_new_node_runs_nothing_for_the_dead() {
    let server = server();
    let url = server.url("workers=1&client_lease=2");
    let gate = Gate::new();
    let mut client = ClientProcess::start(&url, gate.port());
    server.wait_for_messages("procession-test", TASKS);
    client.kill();
    let _node = NodeProcess::start(&url, "1");
    let alive = pool(&url);
    wait_for_nodes(&alive, 1);
    // The dead one's tasks wait, and are in nobody's way.
    assert_eq!(alive.apply(|| 1, ()).unwrap(), 1);
    assert_eq!(server.messages("procession-test"), TASKS);
    drop(alive);
    wait_until_empty(&server);
    assert!(gate.try_next().is_none());
}

fn answers_for_the_dead_are_found_by_a_new_node() {
    let server = server();
    let url = server.url("workers=1&client_lease=5");
    let mut node = NodeProcess::start(&url, "1");
    wait_for_nodes(&pool(&url), 1);
    let gate = Gate::new();
    let mut client = ClientProcess::start(&url, gate.port());
    let first = gate.next();
    client.stop();
    drop(first);
    let _second = gate.next();
    server.wait_for_messages("procession-test-results", 1);
    node.kill();
    client.kill();
    let _node = NodeProcess::start(&url, "2");
    wait_until_empty(&server);
}

/// Waits where the time itself is what is tested.
fn stand_still(duration: Duration) {
    let (_never, ends) = std::sync::mpsc::channel::<()>();
    assert!(ends.recv_timeout(duration).is_err());
}

fn a_client_that_stands_still_for_a_while_loses_nothing() {
    let server = server();
    let url = server.url("workers=1&client_lease=4");
    let _node = NodeProcess::start(&url, "1");
    let gate = Gate::new();
    let mut client = ClientProcess::start(&url, gate.port());
    let first = gate.next();
    server.wait_for_messages("procession-test", TASKS);
    client.stop();
    stand_still(Duration::from_millis(2500));
    client.resume();
    drop((first, gate));
    let results = client.results();
    assert!(results.iter().all(|result| result == "ok"), "{results:?}");
    client.close();
    wait_until_empty(&server);
}

fn a_client_that_counted_as_dead_is_told() {
    let server = server();
    let url = server.url("workers=1&client_lease=1");
    let _node = NodeProcess::start(&url, "1");
    let gate = Gate::new();
    let mut client = ClientProcess::start(&url, gate.port());
    let first = gate.next();
    server.wait_for_messages("procession-test", TASKS);
    client.stop();
    wait_until_empty(&server);
    first.wait_until_killed();
    client.resume();
    let results = client.results();
    assert_eq!(results.len() as u64, TASKS);
    for result in results {
        assert!(
            result.starts_with("closed") && result.contains("lease of 1 s"),
            "{result}"
        );
    }
    // Its next call is carried as ever.
    assert_eq!(client.call_once_more(), "ok");
    client.close();
    wait_until_empty(&server);
    assert!(gate.try_next().is_none());
}

fn a_server_that_was_away_loses_no_client() {
    nobody_is_lost(Server::kill, Server::begin);
}

fn a_server_that_stands_still_loses_no_client() {
    nobody_is_lost(|server| server.stop(), |server| server.resume());
}

/// While the server is away, for more than the lease of the client and of the nodes.
fn nobody_is_lost(go_away: impl FnOnce(&mut Server), come_back: impl FnOnce(&mut Server)) {
    let mut server = server();
    let url = server.url("workers=1&lease=1&client_lease=4");
    let _nodes = [NodeProcess::start(&url, "1"), NodeProcess::start(&url, "2")];
    wait_for_nodes(&pool(&url), 2);
    let gate = Gate::new();
    let mut client = ClientProcess::start(&url, gate.port());
    let waiting = [gate.next(), gate.next()];
    server.wait_for_messages("procession-test", TASKS);
    go_away(&mut server);
    // It has nothing to say when the server is back, and has half of its lease yet.
    client.stop();
    stand_still(Duration::from_millis(4500));
    come_back(&mut server);
    stand_still(Duration::from_secs(2));
    client.resume();
    drop((waiting, gate));
    let results = client.results();
    assert!(results.iter().all(|result| result == "ok"), "{results:?}");
    client.close();
    wait_until_empty(&server);
}
