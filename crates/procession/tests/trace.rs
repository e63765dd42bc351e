//! A trace of a whole family, read back.

#![expect(unsafe_code, reason = "starts by fork")]

mod alone;
mod watchdog;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::time::Duration;

use alone::alone;
use procession::{Event, Lock, Pool, Process, Queue, StartMethod, trace};
use serde::Deserialize;
use watchdog::watch;

/// Long enough for a slow machine, short enough for a watchdog.
const SOON: Duration = Duration::from_secs(60);

const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::ForkServer];

/// An event, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Line {
    name: String,
    ph: String,
    cat: String,
    ts: f64,
    dur: Option<f64>,
    pid: u32,
    tid: u32,
    args: LineArgs,
}

#[derive(Debug, Deserialize)]
struct LineArgs {
    name: Option<String>,
    exitcode: Option<i32>,
    unfinished: Option<String>,
    failed: Option<bool>,
    tasks: Option<u64>,
    put: Option<u64>,
    got: Option<u64>,
    dropped: Option<u64>,
}

/// Traces what `work` does.
fn traced<T>(name: &str, work: impl FnOnce() -> T) -> (T, Vec<Line>) {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{{pid}}.json"));
    let trace = trace(path).unwrap();
    let file = trace.path().to_owned();
    let result = work();
    trace.end().unwrap();
    let lines = read(&file);
    fs::remove_file(file).unwrap();
    (result, lines)
}

fn read(path: &Path) -> Vec<Line> {
    let text = fs::read_to_string(path).unwrap();
    let inner = text.strip_prefix("{\"traceEvents\":[\n").unwrap();
    let inner = inner.strip_suffix("\n]}\n").unwrap();
    let lines = inner.split(",\n").map(|line| {
        let (event, len) = serde_json_core::from_str::<Line>(line).expect(line);
        assert_eq!(len, line.len());
        event
    });
    lines.collect()
}

fn find<'a>(lines: &'a [Line], pid: u32, ph: &str, cat: &str) -> Vec<&'a Line> {
    let is_it = |line: &&Line| (line.pid, &*line.ph, &*line.cat) == (pid, ph, cat);
    lines.iter().filter(is_it).collect()
}

/// Returns the begin and the end of a process.
fn life(lines: &[Line], pid: u32) -> (&Line, &Line) {
    let (begins, ends) = (
        find(lines, pid, "B", "process"),
        find(lines, pid, "E", "process"),
    );
    assert_eq!((begins.len(), ends.len()), (1, 1));
    assert!(begins[0].ts <= ends[0].ts);
    (begins[0], ends[0])
}

fn name_of(lines: &[Line], pid: u32) -> &str {
    let names = find(lines, pid, "M", "process");
    names.last().unwrap().args.name.as_deref().unwrap()
}

fn double(number: u64) -> u64 {
    number * 2
}

fn hang(ready: Event) {
    ready.set();
    Event::new().unwrap().wait().unwrap();
}

fn refuse(_: u64) {
    panic!("on purpose");
}

fn take((lock, ready): (Lock, Event)) {
    ready.set();
    drop(lock.lock().unwrap());
}

#[test]
fn tasks_are_told_with_their_functions_and_what_a_killed_worker_did_last() {
    let (_watchdog, _alone) = (watch(), alone());
    for method in METHODS {
        let ((victim, workers), lines) = traced("tasks", || {
            let pool = Pool::builder()
                .workers(1)
                .start_method(method)
                .start()
                .unwrap();
            assert_eq!(pool.map(double, 0..10).unwrap()[9], 18);
            assert!(pool.apply(refuse, 1).unwrap_err().is_panic());
            let ready = Event::new().unwrap();
            let running = pool.apply_async(hang, ready.clone()).unwrap();
            assert!(ready.wait_timeout(SOON).unwrap());
            let victim = pool.workers()[0].pid;
            assert!(running.kill().unwrap());
            assert_eq!(pool.apply(double, 2).unwrap(), 4);
            let workers = [victim, pool.workers()[0].pid];
            (victim, workers)
        });
        let tasks = |pid| find(&lines, pid, "X", "task");
        let count = |pid: &u32| {
            let doubles = tasks(*pid)
                .into_iter()
                .filter(|task| task.name.ends_with("double"));
            doubles
                .map(|task| task.args.tasks.unwrap_or(1))
                .sum::<u64>()
        };
        assert!(count(&victim) >= 1);
        assert_eq!(count(&workers[1]), 1);
        let refused = tasks(victim)
            .into_iter()
            .find(|task| task.name.ends_with("refuse"));
        assert_eq!(refused.unwrap().args.failed, Some(true));
        let last = tasks(victim)
            .into_iter()
            .find(|task| task.name.ends_with("hang"))
            .unwrap();
        assert!(last.args.unfinished.as_ref().unwrap().contains("died"));
        let (begin, end) = life(&lines, victim);
        assert_eq!(end.args.exitcode, Some(-9));
        assert!(begin.ts <= last.ts && last.ts + last.dur.unwrap() <= end.ts + 0.001);
        assert_eq!(find(&lines, victim, "i", "death").len(), 1);
        let complete = lines.last().unwrap();
        assert_eq!(complete.args.dropped, Some(0));
    }
}

