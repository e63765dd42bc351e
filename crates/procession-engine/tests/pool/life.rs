//! Pools that close, end, recycle, change size, and get copied by a fork.
//!
//! # Safety
//! The forked copy only asks the pool and leaves by `_exit`.

#![expect(unsafe_code, reason = "fork in a test")]

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use procession_engine::pool::{Config, Pool, WorkerProcess, WorkerSpec, WorkerStarter};
use procession_engine::sys::process::fork::{Forked, fork};
use procession_engine::sys::process::pidfd::PidFd;
use procession_engine::{ErrorKind, Result};

use crate::workers::{
    Bench, Forker, Gate, Got, Keep, Setup, leaving_nothing, task, uninterrupted, watchdog,
};

#[test]
fn a_closed_pool_does_what_it_has_and_takes_no_more() {
    leaving_nothing(|| {
        let bench = Bench::new(2);
        for n in 0..100 {
            bench.submit(n, &[b"e"]);
        }
        bench.pool.close();
        let refused = bench.pool.submit(task(None, 1000, &[b"e"])).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Closed);
        bench.join().unwrap();
        assert_eq!(bench.count(), 100);
    });
}

#[test]
fn a_pool_that_runs_cannot_be_joined() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        let error = bench.join().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        bench.finish();
    });
}

#[test]
fn terminate_ends_busy_workers_and_fails_their_tasks() {
    leaving_nothing(|| {
        let bench = Bench::new(2);
        // One that minds SIGTERM and one that does not.
        bench.submit(1, &[b"g"]);
        bench.submit(2, &[b"T"]);
        bench.submit(3, &[b"e"]);
        bench.drive_until(&|| bench.pool.workers().iter().all(|worker| worker.load > 0));
        bench.gate.await_arrivals(2);
        let processes: Vec<PidFd> = bench
            .pids()
            .into_iter()
            .map(|pid| PidFd::open(pid).unwrap())
            .collect();
        bench.pool.terminate();
        assert!(processes.iter().all(PidFd::is_dead));
        for n in 1..=3 {
            assert_eq!(bench.got(n), Got::Ended("the pool was terminated".into()));
        }
        bench.join().unwrap();
    });
}

#[test]
fn a_thread_that_waits_for_a_pool_hears_of_its_termination() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        bench.submit(1, &[b"g"]);
        bench.gate.await_arrivals(1);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| bench.try_drive(&|| false, watchdog()));
            bench.pool.terminate();
            assert_eq!(
                waiter.join().unwrap().unwrap_err().kind(),
                ErrorKind::Closed
            );
        });
    });
}

#[test]
fn dropping_a_pool_leaves_no_worker() {
    leaving_nothing(|| {
        let bench = Bench::new(2);
        let processes: Vec<PidFd> = bench
            .pids()
            .into_iter()
            .map(|pid| PidFd::open(pid).unwrap())
            .collect();
        drop(bench);
        assert!(processes.iter().all(PidFd::is_dead));
    });
}

#[test]
fn a_worker_is_replaced_after_its_last_task() {
    leaving_nothing(|| {
        let mut config = Config::new(2);
        config.tasks_per_worker = Some(3);
        let bench = Bench::with(config, Setup::Fine).unwrap();
        for n in 0..30 {
            bench.submit(n, &[b"p"]);
        }
        bench.drive(30);
        let mut tasks_of = std::collections::BTreeMap::new();
        for n in 0..30 {
            let Got::Reply(_, pid) = bench.got(n) else {
                panic!("{:?}", bench.got(n));
            };
            *tasks_of.entry(pid).or_insert(0) += 1;
        }
        assert!(tasks_of.values().all(|&count| count <= 3), "{tasks_of:?}");
        bench.finish();
    });
}

