//! A client that is a process of its own, and can be killed.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use procession::Error;
use rustix::process::{Signal, kill_process};

use crate::nodes::{pid_of, pool, wait_at};

/// How many tasks it ships; they wait at the gate.
pub const TASKS: u64 = 50;

/// A client, which is killed when it is dropped.
pub struct ClientProcess {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl ClientProcess {
    /// Starts one, and waits until it has shipped its tasks.
    pub fn start(url: &str, gate: u16) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env("PROCESSION_TEST_CLIENT", format!("{gate} {url}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut client = Self { child, lines };
        assert_eq!(client.line(), "shipped");
        client
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("it has not ended").unwrap()
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it.
    pub fn stop(&self) {
        kill_process(pid_of(&self.child), Signal::STOP).unwrap();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        kill_process(pid_of(&self.child), Signal::CONT).unwrap();
    }

    /// Waits for what its calls return.
    pub fn results(&mut self) -> Vec<String> {
        (0..TASKS).map(|_| self.line()).collect()
    }

    /// Has it call once more, and waits for what that returns.
    pub fn call_once_more(&mut self) -> String {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(b"\n").unwrap();
        self.line()
    }

    /// Has it end in order.
    pub fn close(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for ClientProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ships tasks, and says what becomes of them; then calls again when it is told to.
pub fn be_one(what: &str) {
    let (gate, url) = what.split_once(' ').unwrap();
    let gate: u16 = gate.parse().unwrap();
    let pool = pool(url);
    let task = |n| pool.apply_async(wait_at, (gate, n)).unwrap();
    let tasks: Vec<_> = (1..TASKS).map(task).collect();
    let large = pool.apply_async(|bytes: Vec<u8>| bytes.len(), vec![7; 3 << 20]);
    let large = large.unwrap();
    println!("shipped");
    for task in tasks {
        println!("{}", told(task.get()));
    }
    println!("{}", told(large.get()));
    for _line in std::io::stdin().lines() {
        println!("{}", told(pool.apply(|n: u64| n, 1)));
    }
}

fn told<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(error) if error.is_closed() => format!("closed: {error}"),
        Err(error) => format!("another error: {error}"),
    }
}
