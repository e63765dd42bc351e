//! Tasks that are dealt in a fixed order of workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use procession_engine::pool::{
    Config, PoolEnd, RunningTasks, Source, SourceStatus, Task, TaskPolicy, Turn,
};

use crate::workers::{Bench, Got, Setup, leaving_nothing, task};

fn turn(number: u64) -> TaskPolicy {
    TaskPolicy {
        turn: Some(Turn::new(number as usize)),
        ..TaskPolicy::default()
    }
}

/// Has the worker whose turn it is tell its index.
fn submit_in_turn(bench: &Bench, token: u64, number: u64) {
    bench.submit_on(turn(number), token, &[b"i"]);
}

fn index(bench: &Bench, token: u64) -> u32 {
    match bench.got(token) {
        Got::Reply(0, bytes) => u32::from_le_bytes(bytes.try_into().unwrap()),
        other => panic!("task {token}: {other:?}"),
    }
}

/// A call whose tasks tell the index of their worker, but for one that does something else.
struct InTurn {
    made: u64,
    count: u64,
    odd: (u64, &'static [u8]),
    polls: Arc<AtomicUsize>,
}

impl InTurn {
    fn submit(bench: &Bench, count: u64, odd: (u64, &'static [u8])) -> Arc<AtomicUsize> {
        let polls = Arc::new(AtomicUsize::new(0));
        let source = Self {
            made: 0,
            count,
            odd,
            polls: Arc::clone(&polls),
        };
        bench.pool.submit_source(Box::new(source)).unwrap();
        polls
    }
}

impl Source<u64> for InTurn {
    fn fill(&mut self, tasks: &mut Vec<Task<u64>>, most: usize) -> SourceStatus {
        self.polls.fetch_add(1, Ordering::SeqCst);
        for _ in 0..most {
            if self.made == self.count {
                return SourceStatus::Done;
            }
            let work = match self.odd {
                (at, work) if at == self.made => work,
                _ => b"i",
            };
            let policy = turn(self.made);
            tasks.push(Task {
                policy,
                ..task(None, self.made, &[work])
            });
            self.made += 1;
        }
        SourceStatus::More
    }