#[test]
fn workers_have_different_places() {
    leaving_nothing(|| {
        let bench = Bench::new(3);
        let mut places: Vec<u32> = bench.pool.workers().iter().map(|w| w.index).collect();
        places.sort_unstable();
        assert_eq!(places, [0, 1, 2]);
        bench.submit(1, &[b"i"]);
        bench.drive(1);
        assert!(matches!(bench.got(1), Got::Reply(0, place) if place[0] < 3));
        bench.finish();
    });
}

#[test]
fn a_pool_grows_and_shrinks() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        bench.pool.resize(3).unwrap();
        bench.pool.start().unwrap();
        assert_eq!(bench.pool.workers().len(), 3);
        bench.pool.resize(1).unwrap();
        let workers = bench.pool.workers();
        let left = workers.iter().filter(|worker| !worker.is_ending);
        assert!(left.map(|worker| worker.index).eq([0]));
        bench.drive_until(&|| bench.pool.workers().len() == 1);
        bench.submit(1, &[b"e"]);
        bench.drive(1);
        bench.finish();
    });
}

#[test]
fn a_pool_that_shrinks_ends_no_task_that_runs() {
    leaving_nothing(|| {
        let bench = Bench::new(3);
        for n in 0..3 {
            bench.submit(n, &[b"g"]);
        }
        bench.drive_until(&|| bench.pool.workers().iter().all(|worker| worker.load > 0));
        bench.gate.await_arrivals(3);
        for n in 3..20 {
            bench.submit(n, &[b"i"]);
        }
        // Has some of them queued behind those that run.
        bench.drive_until(&|| bench.pool.workers().iter().any(|worker| worker.load > 1));
        bench.pool.resize(1).unwrap();
        assert_eq!(bench.count(), 0);
        let workers = bench.pool.workers();
        assert!(workers.iter().all(|worker| !worker.is_ending));
        let loads = workers.iter().map(|worker| (worker.index, worker.load));
        assert!(loads.filter(|&(index, _)| index > 0).eq([(1, 1), (2, 1)]));
        bench.gate.open();
        bench.drive(20);
        for n in 0..3 {
            assert_eq!(bench.got(n), Got::Reply(0, Vec::new()));
        }
        for n in 3..20 {
            assert_eq!(bench.got(n), Got::Reply(0, 0_u32.to_le_bytes().to_vec()));
        }
        bench.drive_until(&|| bench.pool.workers().len() == 1);
        bench.finish();
    });
}

#[test]
fn a_pool_that_grows_again_before_its_workers_have_ended_has_all_it_should() {
    leaving_nothing(|| {
        let bench = Bench::new(2);
        for n in 0..2 {
            bench.submit(n, &[b"g"]);
        }
        bench.drive_until(&|| bench.pool.workers().iter().all(|worker| worker.load > 0));
        bench.gate.await_arrivals(2);
        bench.pool.resize(1).unwrap();
        bench.pool.resize(2).unwrap();
        assert_eq!(bench.pool.workers().len(), 2);
        bench.gate.open();
        bench.drive(2);
        let staying = || {
            let workers = bench.pool.workers();
            workers.iter().filter(|worker| !worker.is_ending).count()
        };
        bench.drive_until(&|| staying() == 2);
        assert_eq!(bench.started.load(Ordering::SeqCst), 3);
        bench.finish();
    });
}

#[test]
fn only_a_pool_that_runs_is_resized_and_never_to_nothing() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        let error = bench.pool.resize(0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        bench.pool.close();
        let error = bench.pool.resize(2).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        bench.join().unwrap();
    });
}

#[test]
fn a_pool_of_none_is_refused() {
    leaving_nothing(|| {
        let error = Bench::with(Config::new(0), Setup::Fine).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    });
}

