//! Forked workers that do what a task's first byte says, and a sink that keeps
//! what became of each task.
//!
//! # Safety
//! Forked workers run this file and the engine alone, and leave by `_exit`.

#![expect(unsafe_code, reason = "fork, kill and _exit in tests")]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use procession_engine::launch::{Forked, LaunchSpec, fork_with};
use procession_engine::pool::{
    Config, Ending, Job, Outcome, Pool, PoolEnd, Sink, Source, SourceStatus, Task, TaskBytes,
    TaskPolicy, Worker, WorkerProcess, WorkerSpec, WorkerStarter,
};
use procession_engine::shm::{Block, Loans, SharedObject};
use procession_engine::sys::primitive::{futex_wait, futex_wake};
use procession_engine::sys::process::fork::fork;
use procession_engine::sys::wait::time::Deadline;
use procession_engine::{ErrorKind, Result};

/// Leftovers are counted, and forks copy what other tests have: one at a time.
static ALONE: Mutex<()> = Mutex::new(());

pub fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a test waits before it says that something hangs.
pub fn watchdog() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

/// A word that processes wait on until the test opens it, and counters.
#[derive(Clone)]
pub struct Gate(SharedObject<[AtomicU32; 4]>);

impl Gate {
    pub fn new() -> Self {
        Self(SharedObject::create(procession_engine::family().unwrap(), 0).unwrap())
    }

    fn words(&self) -> &[AtomicU32; 4] {
        self.0.body()
    }

    pub fn open(&self) {
        self.words()[0].store(1, Ordering::SeqCst);
        futex_wake(&self.words()[0], u32::MAX);
    }

    fn pass(&self) {
        self.words()[1].fetch_add(1, Ordering::SeqCst);
        futex_wake(&self.words()[1], u32::MAX);
        while self.words()[0].load(Ordering::SeqCst) == 0 {
            futex_wait(&self.words()[0], 0, watchdog());
        }
    }

    /// Comes to the gate, and stays until the process is killed.
    fn stay(&self) {
        self.words()[1].fetch_add(1, Ordering::SeqCst);
        futex_wake(&self.words()[1], u32::MAX);
        let deadline = watchdog();
        while !deadline.has_passed() {
            futex_wait(&self.words()[3], 0, deadline);
        }
    }

    /// Counts; returns how often it was called before, by whatever process.
    fn count(&self) -> u32 {
        self.words()[2].fetch_add(1, Ordering::SeqCst)
    }

    /// Returns how often [`count`](Self::count) was called.
    pub fn counted(&self) -> u32 {
        self.words()[2].load(Ordering::SeqCst)
    }

    /// Blocks until `count` processes have come to the gate.
    pub fn await_arrivals(&self, count: u32) {
        let deadline = watchdog();
        loop {
            let now = self.words()[1].load(Ordering::SeqCst);
            if now >= count {
                return;
            }
            futex_wait(&self.words()[1], now, deadline);
            assert!(!deadline.has_passed());
        }
    }
}

/// What a worker does before it takes tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    Fine,
    Fails,
    Dies,
}

pub struct Forker {
    pub gate: Gate,
    pub setup: Setup,
    pub started: Arc<AtomicUsize>,
}

impl WorkerStarter for Forker {
    fn start(&self, opening: WorkerSpec) -> Result<Box<dyn WorkerProcess>> {
        let orders = LaunchSpec {
            name: format!("worker {}", opening.index),
            daemon: true,
            ..LaunchSpec::default()
        };
        self.started.fetch_add(1, Ordering::SeqCst);
        // SAFETY: see the head of this file.
        match fork_with(&orders, || unsafe { fork() })? {
            Forked::Parent(child) => Ok(Box::new(child)),
            Forked::Child => {
                let work = AssertUnwindSafe(|| work(opening, &self.gate, self.setup));
                let code = catch_unwind(work).unwrap_or(101);
                exit(code)
            }
        }
    }
}

fn exit(code: i32) -> ! {
    // SAFETY: ends the copy without running the test's destructors.
    unsafe { libc::_exit(code) }
}

pub fn die_by(signal: i32) {
    // SAFETY: ends this process at once.
    unsafe { libc::raise(signal) };
}