/// Starts a process that takes a lock, by fork if no method is named, and kills it while it
/// waits for that.
fn kill_while_it_waits(method: Option<StartMethod>) -> u32 {
    let (lock, ready) = (Lock::new().unwrap(), Event::new().unwrap());
    let held = lock.lock().unwrap();
    let arguments = (lock.clone(), ready.clone());
    let process = Process::new(take).name("the-waiter");
    let child = match method {
        Some(method) => process.start_method(method).args(arguments).start(),
        // SAFETY: the child uses nothing of what other threads have.
        None => unsafe { process.args(arguments).start_by_fork() },
    };
    let child = child.unwrap();
    assert!(ready.wait_timeout(SOON).unwrap());
    while !format!("{:?}", child.state().unwrap()).contains("lock #") {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    let pid = child.pid();
    assert!(child.join().unwrap_err().is_died());
    drop(held);
    pid
}

#[test]
fn waits_are_told_with_what_they_are_for_and_queues_with_their_counts() {
    let (_watchdog, _alone) = (watch(), alone());
    for method in [
        None,
        Some(StartMethod::Spawn),
        Some(StartMethod::ForkServer),
    ] {
        let (pid, lines) = traced("waits", || {
            let queue = Queue::new().unwrap();
            queue.put(1_u8).unwrap();
            queue.put(2).unwrap();
            assert_eq!(queue.get().unwrap(), 1);
            kill_while_it_waits(method)
        });
        assert_eq!(name_of(&lines, pid), "the-waiter");
        let begins = find(&lines, pid, "B", "wait");
        let ends = find(&lines, pid, "E", "wait");
        let (begin, end) = (begins.last().unwrap(), ends.last().unwrap());
        assert!(begin.name.starts_with("waits for lock #"));
        assert_eq!((&begin.name, begin.tid), (&end.name, end.tid));
        assert!(end.args.unfinished.as_ref().unwrap().contains("died"));
        assert_eq!(life(&lines, pid).1.args.exitcode, Some(-9));
        let me = process::id();
        let counts = find(&lines, me, "C", "queue");
        let last = counts.last().unwrap();
        assert_eq!((last.args.put, last.args.got), (Some(2), Some(1)));
        assert!(life(&lines, me).1.args.unfinished.is_some());
    }
}

#[test]
fn a_second_trace_is_refused_and_a_dropped_one_has_ended() {
    let (_watchdog, _alone) = (watch(), alone());
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let first = trace(folder.join("first-{pid}.json")).unwrap();
    let error = trace(folder.join("second-{pid}.json")).unwrap_err();
    assert!(error.is_invalid());
    assert!(error.to_string().contains(&process::id().to_string()));
    let file = first.path().to_owned();
    drop(first);
    assert_eq!(read(&file).last().unwrap().name, "trace_complete");
    fs::remove_file(file).unwrap();
}

/// What the test below runs in a program of its own.
#[procession::test]
#[ignore = "the next test runs it"]
fn the_environment_asks() {
    let pool = Pool::new(1).unwrap();
    assert_eq!(pool.map(double, 0..10).unwrap()[9], 18);
    println!("worker {}", pool.workers()[0].pid);
}

#[test]
fn the_environment_has_a_program_traced_until_it_exits() {
    let _watchdog = watch();
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("environment.json");
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program)
        .args([
            "--exact",
            "the_environment_asks",
            "--ignored",
            "--nocapture",
        ])
        .env("PROCESSION_TRACE", &file)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let (_, after) = text.split_once("worker ").unwrap();
    let digits = after.split_whitespace().next().unwrap();
    let worker = digits.parse().unwrap();
    let lines = read(&file);
    let tasks = find(&lines, worker, "X", "task");
    let counts = tasks.iter().map(|task| task.args.tasks.unwrap_or(1));
    assert_eq!(counts.sum::<u64>(), 10);
    assert!(tasks.iter().all(|task| task.name.ends_with("double")));
    assert_eq!(life(&lines, worker).1.args.exitcode, Some(0));
    fs::remove_file(file).unwrap();
}