#[test]
fn a_forked_copy_of_a_pool_is_inert() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        bench.submit(1, &[b"g"]);
        // SAFETY: see the head of this file.
        match unsafe { fork() }.unwrap() {
            Forked::Child => {
                let refused = bench.pool.submit(task(None, 2, &[b"e"])).unwrap_err();
                let mut right = refused.kind() == ErrorKind::NotOwner;
                bench.pool.terminate();
                drop(bench.pool);
                right &= bench
                    .results
                    .count
                    .load(std::sync::atomic::Ordering::SeqCst)
                    == 0;
                // SAFETY: ends the copy.
                unsafe { libc::_exit(i32::from(!right)) };
            }
            Forked::Parent(pid) => {
                let copy = PidFd::open(pid).unwrap();
                assert!(copy.wait(watchdog()).unwrap());
                assert!(copy.reap().unwrap().unwrap().is_success());
            }
        }
        bench.gate.open();
        bench.drive(1);
        assert_eq!(bench.got(1), Got::Reply(0, vec![]));
        bench.finish();
    });
}

#[test]
fn terminating_busy_workers_takes_no_grace_period() {
    leaving_nothing(|| {
        let bench = Bench::new(2);
        bench.submit(1, &[b"T"]);
        bench.gate.await_arrivals(1);
        let begin = Instant::now();
        bench.pool.terminate();
        // The worker ignores SIGTERM: the mercy was given, at least.
        assert!(begin.elapsed() >= Duration::from_millis(20));
    });
}

/// Starts two workers at once, and neither before the other.
struct AtOnce {
    forker: Forker,
    both: Arc<Barrier>,
}

impl WorkerStarter for AtOnce {
    fn start(&self, spec: WorkerSpec) -> Result<Box<dyn WorkerProcess>> {
        self.both.wait();
        self.forker.start(spec)
    }
}

#[test]
fn workers_that_two_threads_start_at_once_have_indices_of_their_own() {
    leaving_nothing(|| {
        let forker = Forker {
            gate: Gate::new(),
            setup: Setup::Fine,
            started: Arc::default(),
        };
        let starter = AtOnce {
            forker,
            both: Arc::new(Barrier::new(2)),
        };
        let pool = Pool::without_workers(Config::new(2), Keep::default(), Box::new(starter));
        let pool = pool.unwrap();
        std::thread::scope(|threads| {
            threads.spawn(|| pool.start().unwrap());
            pool.start().unwrap();
        });
        let mut indices: Vec<_> = pool.workers().iter().map(|worker| worker.index).collect();
        indices.sort_unstable();
        assert_eq!(indices, [0, 1]);
        pool.close();
        uninterrupted(|| pool.join(watchdog())).unwrap();
    });
}

/// Holds up the first start after those of the pool's making, until it is let go.
struct HeldUp {
    forker: Forker,
    at_start: Sender<()>,
    go: Mutex<Receiver<()>>,
}

impl WorkerStarter for HeldUp {
    fn start(&self, spec: WorkerSpec) -> Result<Box<dyn WorkerProcess>> {
        self.at_start.send(()).unwrap();
        self.go.lock().unwrap().recv().unwrap();
        self.forker.start(spec)
    }
}

#[test]
fn who_starts_workers_has_those_that_another_thread_was_starting() {
    leaving_nothing(|| {
        let forker = Forker {
            gate: Gate::new(),
            setup: Setup::Fine,
            started: Arc::default(),
        };
        let (at_start, begun) = channel();
        let (let_go, go) = channel();
        let starter = HeldUp {
            forker,
            at_start,
            go: Mutex::new(go),
        };
        let pool = Pool::without_workers(Config::new(1), Keep::default(), Box::new(starter));
        let pool = pool.unwrap();
        std::thread::scope(|threads| {
            threads.spawn(|| pool.start().unwrap());
            begun.recv().unwrap();
            let (tell, told) = channel();
            let pool = &pool;
            threads.spawn(move || {
                pool.start().unwrap();
                tell.send(pool.workers().len()).unwrap();
            });
            // It tells nothing until the other thread is let go.
            assert!(told.recv_timeout(Duration::from_millis(20)).is_err());
            let_go.send(()).unwrap();
            assert_eq!(told.recv().unwrap(), 1);
        });
        pool.close();
        uninterrupted(|| pool.join(watchdog())).unwrap();
    });
}
