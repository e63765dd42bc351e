//! Workers of a pool.
//!
//! # Safety
//! Forked workers run this file and the engine alone, and leave by `_exit`.

#![expect(unsafe_code, reason = "fork and _exit in tests")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use procession_engine::launch::{Forked, LaunchSpec, fork_with};
use procession_engine::pool::{
    Config, Ending, Outcome, Pool, Sink, Task, TaskBytes, TaskPolicy, Worker, WorkerProcess,
    WorkerSpec, WorkerStarter,
};
use procession_engine::shm::Loans;
use procession_engine::sys::process::fork::fork;
use procession_engine::sys::steps;
use procession_engine::{ErrorKind, Result};

use crate::alone;
use crate::family::watchdog;

/// Bytes of the tasks: in the ring, and in a block.
const SIZES: [usize; 4] = [10, 3_000, 10, 100_000];

/// Starts workers; the first is killed after so many steps.
struct Starter {
    steps: u64,
    started: AtomicUsize,
}

impl WorkerStarter for Starter {
    fn start(&self, opening: WorkerSpec) -> Result<Box<dyn WorkerProcess>> {
        let orders = LaunchSpec {
            daemon: true,
            ..LaunchSpec::default()
        };
        let is_first = self.started.fetch_add(1, Ordering::SeqCst) == 0;
        // SAFETY: see the head of this file.
        match fork_with(&orders, || unsafe { fork() })? {
            Forked::Parent(child) => Ok(Box::new(child)),
            Forked::Child => {
                if is_first {
                    steps::kill_after(self.steps);
                }
                let code = i32::from(work(opening).is_err());
                // SAFETY: ends the copy without running the test's destructors.
                unsafe { libc::_exit(code) }
            }
        }
    }
}

/// Replies to each task with its own bytes.
fn work(opening: WorkerSpec) -> Result<()> {
    let mut worker = Worker::attach(opening.channel)?;
    worker.ready()?;
    while let Some(task) = worker.next(watchdog())? {
        let bytes = worker.bytes(&task).to_vec();
        worker.reply(0, &[&bytes])?;
    }
    Ok(())
}

/// What became of each task: its length, or nothing if its worker died.
#[derive(Clone, Default)]
struct Outcomes(Arc<Mutex<BTreeMap<usize, Option<usize>>>>);

impl Sink for Outcomes {
    type Token = usize;

    fn deliver(&self, outcomes: &mut dyn Iterator<Item = Outcome<'_, usize>>) {
        for outcome in outcomes {
            let got = match outcome.ending {
                Ending::Reply { body, .. } => Some(body.len()),
                Ending::Died(_) => None,
                _ => panic!("task {} was lost", outcome.token),
            };
            let before = self.0.lock().unwrap().insert(outcome.token, got);
            assert_eq!(before, None, "task {} has two outcomes", outcome.token);
        }
    }
}

/// Runs some tasks; returns how many of them died with their worker, and how many
/// workers it took.
fn run_tasks(steps: u64) -> (usize, usize) {
    let outcomes = Outcomes::default();
    let starter = Arc::new(Starter {
        steps,
        started: AtomicUsize::new(0),
    });
    let pool = Pool::new(
        Config::new(1),
        outcomes.clone(),
        Box::new(Shared(Arc::clone(&starter))),
    );
    let pool = pool.unwrap();
    for (token, size) in SIZES.into_iter().enumerate() {
        let payload = TaskBytes::new(&[&vec![token as u8; size]]).unwrap();
        let task = Task {
            token,
            payload,
            job: None,
            policy: TaskPolicy::default(),
            loans: Loans::default(),
        };
        pool.submit(task).unwrap();
    }
    let all = || outcomes.0.lock().unwrap().len() == SIZES.len();
    let deadline = watchdog();
    to_the_end(|| pool.drive(&all, deadline));
    pool.close();
    to_the_end(|| pool.join(deadline));
    let outcomes = outcomes.0.lock().unwrap();
    for (token, len) in outcomes.iter() {
        assert!(len.is_none_or(|len| len == SIZES[*token]));
    }
    let died = outcomes.values().filter(|got| got.is_none()).count();
    (died, starter.started.load(Ordering::SeqCst))
}

/// Calls again for as long as the pool comes back so that signals are looked for.
fn to_the_end(call: impl Fn() -> Result<()>) {
    while let Err(error) = call() {
        assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
    }
}

struct Shared(Arc<Starter>);

impl WorkerStarter for Shared {
    fn start(&self, opening: WorkerSpec) -> Result<Box<dyn WorkerProcess>> {
        self.0.start(opening)
    }
}

#[test]
fn a_worker_killed_at_any_step_costs_one_task_at_most() {
    let _alone = alone();
    let family = procession_engine::family().unwrap();
    run_tasks(u64::MAX - 1);
    family.reclaim_all();
    let before = family.usage();
    let mut steps = 0;
    loop {
        let (died, workers) = run_tasks(steps);
        assert!(died <= 1, "{died} tasks died");
        family.reclaim_all();
        assert_eq!(family.usage(), before, "after {steps} steps");
        if workers == 1 {
            break;
        }
        steps += 1;
    }
    assert!(steps > 10, "{steps} steps cannot be all");
    println!("a worker and {} tasks: {steps} steps", SIZES.len());
}
