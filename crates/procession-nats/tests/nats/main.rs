//! Pools over a NATS server, with nodes that are processes.
//!
//! A node is this program, started again, so there is no harness: what it runs before `main` would
//! be in its way. Arguments choose tests by parts of their names.

mod accounts;
mod calls;
mod chaos;
mod chaos_client;
mod client;
mod clients;
mod failures;
mod ledger;
mod link;
mod nodes;
mod security;
mod server;
mod traffic;
#[path = "../../../procession/tests/watchdog/mod.rs"]
mod watchdog;

use std::thread;
use std::time::Instant;

type Test = (&'static str, fn());

fn main() {
    procession_nats::init();
    if let Ok(url) = std::env::var("PROCESSION_TEST_CLIENT") {
        return client::be_one(&url);
    }
    if let Ok(what) = std::env::var("PROCESSION_TEST_CALLER") {
        return chaos_client::be_one(&what);
    }
    if server::program().is_none() {
        println!("skipped: there is no nats-server on PATH, and NATS_SERVER names none");
        return;
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut words = words
        .iter()
        .filter(|word| !word.starts_with('-'))
        .peekable();
    let all = words.peek().is_none();
    let words: Vec<&String> = words.collect();
    let tests = [
        calls::TESTS,
        clients::TESTS,
        failures::TESTS,
        security::TESTS,
        traffic::TESTS,
        chaos::TESTS,
    ]
    .concat();
    let is_chosen = |(name, _): &&Test| all || words.iter().any(|word| name.contains(&**word));
    let mut failed = Vec::new();
    for (name, test) in tests.into_iter().filter(|test| is_chosen(&test)) {
        let begin = Instant::now();
        let run = thread::Builder::new().name(name.to_owned());
        let watched = move || {
            let _watchdog = (name != chaos::NAME).then(watchdog::watch);
            test();
        };
        let is_ok = run.spawn(watched).unwrap().join().is_ok();
        let result = if is_ok { "ok" } else { "FAILED" };
        println!(
            "test {name} ... {result} ({:.2} s)",
            begin.elapsed().as_secs_f64()
        );
        failed.extend((!is_ok).then_some(name));
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}
