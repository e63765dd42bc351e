//! A client in chaos: it calls, and writes down what it called and what became of it.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use procession::{AsyncResult, Error, Pool, Result};
use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};

use crate::ledger;

/// How many calls are out at a time.
const OUT: usize = 6;

/// What a task does.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Kind {
    Short,
    Long(u64),
    Large,
    Deadly,
}

/// Numbers that follow from a seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next.
    pub fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns the next, below a limit.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// What a task does; it returns as many bytes as it got.
fn work(ledger: String, name: String, kind: Kind, bytes: Vec<u8>) -> Vec<u8> {
    ledger::write(&ledger, &format!("run {name} {}", std::process::id()));
    match kind {
        Kind::Short | Kind::Large => {}
        Kind::Long(milliseconds) => {
            let (_never, ends) = mpsc::channel::<()>();
            let _ = ends.recv_timeout(Duration::from_millis(milliseconds));
        }
        Kind::Deadly => kill_process(getpid(), Signal::KILL).unwrap(),
    }
    bytes
}

struct Out {
    name: String,
    length: usize,
    result: AsyncResult<Vec<u8>>,
}

/// Calls until its standard input ends.
pub fn be_one(what: &str) {
    let words: Vec<&str> = what.splitn(4, ' ').collect();
    let [me, seed, ledger, url] = words[..] else {
        panic!("{what}");
    };
    let mut random = Random::new(seed.parse().unwrap());
    let is_over = Arc::new(AtomicBool::new(false));
    let told = is_over.clone();
    std::thread::spawn(move || {
        // It ends, or fails; nothing comes.
        let _ = std::io::stdin().read(&mut [0]);
        told.store(true, Ordering::Relaxed);
    });
    let pool = connect(url);
    let mut out = VecDeque::new();
    let mut count = 0;
    while !is_over.load(Ordering::Relaxed) {
        count += 1;
        out.push_back(call(&pool, &mut random, ledger, format!("{me}-{count}")));
        if out.len() == OUT {
            finish(ledger, out.pop_front().unwrap());
        }
    }
    out.into_iter().for_each(|out| finish(ledger, out));
}

/// Connects, also while the server is away.
fn connect(url: &str) -> Pool {
    loop {
        match procession_nats::connect(url).and_then(Pool::on) {
            Ok(pool) => return pool,
            Err(error) => assert!(error.is_unavailable(), "{error}"),
        }
    }
}

fn call(pool: &Pool, random: &mut Random, ledger: &str, name: String) -> Out {
    let kind = match random.below(20) {
        0..9 => Kind::Short,
        9..18 => Kind::Long(1 + random.below(150)),
        18 => Kind::Large,
        _ => Kind::Deadly,
    };
    let retries = [0, 0, 2][random.below(3) as usize];
    let length = match kind {
        Kind::Large => 1_500_000,
        _ => 100,
    };
    ledger::write(ledger, &format!("begin {name} {retries} {}", named(kind)));
    let task = (ledger.to_owned(), name.clone(), kind, vec![7; length]);
    let calls = pool.retries(retries);
    let result = calls.apply_async(
        |(ledger, name, kind, bytes)| work(ledger, name, kind, bytes),
        task,
    );
    Out {
        name,
        length,
        result: result.unwrap(),
    }
}

fn named(kind: Kind) -> &'static str {
    match kind {
        Kind::Short => "Short",
        Kind::Long(_) => "Long",
        Kind::Large => "Large",
        Kind::Deadly => "Deadly",
    }
}

fn finish(ledger: &str, out: Out) {
    let outcome = told(out.result.get(), out.length);
    ledger::write(ledger, &format!("end {} {outcome}", out.name));
}

fn told(result: Result<Vec<u8>>, length: usize) -> String {
    let died = Error::is_died;
    match result {
        Ok(bytes) if bytes.len() == length => "ok".to_owned(),
        Ok(bytes) => format!("{} bytes in place of {length}", bytes.len()),
        Err(error) if error.is_node_lost() => "lost".to_owned(),
        Err(error) if died(&error) => "died".to_owned(),
        Err(error) => format!("another error: {error}").replace('\n', " "),
    }
}