fn work(opening: WorkerSpec, gate: &Gate, setup: Setup) -> i32 {
    let mut worker = Worker::attach(opening.channel).unwrap();
    match setup {
        Setup::Fine => worker.ready().unwrap(),
        Setup::Fails => {
            worker.failed(b"no such module").unwrap();
            return 1;
        }
        Setup::Dies => die_by(libc::SIGKILL),
    }
    let mut kept: Vec<Block> = Vec::new();
    let mut job = None;
    loop {
        let task = match worker.next(Deadline::NEVER) {
            Ok(Some(task)) => task,
            Ok(None) => return 0,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return 3,
        };
        if task.job().is_some() && job.as_ref().map(|(id, _)| *id) != task.job() {
            job = task.job().map(|id| (id, worker.prologue(&task).to_vec()));
        }
        let bytes = worker.bytes(&task).to_vec();
        let rest = &bytes[1..];
        match bytes[0] {
            b'e' => worker.reply(7, &[rest]).unwrap(),
            b'j' => {
                let (_, prologue) = job.as_ref().unwrap();
                worker.reply(0, &[prologue, rest]).unwrap();
            }
            b'i' => {
                let index = worker.index().to_le_bytes();
                worker.reply(0, &[&index]).unwrap();
            }
            b'p' => {
                let pid = std::process::id().to_le_bytes();
                worker.reply(0, &[&pid]).unwrap();
            }
            b'k' => die_by(libc::SIGKILL),
            b'n' => {
                // Dies the first few times.
                if gate.count() < u32::from(rest[0]) {
                    die_by(libc::SIGKILL);
                }
                worker.reply(0, &[rest]).unwrap();
            }
            b'x' => exit(i32::from(rest[0])),
            b'g' => {
                gate.pass();
                worker.reply(0, &[rest]).unwrap();
            }
            b's' => gate.stay(),
            b'c' => {
                let block = worker.claim(&task).unwrap();
                let sum: u64 = block[..task.len() as usize]
                    .iter()
                    .copied()
                    .map(u64::from)
                    .sum();
                kept.push(block);
                worker.reply(0, &[&sum.to_le_bytes()]).unwrap();
            }
            b'C' => {
                kept.push(worker.claim(&task).unwrap());
                die_by(libc::SIGKILL);
            }
            b'd' => {
                // Publishes a long result and dies right after.
                worker.reply(0, &[&vec![9; 100_000]]).unwrap();
                die_by(libc::SIGKILL);
            }
            b'T' => {
                // SAFETY: a plain choice of what a signal does.
                unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
                gate.pass();
                worker.reply(0, &[]).unwrap();
            }
            other => panic!("no such task: {other}"),
        }
    }
}

/// What became of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    Reply(u8, Vec<u8>),
    Died(u32, Option<i32>),
    /// After so many deaths.
    GivenUp(u32),
    TimedOut(Duration),
    Cancelled,
    Lost(String),
    Ended(String),
}

#[derive(Default)]
pub struct Results {
    pub got: Mutex<BTreeMap<u64, Got>>,
    pub count: AtomicUsize,
    /// Tasks in the order in which they ended.
    pub order: Mutex<Vec<u64>>,
}

#[derive(Clone, Default)]
pub struct Keep(pub Arc<Results>);

impl Sink for Keep {
    type Token = u64;

