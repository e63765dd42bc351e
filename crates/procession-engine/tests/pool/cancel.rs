//! Tasks that are cancelled: before they begin, or with their worker.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use procession_engine::pool::RunningTasks;

use crate::workers::{Bench, Endless, Got, leaving_nothing};

#[test]
fn a_task_in_line_is_cancelled_and_others_are_not() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        bench.submit(0, &[b"g"]);
        for n in 1..20 {
            bench.submit(n, &[b"e"]);
        }
        bench.gate.await_arrivals(1);
        let picked = |token: &u64| token % 2 == 1;
        assert_eq!(
            bench.pool.cancel(&picked, RunningTasks::Spared).unwrap(),
            10
        );
        assert_eq!(bench.pool.cancel(&picked, RunningTasks::Killed).unwrap(), 0);
        // Those have their outcome without anybody driving.
        assert_eq!(bench.count(), 10);
        bench.gate.open();
        bench.drive(20);
        for n in 0..20 {
            let cancelled = bench.got(n) == Got::Cancelled;
            assert_eq!(cancelled, n % 2 == 1, "{n}");
        }
        bench.finish();
    });
}

#[test]
fn a_task_that_runs_is_spared_or_killed() {
    leaving_nothing(|| {
        let bench = Bench::new(2);
        for n in 0..2 {
            bench.submit(n, &[b"g"]);
        }
        bench.submit(2, &[b"e"]);
        bench.gate.await_arrivals(2);
        assert_eq!(
            bench
                .pool
                .cancel(&|n| *n == 0, RunningTasks::Spared)
                .unwrap(),
            0
        );
        assert_eq!(
            bench
                .pool
                .cancel(&|n| *n == 0, RunningTasks::Killed)
                .unwrap(),
            1
        );
        bench.drive(2);
        assert_eq!(bench.got(0), Got::Cancelled);
        assert_eq!(bench.got(2), Got::Reply(7, vec![]));
        bench.gate.open();
        bench.drive(3);
        assert_eq!(bench.got(1), Got::Reply(0, vec![]));
        bench.finish();
    });
}

#[test]
fn what_is_done_is_not_cancelled() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        bench.submit(0, &[b"e"]);
        bench.drive(1);
        assert_eq!(
            bench.pool.cancel(&|_| true, RunningTasks::Killed).unwrap(),
            0
        );
        assert_eq!(bench.got(0), Got::Reply(7, vec![]));
        bench.finish();
    });
}

#[test]
fn a_cancelled_source_makes_no_more_tasks() {
    leaving_nothing(|| {
        let bench = Bench::new(2);
        let source = Endless::default();
        let (cancelled, told) = (Arc::clone(&source.cancelled), Arc::clone(&source.told));
        bench.pool.submit_source(Box::new(source)).unwrap();
        bench.drive(5_000);
        cancelled.store(true, Ordering::SeqCst);
        let count = bench
            .pool
            .cancel(&|n| *n >= Endless::FIRST, RunningTasks::Spared);
        assert!(count.unwrap() >= 1);
        assert!(told.load(Ordering::SeqCst));
        bench.submit(0, &[b"e"]);
        bench.drive_until(&|| bench.pool.outstanding() == 0);
        assert_eq!(bench.got(0), Got::Reply(7, vec![]));
        bench.finish();
    });
}

#[test]
fn cancelling_races_with_running_and_every_task_has_one_outcome() {
    leaving_nothing(|| {
        let bench = Bench::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..400 {
                    let running = if n % 16 == 0 {
                        RunningTasks::Killed
                    } else {
                        RunningTasks::Spared
                    };
                    bench
                        .pool
                        .cancel(&|token| *token == n * 5, running)
                        .unwrap();
                }
            });
            for n in 0..2000 {
                bench.submit(n, &[b"e"]);
            }
            bench.drive(2000);
        });
        for n in 0..2000 {
            match bench.got(n) {
                Got::Cancelled => assert_eq!(n % 5, 0),
                got => assert_eq!(got, Got::Reply(7, vec![])),
            }
        }
        bench.finish();
    });
}

#[test]
fn a_task_that_its_worker_begins_while_it_is_cancelled_is_killed() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        // Tasks that are short: the next one is in the worker's queue before one has ended.
        for n in 2..100 {
            bench.submit(n, &[b"e"]);
        }
        bench.drive(98);
        bench.submit(0, &[b"g"]);
        bench.submit(1, &[b"s"]);
        bench.gate.await_arrivals(1);
        let is_next = |token: &u64| {
            if *token == 1 {
                // Until now it was behind the other.
                bench.gate.open();
                bench.gate.await_arrivals(2);
            }
            *token == 1
        };
        let count = bench.pool.cancel(&is_next, RunningTasks::Killed);
        assert_eq!(count.unwrap(), 1);
        bench.drive(100);
        assert_eq!(bench.got(0), Got::Reply(0, vec![]));
        assert_eq!(bench.got(1), Got::Cancelled);
        bench.finish();
    });
}

#[test]
fn a_task_is_running_from_when_a_worker_has_begun_with_it() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        bench.submit(0, &[b"g"]);
        bench.submit(1, &[b"e"]);
        bench.gate.await_arrivals(1);
        assert!(bench.pool.is_running(&|n| *n == 0));
        assert!(!bench.pool.is_running(&|n| *n == 1));
        bench.gate.open();
        bench.drive(2);
        assert!(!bench.pool.is_running(&|_| true));
        bench.finish();
    });
}
