//! Each program does what it says.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Long enough for a slow machine, short enough for a watchdog.
const SOON: Duration = Duration::from_secs(60);

/// Runs a program to its end; returns what it printed.
fn output_of(program: &str, arguments: &[&str]) -> String {
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id().to_string();
    // The output ends when none of its processes is left.
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    let output = ended.recv_timeout(SOON).unwrap_or_else(|_| {
        Command::new("kill").args(["-KILL", &pid]).status().unwrap();
        panic!("{program} hangs, or a process of it does");
    });
    let output = output.unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} ended with {}\n{told}",
        output.status
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn word_count_counts_what_is_in_files() {
    let folder = std::env::temp_dir().join(format!("word-count-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("below")).unwrap();
    std::fs::write(folder.join("one"), "the quick brown fox").unwrap();
    std::fs::write(folder.join("below/two"), "jumps, and jumps").unwrap();
    let printed = output_of(
        env!("CARGO_BIN_EXE_word_count"),
        &[folder.to_str().unwrap()],
    );
    std::fs::remove_dir_all(folder).unwrap();
    assert_eq!(printed, "5 words\n");
}

#[test]
fn plugin_host_tells_how_each_ended() {
    let expected = "square: 49\n\
                    panics: panicked: unexpected input 7\n\
                    crashes: crashed by signal 6\n\
                    exits: left in the middle\n\
                    hangs: took too long, and was killed\n\
                    greedy: wanted too much memory\n\
                    calls home: made a system call that is denied\n\
                    asks: 9\n";
    assert_eq!(output_of(env!("CARGO_BIN_EXE_plugin_host"), &[]), expected);
}

#[test]
fn pipeline_ends_with_its_input() {
    let expected = "hottest: 29 degrees in the south, 10 lines refused\n";
    assert_eq!(output_of(env!("CARGO_BIN_EXE_pipeline"), &[]), expected);
}

#[test]
fn ledger_loses_nothing() {
    let expected = "Ada has Some(20), Bob Some(80)\nrefused: Ada has only 20\n100 in all\n";
    assert_eq!(output_of(env!("CARGO_BIN_EXE_ledger"), &[]), expected);
}

/// Ends a service with the test.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn get(address: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap();
    (status.to_owned(), body.to_owned())
}

#[test]
fn service_answers_within_its_deadline() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_service"));
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut service = Service(child);
    let mut line = String::new();
    let stdout = service.0.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").unwrap();

    assert_eq!(get(address, "/primes/100"), ("200".into(), "25\n".into()));
    // What its worker has traced, written by the service.
    let mut traced = String::new();
    BufReader::new(service.0.stderr.take().unwrap())
        .read_line(&mut traced)
        .unwrap();
    for part in [
        "process{name=\"PoolWorker-",
        "primes_below{limit=100}",
        "counted count=25",
    ] {
        assert!(traced.contains(part), "{traced}");
    }
    // More at a time than there are workers, and each would take for ever.
    thread::scope(|scope| {
        let hopeless = || get(address, "/primes/18446744073709551615");
        for answer in [(); 4].map(|()| scope.spawn(hopeless)) {
            assert_eq!(answer.join().unwrap().0, "504");
        }
    });
    assert_eq!(get(address, "/primes/100"), ("200".into(), "25\n".into()));
}
