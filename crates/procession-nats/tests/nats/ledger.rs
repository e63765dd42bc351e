//! What clients and tasks write down while they are tormented, and the audit of that.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use rustix::time::{ClockId, clock_gettime};

/// How long a message may be on its way to somebody who was lost just before.
const SLACK: u64 = 2_000;

/// Returns milliseconds that all processes of this machine agree on.
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

/// Writes a line; none is lost, or torn, when its writer is killed.
pub fn write(ledger: &str, what: &str) {
    let file = OpenOptions::new().append(true).create(true).open(ledger);
    let line = format!("{} {what}\n", now());
    file.unwrap().write_all(line.as_bytes()).unwrap();
}

/// Something that was lost, or stood still, and when.
pub struct Loss {
    pub what: Lost,
    pub from: u64,
    /// `None` as long as it lasts.
    pub until: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    Worker,
    Node,
    Server,
}

/// A call, and what became of it.
#[derive(Default)]
struct Call {
    begun: u64,
    retries: usize,
    /// Whether its task kills its worker.
    is_deadly: bool,
    end: Option<(u64, String)>,
    runs: Vec<(u64, u32)>,
}

/// All calls, by their names.
pub struct Ledger(HashMap<String, Call>);

impl Ledger {
    /// Reads what was written.
    pub fn read(ledger: &Path) -> Self {
        let mut calls: HashMap<String, Call> = HashMap::new();
        for line in fs::read_to_string(ledger).unwrap().lines() {
            let words: Vec<&str> = line.splitn(4, ' ').collect();
            let [at, what, name, rest] = words[..] else {
                panic!("{line}");
            };
            let at = at.parse().unwrap();
            let call = calls.entry(name.to_owned()).or_default();
            match what {
                "begin" => {
                    let (retries, kind) = rest.split_once(' ').unwrap();
                    call.begun = at;
                    call.retries = retries.parse().unwrap();
                    call.is_deadly = kind == "Deadly";
                }
                "end" => {
                    assert!(call.end.is_none(), "{name} has ended twice");
                    call.end = Some((at, rest.to_owned()));
                }
                "run" => call.runs.push((at, rest.parse().unwrap())),
                _ => panic!("{line}"),
            }
        }
        Self(calls)
    }

    /// Returns the workers that have begun a task lately, the latest first.
    pub fn latest_workers(&self) -> Vec<u32> {
        let ended = |call: &Call| call.end.is_some();
        let running = self.0.values().filter(|call| !ended(call));
        let mut runs: Vec<_> = running.flat_map(|call| &call.runs).copied().collect();
        runs.sort_unstable();
        runs.into_iter().rev().map(|(_, pid)| pid).collect()
    }

    /// Checks all calls but those of clients that were killed; returns how many ended how.
    pub fn audit(&self, losses: &[Loss], is_killed: impl Fn(&str) -> bool) -> HashMap<String, u32> {
        let mut counts = HashMap::new();
        for (name, call) in &self.0 {
            let client = name.split('-').next().unwrap();
            let Some((ended, outcome)) = &call.end else {
                assert!(is_killed(client), "{name} has no end");
                continue;
            };
            *counts.entry(outcome.clone()).or_default() += 1;
            let during = |what: Lost| {
                let is_during = |loss: &&Loss| {
                    let until = loss.until.unwrap_or(u64::MAX).saturating_add(SLACK);
                    loss.what == what && loss.from <= *ended && until >= call.begun
                };
                losses.iter().filter(is_during).count()
            };
            let (workers, nodes, servers) = (
                during(Lost::Worker),
                during(Lost::Node),
                during(Lost::Server),
            );
            let runs = call.runs.len();
            let told = || {
                format!(
                    "{name} ({} retries, {}..{ended}): {outcome}; {:?}; {workers} workers, {nodes} nodes \
                     and {servers} servers were lost meanwhile",
                    call.retries, call.begun, call.runs
                )
            };
            match outcome.as_str() {
                "ok" => assert!(runs >= 1 && !call.is_deadly, "{}", told()),
                "died" => assert!(call.is_deadly || workers > 0, "{}", told()),
                "lost" => assert!(nodes + servers > 0, "{}", told()),
                _ => panic!("{}", told()),
            }
            // It is delivered again for each node that was lost, as far as is allowed, and each time that a
            // server has forgotten. A node tries again what its own workers have died of, and nobody else
            // knows how often it has.
            let deliveries = 1 + nodes.min(call.retries) + servers;
            let deaths = if call.is_deadly {
                call.retries
            } else {
                workers.min(call.retries)
            };
            let allowed = deliveries * (1 + deaths);
            assert!(runs <= allowed, "{runs} runs: {}", told());
        }
        counts
    }
}