    fn deliver(&self, outcomes: &mut dyn Iterator<Item = Outcome<'_, u64>>) {
        for outcome in outcomes {
            let got = match outcome.ending {
                Ending::Reply { code, body, .. } => Got::Reply(code, body.to_vec()),
                Ending::Died(death) if death.deaths > 1 => Got::GivenUp(death.deaths),
                Ending::TimedOut(overrun) => Got::TimedOut(overrun.limit),
                Ending::Cancelled => Got::Cancelled,
                Ending::Died(death) => {
                    Got::Died(death.pid, death.status.map(|status| status.code()))
                }
                Ending::Lost(error) => Got::Lost(error.to_string()),
                Ending::Ended(end) => Got::Ended(end.to_string()),
            };
            self.0.order.lock().unwrap().push(outcome.token);
            let twice = self.0.got.lock().unwrap().insert(outcome.token, got);
            assert_eq!(twice, None, "task {} has two outcomes", outcome.token);
            self.0.count.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// A pool and all that the tests want to see of it.
pub struct Bench {
    pub pool: Pool<Keep>,
    pub results: Arc<Results>,
    pub gate: Gate,
    pub started: Arc<AtomicUsize>,
}

impl Bench {
    pub fn new(size: usize) -> Self {
        Self::with(Config::new(size), Setup::Fine).unwrap()
    }

    pub fn with(config: Config, setup: Setup) -> Result<Self> {
        let keep = Keep::default();
        let results = Arc::clone(&keep.0);
        let gate = Gate::new();
        let started = Arc::new(AtomicUsize::new(0));
        let starter = Forker {
            gate: gate.clone(),
            setup,
            started: Arc::clone(&started),
        };
        let pool = Pool::new(config, keep, Box::new(starter))?;
        Ok(Self {
            pool,
            results,
            gate,
            started,
        })
    }

    pub fn submit(&self, token: u64, parts: &[&[u8]]) {
        self.submit_of(None, token, parts);
    }

    pub fn submit_of(&self, job: Option<Job>, token: u64, parts: &[&[u8]]) {
        self.pool.submit(task(job, token, parts)).unwrap();
    }

    pub fn submit_on(&self, policy: TaskPolicy, token: u64, parts: &[&[u8]]) {
        let task = task(None, token, parts);
        self.pool.submit(Task { policy, ..task }).unwrap();
    }

    pub fn count(&self) -> usize {
        self.results.count.load(Ordering::SeqCst)
    }

    /// Drives until so many tasks have an outcome.
    pub fn drive(&self, count: usize) {
        self.drive_until(&|| self.count() >= count);
    }

    pub fn drive_until(&self, done: &dyn Fn() -> bool) {
        if let Err(error) = self.try_drive(done, watchdog()) {
            panic!("{error} with {} outcomes; {:?}", self.count(), self.pool);
        }
    }

    /// Drives the pool, through interrupts, until `done` or the deadline.
    pub fn try_drive(&self, done: &dyn Fn() -> bool, deadline: Deadline) -> Result<()> {
        uninterrupted(|| self.pool.drive(done, deadline))
    }

    pub fn got(&self, token: u64) -> Got {
        self.results.got.lock().unwrap()[&token].clone()
    }

    pub fn pids(&self) -> Vec<u32> {
        self.pool
            .workers()
            .iter()
            .map(|worker| worker.pid)
            .collect()
    }

    /// Closes the pool, waits for its end and checks that nothing is left.
    pub fn finish(self) {
        self.pool.close();
        self.join().unwrap();
        assert_eq!(self.pids(), []);
    }

    /// Waits for the pool's end, through interrupts.
    pub fn join(&self) -> Result<()> {
        let deadline = watchdog();
        uninterrupted(|| self.pool.join(deadline))
    }
}

/// Calls what ends when a signal arrives, or may have, until it ends otherwise.
pub fn uninterrupted(call: impl Fn() -> Result<()>) -> Result<()> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

pub fn task(job: Option<Job>, token: u64, parts: &[&[u8]]) -> Task<u64> {
    Task {
        token,
        payload: TaskBytes::new(parts).unwrap(),
        job,
        policy: TaskPolicy::default(),
        loans: Loans::default(),
    }
}

/// Makes short tasks for ever, or until it is cancelled.
#[derive(Default)]
pub struct Endless {
    made: u64,
    pub cancelled: Arc<AtomicBool>,
    /// Set when it was told that it was cancelled.
    pub told: Arc<AtomicBool>,
}

impl Endless {
    /// The first of its tasks.
    pub const FIRST: u64 = 1_000_000;
}

impl Source<u64> for Endless {
    fn fill(&mut self, tasks: &mut Vec<Task<u64>>, most: usize) -> SourceStatus {
        for _ in 0..most {
            tasks.push(task(None, Self::FIRST + self.made, &[b"e"]));
            self.made += 1;
        }
        SourceStatus::More
    }

    fn end(self: Box<Self>, _end: &PoolEnd) {}

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    fn cancel(self: Box<Self>) {
        self.told.store(true, Ordering::SeqCst);
    }
}

/// Runs `test` and checks that the arena holds as much after it as before.
pub fn leaving_nothing(test: impl FnOnce()) {
    let _alone = alone();
    // The first fork opens what stays open.
    Bench::new(1).finish();
    let family = procession_engine::family().unwrap();
    procession_engine_sweep();
    let before = family.usage();
    test();
    procession_engine_sweep();
    assert_eq!(family.usage(), before);
}

/// Members that ended are reclaimed by whoever starts the next; do it now.
fn procession_engine_sweep() {
    procession_engine::family().unwrap().reclaim_all();
}
