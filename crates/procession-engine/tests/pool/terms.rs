//! Tasks that may take so long, or be tried so often, and no more.

use std::time::{Duration, Instant};

use procession_engine::pool::TaskPolicy;

use crate::workers::{Bench, Endless, Got, leaving_nothing};

const LIMIT: Duration = Duration::from_millis(30);

/// The arena's way of a task: more than fits a ring.
const LONG: usize = 100_000;

fn within(timeout: Duration) -> TaskPolicy {
    TaskPolicy {
        timeout: Some(timeout.into()),
        ..TaskPolicy::default()
    }
}

fn retried(retries: u32) -> TaskPolicy {
    TaskPolicy {
        retries,
        ..TaskPolicy::default()
    }
}

#[test]
fn a_task_that_takes_too_long_is_killed_alone() {
    leaving_nothing(|| {
        let bench = Bench::new(2);
        let before = Instant::now();
        for n in 0..12 {
            bench.submit_on(within(LIMIT), n, if n == 3 { &[b"g"] } else { &[b"e"] });
        }
        bench.drive(12);
        assert!(before.elapsed() >= LIMIT);
        for n in 0..12 {
            match n {
                3 => assert_eq!(bench.got(n), Got::TimedOut(LIMIT)),
                n => assert_eq!(bench.got(n), Got::Reply(7, vec![])),
            }
        }
        bench.finish();
    });
}

#[test]
fn what_is_queued_behind_a_task_that_takes_too_long_runs_elsewhere() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        for n in 0..1000 {
            bench.submit(n, &[b"e"]);
        }
        bench.drive(1000);
        bench.submit_on(within(LIMIT), 1000, &[b"g"]);
        for n in 1001..1100 {
            bench.submit(n, &[b"e", &[0; 100]]);
        }
        bench.drive(1100);
        assert_eq!(bench.got(1000), Got::TimedOut(LIMIT));
        for n in 1001..1100 {
            assert_eq!(bench.got(n), Got::Reply(7, vec![0; 100]));
        }
        bench.finish();
    });
}

#[test]
fn time_spent_in_line_does_not_count() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        bench.submit(0, &[b"g"]);
        bench.submit_on(within(LIMIT), 1, &[b"e"]);
        bench.gate.await_arrivals(1);
        let began = Instant::now();
        bench.drive_until(&|| began.elapsed() > 2 * LIMIT);
        assert_eq!(bench.count(), 0);
        bench.gate.open();
        bench.drive(2);
        assert_eq!(bench.got(1), Got::Reply(7, vec![]));
        bench.finish();
    });
}

#[test]
fn a_deadline_is_kept_though_nobody_waits() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        bench.submit_on(within(LIMIT), 1, &[b"g"]);
        bench.pool.deliver_in_background().unwrap();
        while bench.count() == 0 {
            std::thread::yield_now();
        }
        assert_eq!(bench.got(1), Got::TimedOut(LIMIT));
        bench.finish();
    });
}

#[test]
fn a_task_whose_worker_dies_is_tried_again() {
    leaving_nothing(|| {
        let bench = Bench::new(2);
        bench.submit_on(retried(2), 0, &[b"n", &[2]]);
        for n in 1..10 {
            bench.submit(n, &[b"e"]);
        }
        bench.drive(10);
        assert_eq!(bench.got(0), Got::Reply(0, vec![2]));
        assert_eq!(bench.gate.counted(), 3);
        bench.finish();
    });
}

#[test]
fn a_task_that_kills_every_worker_is_given_up() {
    leaving_nothing(|| {
        let bench = Bench::new(2);
        bench.submit_on(retried(3), 0, &[b"n", &[99]]);
        bench.submit(1, &[b"e"]);
        bench.drive(2);
        assert_eq!(bench.got(0), Got::GivenUp(4));
        assert_eq!(bench.gate.counted(), 4);
        assert_eq!(bench.got(1), Got::Reply(7, vec![]));
        bench.finish();
    });
}

#[test]
fn a_long_task_may_be_tried_again_too() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        let mut bytes = vec![1; LONG];
        bytes[0] = b'n';
        bench.submit_on(retried(1), 0, &[&bytes]);
        bench.drive(1);
        assert_eq!(bench.got(0), Got::Reply(0, bytes[1..].to_vec()));
        bench.finish();
    });
}

#[test]
fn a_task_that_may_be_tried_again_keeps_its_block() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        let mut bytes = vec![0; LONG];
        // The worker cannot claim it, and ends of that.
        bytes[0] = b'C';
        bench.submit_on(retried(1), 0, &[&bytes]);
        bench.drive(1);
        assert_eq!(bench.got(0), Got::GivenUp(2));
        bench.finish();
    });
}

#[test]
fn a_task_that_took_too_long_is_not_tried_again() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        let terms = TaskPolicy {
            timeout: Some(LIMIT.into()),
            retries: 5,
            ..TaskPolicy::default()
        };
        bench.submit_on(terms, 0, &[b"g"]);
        bench.drive(1);
        assert_eq!(bench.got(0), Got::TimedOut(LIMIT));
        bench.gate.await_arrivals(1);
        bench.finish();
    });
}

#[test]
fn deadlines_are_kept_while_there_is_much_else_to_do() {
    leaving_nothing(|| {
        let bench = Bench::new(2);
        bench.submit_on(within(LIMIT), 1, &[b"g"]);
        let others = Box::new(Endless::default());
        bench.pool.submit_source(others).unwrap();
        bench.drive_until(&|| bench.results.got.lock().unwrap().contains_key(&1));
        assert_eq!(bench.got(1), Got::TimedOut(LIMIT));
        bench.pool.terminate();
    });
}
