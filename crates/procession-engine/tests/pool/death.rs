//! Workers that die cost the task they were running, and nothing else.

use procession_engine::pool::{Config, Restarts};
use procession_engine::sys::process::pidfd::PidFd;

use crate::workers::{Bench, Got, Setup, leaving_nothing};

fn kill(pid: u32) {
    PidFd::open(pid)
        .unwrap()
        .send_signal(libc::SIGKILL)
        .unwrap();
}

#[test]
fn a_killed_worker_fails_its_task_alone() {
    leaving_nothing(|| {
        let bench = Bench::new(2);
        for n in 0..12 {
            bench.submit(n, if n == 3 { &[b"k"] } else { &[b"e"] });
        }
        bench.drive(12);
        for n in 0..12 {
            match bench.got(n) {
                Got::Died(pid, status) => {
                    assert_eq!(n, 3);
                    assert_ne!(pid, 0);
                    assert_eq!(status, Some(-libc::SIGKILL));
                }
                got => assert_eq!(got, Got::Reply(7, vec![])),
            }
        }
        assert!(matches!(bench.got(3), Got::Died(..)));
        bench.finish();
    });
}

#[test]
fn an_exit_in_a_task_is_reported_with_its_code() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        bench.submit(1, &[b"x", &[42]]);
        bench.submit(2, &[b"e"]);
        bench.drive(2);
        assert!(matches!(bench.got(1), Got::Died(_, Some(42))));
        assert_eq!(bench.got(2), Got::Reply(7, vec![]));
        bench.finish();
    });
}

#[test]
fn tasks_that_were_only_queued_run_elsewhere_in_their_order() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        // Short tasks first, so that many are queued.
        for n in 0..1000 {
            bench.submit(n, &[b"e"]);
        }
        bench.drive(1000);
        bench.submit(1000, &[b"g"]);
        for n in 1001..1100 {
            bench.submit(n, &[b"e", &[0; 100]]);
        }
        bench.gate.await_arrivals(1);
        kill(bench.pids()[0]);
        bench.drive(1100);
        assert!(matches!(bench.got(1000), Got::Died(_, Some(-9))));
        let order = bench.results.order.lock().unwrap().clone();
        assert!(order[1000..].is_sorted(), "{:?}", &order[1000..]);
        bench.finish();
    });
}

#[test]
fn what_was_published_before_the_death_arrives() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        for n in 0..20 {
            bench.submit(n, &[b"d"]);
        }
        bench.drive(20);
        for n in 0..20 {
            assert_eq!(bench.got(n), Got::Reply(0, vec![9; 100_000]));
        }
        bench.finish();
    });
}

#[test]
fn a_death_with_a_claimed_block_loses_nothing_else() {
    leaving_nothing(|| {
        let bench = Bench::new(2);
        let mut claims = vec![0; 50_000];
        claims[0] = b'C';
        let mut plain = vec![0; 50_000];
        plain[0] = b'e';
        for n in 0..20 {
            bench.submit(n, &[if n % 2 == 0 { &claims } else { &plain }]);
        }
        bench.drive(20);
        for n in 0..20 {
            assert_eq!(matches!(bench.got(n), Got::Died(..)), n % 2 == 0);
        }
        bench.finish();
    });
}

#[test]
fn a_task_that_always_kills_does_not_end_the_pool() {
    leaving_nothing(|| {
        let bench = Bench::new(2);
        for n in 0..60 {
            bench.submit(n, &[b"k"]);
        }
        bench.submit(60, &[b"e"]);
        bench.drive(61);
        assert_eq!(bench.got(60), Got::Reply(7, vec![]));
        bench.finish();
    });
}

#[test]
fn an_initializer_that_fails_ends_the_pool_with_its_reason() {
    leaving_nothing(|| {
        let bench = Bench::with(Config::new(2), Setup::Fails).unwrap();
        let _ = bench.pool.submit(crate::workers::task(None, 1, &[b"e"]));
        bench.drive(1);
        assert_eq!(
            bench.got(1),
            Got::Ended("a worker's initializer failed".into())
        );
        let end = bench.pool.end().unwrap();
        let reason = match &*end {
            procession_engine::pool::PoolEnd::Initializer(reason) => reason.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(reason, b"no such module");
        assert_eq!(bench.started.load(std::sync::atomic::Ordering::SeqCst), 2);
        assert_eq!(bench.pids(), []);
    });
}

#[test]
fn workers_that_never_get_ready_end_the_pool() {
    leaving_nothing(|| {
        let bench = Bench::with(Config::new(2), Setup::Dies).unwrap();
        bench.submit(1, &[b"e"]);
        bench.drive(1);
        match bench.got(1) {
            Got::Ended(why) => assert_eq!(
                why,
                "3 workers in a row ended before they were ready; the last one was killed by SIGKILL"
            ),
            got => panic!("{got:?}"),
        }
        assert!(bench.started.load(std::sync::atomic::Ordering::SeqCst) <= 6);
    });
}

#[test]
fn the_successor_of_a_dead_worker_gets_what_is_stuck_behind_a_long_task() {
    leaving_nothing(|| {
        let bench = Bench::new(2);
        bench.submit(0, &[b"e"]);
        bench.drive(1);
        // The second worker was forked from a pool that knew the first.
        let first = bench.pids()[0];
        kill(first);
        bench.drive_until(&|| !bench.pids().contains(&first) && bench.pids().len() == 2);
        bench.submit(1, &[b"g"]);
        bench.submit(2, &[b"g"]);
        bench.gate.await_arrivals(2);
        bench.submit(3, &[b"e"]);
        bench.submit(4, &[b"e"]);
        let successor = bench
            .pool
            .workers()
            .into_iter()
            .find(|worker| worker.done == 0);
        kill(successor.unwrap().pid);
        bench.drive(4);
        for n in 3..5 {
            assert_eq!(bench.got(n), Got::Reply(7, vec![]));
        }
        bench.gate.open();
        bench.drive(5);
        bench.finish();
    });
}

#[test]
fn idle_workers_that_die_over_and_over_spend_the_budget() {
    leaving_nothing(|| {
        let mut config = Config::new(1);
        config.restarts = Restarts {
            intensity: 3,
            ..Restarts::default()
        };
        let bench = Bench::with(config, Setup::Fine).unwrap();
        let deadline = crate::workers::watchdog();
        while bench.pool.end().is_none() {
            assert!(!deadline.has_passed());
            let soon = procession_engine::sys::wait::time::Deadline::after(
                std::time::Duration::from_millis(20),
            );
            for worker in bench.pool.workers() {
                if let Ok(process) = PidFd::open(worker.pid) {
                    let _ = process.send_signal(libc::SIGKILL);
                }
            }
            let _ = bench.pool.drive(&|| false, soon);
        }
        let why = bench.pool.end().unwrap().to_string();
        assert!(why.contains("workers"), "{why}");
    });
}