    fn end(self: Box<Self>, _end: &PoolEnd) {}
}

#[test]
fn each_task_goes_to_the_worker_whose_turn_it_is() {
    leaving_nothing(|| {
        let bench = Bench::new(3);
        for n in 0..300 {
            submit_in_turn(&bench, n, n);
        }
        bench.drive(300);
        for n in 0..300 {
            assert_eq!(u64::from(index(&bench, n)), n % 3);
        }
        bench.finish();
    });
}

#[test]
fn a_busy_worker_keeps_its_turns_and_holds_up_nobody_else() {
    leaving_nothing(|| {
        let bench = Bench::new(3);
        InTurn::submit(&bench, 3000, (0, b"g"));
        bench.submit(5000, &[b"i"]);
        // Two of three, and what comes after the call for any worker.
        bench.drive(2001);
        assert_ne!(index(&bench, 5000), 0);
        bench.gate.open();
        bench.drive(3001);
        for n in 1..3000 {
            assert_eq!(u64::from(index(&bench, n)), n % 3);
        }
        bench.finish();
    });
}

#[test]
fn a_worker_that_replaces_a_killed_one_has_its_turns() {
    leaving_nothing(|| {
        let bench = Bench::new(3);
        InTurn::submit(&bench, 300, (4, b"k"));
        bench.drive(300);
        for n in (0..300).filter(|&n| n != 4) {
            assert_eq!(u64::from(index(&bench, n)), n % 3);
        }
        assert!(matches!(bench.got(4), Got::Died(..)));
        bench.finish();
    });
}

#[test]
fn a_task_is_tried_again_by_the_worker_that_has_taken_its_turn_over() {
    leaving_nothing(|| {
        let bench = Bench::new(3);
        let policy = TaskPolicy {
            retries: 3,
            ..turn(1)
        };
        // Dies twice.
        bench.submit_on(policy, 0, &[b"n", &[2]]);
        bench.drive(1);
        assert_eq!(bench.got(0), Got::Reply(0, vec![2]));
        let stats = bench.pool.stats().unwrap();
        let deaths = stats.workers.iter().map(|worker| worker.deaths);
        assert_eq!(deaths.collect::<Vec<_>>(), [0, 2, 0]);
        bench.finish();
    });
}

#[test]
fn workers_that_do_few_tasks_hand_on_their_turns() {
    leaving_nothing(|| {
        let config = Config {
            tasks_per_worker: Some(3),
            ..Config::new(2)
        };
        let bench = Bench::with(config, Setup::Fine).unwrap();
        InTurn::submit(&bench, 100, (0, b"i"));
        bench.drive(100);
        for n in 0..100 {
            assert_eq!(u64::from(index(&bench, n)), n % 2);
        }
        bench.finish();
    });
}

#[test]
fn workers_that_were_idle_for_too_long_are_started_for_their_turns() {
    leaving_nothing(|| {
        let config = Config {
            idle_timeout: Some(Duration::from_millis(1)),
            ..Config::new(4)
        };
        let bench = Bench::with(config, Setup::Fine).unwrap();
        bench.drive_until(&|| bench.pids().is_empty());
        submit_in_turn(&bench, 0, 3);
        bench.drive(1);
        assert_eq!(index(&bench, 0), 3);
        bench.finish();
    });
}

#[test]
fn turns_are_counted_anew_when_the_pool_is_resized() {
    leaving_nothing(|| {
        let bench = Bench::new(4);
        // All are busy, so those end that have the highest indices.
        for n in 0..4 {
            bench.submit_on(turn(n), n, &[b"g"]);
        }
        bench.gate.await_arrivals(4);
        for n in 4..40 {
            submit_in_turn(&bench, n, n);
        }
        bench.pool.resize(2).unwrap();
        bench.gate.open();
        bench.drive(40);
        for n in 4..40 {
            assert_eq!(u64::from(index(&bench, n)), n % 2, "task {n}");
        }
        bench.finish();
    });
}

#[test]
fn workers_beyond_the_size_have_the_turns_that_nobody_has() {
    leaving_nothing(|| {
        let bench = Bench::new(4);
        // Those with the highest indices are busy, so the idle ones end.
        for n in [2, 3] {
            bench.submit_on(turn(n), n, &[b"g"]);
        }
        bench.gate.await_arrivals(2);
        bench.pool.resize(2).unwrap();
        for n in 10..30 {
            submit_in_turn(&bench, n, n);
        }
        bench.gate.open();
        bench.drive(22);
        for n in 10..30 {
            assert_eq!(u64::from(index(&bench, n)), 2 + n % 2, "task {n}");
        }
        bench.finish();
    });
}

#[test]
fn a_higher_priority_goes_before_a_turn() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        bench.submit(0, &[b"g"]);
        bench.gate.await_arrivals(1);
        for n in 1..10 {
            submit_in_turn(&bench, n, n);
        }
        let policy = TaskPolicy {
            priority: 1,
            ..TaskPolicy::default()
        };
        bench.submit_on(policy, 10, &[b"e"]);
        let policy = TaskPolicy {
            priority: 2,
            ..turn(0)
        };
        bench.submit_on(policy, 11, &[b"e"]);
        bench.gate.open();
        bench.drive(12);
        let order = bench.results.order.lock().unwrap().clone();
        assert_eq!(order, [0, 11, 10, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        bench.finish();
    });
}

#[test]
fn tasks_that_wait_for_their_turn_are_cancelled() {
    leaving_nothing(|| {
        let bench = Bench::new(2);
        InTurn::submit(&bench, 1000, (1, b"g"));
        bench.drive(500);
        bench.gate.await_arrivals(1);
        let which = |token: &u64| token % 2 == 1 && *token > 1;
        let count = bench.pool.cancel(&which, RunningTasks::Killed).unwrap();
        assert_eq!(count, 499);
        bench.gate.open();
        bench.drive(1000);
        for n in 0..1000 {
            assert_eq!(bench.got(n) == Got::Cancelled, n > 1 && n % 2 == 1);
        }
        bench.finish();
    });
}

#[test]
fn tasks_that_wait_for_their_turn_fail_when_the_pool_ends() {
    leaving_nothing(|| {
        let bench = Bench::new(2);
        InTurn::submit(&bench, 1000, (1, b"s"));
        bench.drive(500);
        bench.gate.await_arrivals(1);
        bench.pool.terminate();
        assert_eq!(bench.count(), 1000);
        assert!((0..500).all(|n| matches!(bench.got(2 * n + 1), Got::Ended(_))));
    });
}

#[test]
fn a_leader_does_not_look_again_and_again_for_what_only_a_busy_worker_may_do() {
    leaving_nothing(|| {
        let bench = Bench::new(2);
        let polls = InTurn::submit(&bench, 1000, (1, b"g"));
        bench.drive(500);
        bench.gate.await_arrivals(1);
        let before = polls.load(Ordering::SeqCst);
        let began = std::time::Instant::now();
        let over = || began.elapsed() > Duration::from_millis(20);
        bench.drive_until(&over);
        assert_eq!(polls.load(Ordering::SeqCst), before);
        bench.gate.open();
        bench.drive(1000);
        bench.finish();
    });
}
