//! Nodes, clients, workers and the server are killed and stopped at random, and all calls are audited.
//!
//! `PROCESSION_TEST_CHAOS_SECONDS` says for how long, and `PROCESSION_TEST_SEED` repeats a run, as far as the
//! machine does.

use std::collections::HashSet;
use std::env;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Test;
use crate::chaos_client::Random;
use crate::clients::wait_until_empty;
use crate::ledger::{Ledger, Loss, Lost, now};
use crate::nodes::{NodeProcess, pid_of};
use crate::server::{Folder, Server, server};

/// It has a watchdog of its own.
pub const NAME: &str = "nothing_hangs_or_is_lost_in_chaos";
pub const TESTS: &[Test] = &[(NAME, nothing_hangs_or_is_lost_in_chaos)];

/// How long all calls may take to end, and what is left to go.
const PATIENCE: Duration = Duration::from_secs(120);

/// Longer than the lease of a node.
const STANDSTILL: u64 = 1_600;

/// A client that calls until it is told to end.
struct Caller {
    name: String,
    child: Child,
}

struct Chaos {
    random: Random,
    server: Server,
    url: String,
    ledger: PathBuf,
    nodes: Vec<NodeProcess>,
    callers: Vec<Caller>,
    killed: HashSet<String>,
    losses: Vec<Loss>,
    /// Those that stand still: which node, until when, and the loss that it is.
    stopped: Option<(usize, u64, usize)>,
    started: u32,
}

fn nothing_hangs_or_is_lost_in_chaos() {
    let seconds = env::var("PROCESSION_TEST_CHAOS_SECONDS").map_or(20, |it| it.parse().unwrap());
    let seed = env::var("PROCESSION_TEST_SEED").map_or(now() % 1_000_000, |it| it.parse().unwrap());
    println!("chaos for {seconds} s: PROCESSION_TEST_SEED={seed}");
    let folder = Folder::new();
    let server = server();
    let mut chaos = Chaos {
        random: Random::new(seed),
        url: server.url("workers=2&lease=1&client_lease=4"),
        server,
        ledger: folder.path().join("ledger"),
        nodes: Vec::new(),
        callers: Vec::new(),
        killed: HashSet::new(),
        losses: Vec::new(),
        stopped: None,
        started: 0,
    };
    (0..3).for_each(|_| chaos.start_node());
    (0..3).for_each(|_| chaos.start_caller());
    let (_never, ends) = mpsc::channel::<()>();
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        let pause = 200 + chaos.random.below(600);
        assert!(ends.recv_timeout(Duration::from_millis(pause)).is_err());
        chaos.resume_if_due(now());
        chaos.act(&ends);
    }
    chaos.resume_if_due(u64::MAX);
    let _watchdog = watch(seed);
    for caller in &mut chaos.callers {
        drop(caller.child.stdin.take());
    }
    for caller in &mut chaos.callers {
        assert!(caller.child.wait().unwrap().success(), "{}", caller.name);
    }
    let ledger = Ledger::read(&chaos.ledger);
    let counts = ledger.audit(&chaos.losses, |client| chaos.killed.contains(client));
    let lost = |what| chaos.losses.iter().filter(|loss| loss.what == what).count();
    println!(
        "{counts:?}; lost: {} workers, {} nodes, {} servers, {} clients",
        lost(Lost::Worker),
        lost(Lost::Node),
        lost(Lost::Server),
        chaos.killed.len()
    );
    assert!(counts.get("ok").is_some_and(|count| *count > 0));
    wait_until_empty(&chaos.server);
}

/// Ends the test when it hangs.
fn watch(seed: u64) -> Sender<()> {
    let (sender, ended): (_, Receiver<()>) = mpsc::channel();
    std::thread::spawn(move || {
        if ended.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("something hangs after chaos with PROCESSION_TEST_SEED={seed}");
            std::process::abort();
        }
    });
    sender
}

impl Chaos {
    fn start_node(&mut self) {
        self.started += 1;
        let name = self.started.to_string();
        self.nodes.push(NodeProcess::start(&self.url, &name));
    }

    fn start_caller(&mut self) {
        self.started += 1;
        let name = format!("client{}", self.started);
        let seed = self.random.next();
        let (ledger, url) = (self.ledger.display(), &self.url);
        let child = Command::new(env::current_exe().unwrap())
            .env(
                "PROCESSION_TEST_CALLER",
                format!("{name} {seed} {ledger} {url}"),
            )
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        self.callers.push(Caller { name, child });
    }

    fn lose(&mut self, what: Lost, until: Option<u64>) -> usize {
        let from = now();
        self.losses.push(Loss { what, from, until });
        self.losses.len() - 1
    }

    fn act(&mut self, ends: &Receiver<()>) {
        match self.random.below(20) {
            0..8 => self.kill_a_worker(),
            8..11 => self.kill_a_node(),
            11..14 => self.stop_a_node(),
            14..16 => self.kill_the_server(ends),
            16..19 => self.kill_a_client(),
            _ => self.stop_a_client(ends),
        }
    }

    fn kill_a_worker(&mut self) {
        // Before the first task there is none.
        if !self.ledger.exists() {
            return;
        }
        let me = env::current_exe().unwrap();
        let is_a_worker = |pid: &u32| {
            let program = std::fs::read_link(format!("/proc/{pid}/exe"));
            program.is_ok_and(|program| program == me)
        };
        let workers = Ledger::read(&self.ledger).latest_workers();
        if let Some(pid) = workers.into_iter().find(is_a_worker) {
            let loss = self.lose(Lost::Worker, None);
            // It may have just ended.
            _ = kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL);
            self.losses[loss].until = Some(now());
        }
    }

    fn kill_a_node(&mut self) {
        let index = self.random.below(3) as usize;
        if self.stopped.is_some_and(|(stopped, _, _)| stopped == index) {
            return;
        }
        let loss = self.lose(Lost::Node, None);
        self.nodes[index].kill();
        self.losses[loss].until = Some(now());
        self.start_node();
        let next = self.nodes.pop().unwrap();
        self.nodes[index] = next;
    }

    fn stop_a_node(&mut self) {
        if self.stopped.is_none() {
            let index = self.random.below(3) as usize;
            let loss = self.lose(Lost::Node, None);
            self.nodes[index].stop();
            self.stopped = Some((index, now() + STANDSTILL, loss));
        }
    }

    fn resume_if_due(&mut self, time: u64) {
        if let Some((index, until, loss)) = self.stopped
            && until <= time
        {
            self.nodes[index].resume();
            self.losses[loss].until = Some(now());
            self.stopped = None;
        }
    }

    fn kill_the_server(&mut self, ends: &Receiver<()>) {
        let loss = self.lose(Lost::Server, None);
        self.server.kill();
        let pause = self.random.below(1500);
        assert!(ends.recv_timeout(Duration::from_millis(pause)).is_err());
        self.server.begin();
        self.losses[loss].until = Some(now());
    }

    fn kill_a_client(&mut self) {
        let index = self.random.below(3) as usize;
        let mut caller = self.callers.swap_remove(index);
        caller.child.kill().unwrap();
        caller.child.wait().unwrap();
        self.killed.insert(caller.name.clone());
        drop(caller);
        self.start_caller();
    }

    /// For less than its lease.
    fn stop_a_client(&mut self, ends: &Receiver<()>) {
        let index = self.random.below(3) as usize;
        let pid = pid_of(&self.callers[index].child);
        kill_process(pid, Signal::STOP).unwrap();
        assert!(ends.recv_timeout(Duration::from_millis(1000)).is_err());
        kill_process(pid, Signal::CONT).unwrap();
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
