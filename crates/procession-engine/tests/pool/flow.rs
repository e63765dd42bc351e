//! Tasks go out and results come in.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use procession_engine::ErrorKind;
use procession_engine::pool::{Job, PoolEnd, Source, SourceStatus, Task};
use procession_engine::shm::Loans;
use procession_engine::sys::limits::cpu::usable_cpus;
use procession_engine::sys::wait::time::Deadline;

use crate::workers::{Bench, Got, leaving_nothing, task, watchdog};

#[test]
fn a_task_gets_its_reply() {
    leaving_nothing(|| {
        let bench = Bench::new(2);
        bench.submit(1, &[b"e", b"hello"]);
        bench.drive(1);
        assert_eq!(bench.got(1), Got::Reply(7, b"hello".to_vec()));
        bench.finish();
    });
}

#[test]
fn many_tasks_get_their_own_replies() {
    leaving_nothing(|| {
        let bench = Bench::new(3);
        for n in 0..20_000u64 {
            bench.submit(n, &[b"e", &n.to_le_bytes()]);
        }
        bench.drive(20_000);
        for n in 0..20_000u64 {
            assert_eq!(bench.got(n), Got::Reply(7, n.to_le_bytes().to_vec()));
        }
        bench.finish();
    });
}

#[test]
fn tiny_tasks_are_for_as_many_workers_as_there_are_processors() {
    leaving_nothing(|| {
        let workers = usable_cpus() + 10;
        let bench = Bench::new(workers);
        let mut shares = HashMap::<_, usize>::new();
        for round in 0..40u64 {
            let tasks = 100 * round..100 * (round + 1);
            tasks.clone().for_each(|n| bench.submit(n, &[b"p"]));
            bench.drive(tasks.end as usize);
            for n in tasks {
                let Got::Reply(_, pid) = bench.got(n) else {
                    panic!("task {n} failed");
                };
                // By then all workers are there, and the pool knows how short the tasks are.
                *shares.entry(pid).or_default() += usize::from(round >= 20);
            }
        }
        let mut shares: Vec<_> = shares.into_values().collect();
        shares.sort_unstable_by(|a, b| b.cmp(a));
        // Others have some where a processor is taken from these for long.
        let most: usize = shares[..usable_cpus().min(shares.len())].iter().sum();
        assert!(most > 1_000, "{shares:?}");
        bench.finish();
    });
}

#[test]
fn tasks_and_results_of_all_lengths_arrive_whole() {
    leaving_nothing(|| {
        let bench = Bench::new(2);
        let lengths = [0, 1, 7, 8, 2000, 2047, 2048, 2049, 5000, 70_000, 1 << 20];
        for (n, len) in (0u64..).zip(lengths.repeat(20)) {
            let bytes: Vec<u8> = (0..len).map(|i| (i as u64 * 31 + n) as u8).collect();
            bench.submit(n, &[b"e", &bytes]);
        }
        bench.drive(lengths.len() * 20);
        for (n, len) in (0u64..).zip(lengths.repeat(20)) {
            let bytes: Vec<u8> = (0..len).map(|i| (i as u64 * 31 + n) as u8).collect();
            assert_eq!(bench.got(n), Got::Reply(7, bytes));
        }
        bench.finish();
    });
}

#[test]
fn results_nobody_reads_make_the_worker_wait_and_are_not_lost() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        // Far more than the ring of results holds.
        for n in 0..500u64 {
            bench.submit(n, &[b"e", &[n as u8; 1500]]);
        }
        bench.drive(500);
        assert_eq!(bench.got(499), Got::Reply(7, vec![499u64 as u8; 1500]));
        bench.finish();
    });
}

#[test]
fn a_prologue_is_seen_by_all_tasks_of_its_job() {
    leaving_nothing(|| {
        let bench = Bench::new(2);
        for (n, word) in (0u64..).zip(["alpha ", "beta "].repeat(10)) {
            let job = Job::new(&[word.as_bytes()], Loans::default()).unwrap();
            bench.submit_of(Some(job.clone()), 2 * n, &[b"j", b"one"]);
            bench.submit_of(Some(job), 2 * n + 1, &[b"j", b"two"]);
        }
        bench.drive(40);
        assert_eq!(bench.got(0), Got::Reply(0, b"alpha one".to_vec()));
        assert_eq!(bench.got(3), Got::Reply(0, b"beta two".to_vec()));
        bench.finish();
    });
}

#[test]
fn a_claimed_block_stays_with_its_worker_and_ends_with_it() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        let mut bytes = vec![1; 100_000];
        bytes[0] = b'c';
        bench.submit(1, &[&bytes]);
        bench.drive(1);
        let sum = 99_999 + u64::from(b'c');
        assert_eq!(bench.got(1), Got::Reply(0, sum.to_le_bytes().to_vec()));
        bench.finish();
    });
}

struct Numbers {
    next: u64,
    end: u64,
    most_at_once: usize,
}

impl Source<u64> for Numbers {
    fn fill(&mut self, tasks: &mut Vec<Task<u64>>, most: usize) -> SourceStatus {
        for _ in 0..most.min(self.most_at_once) {
            if self.next == self.end {
                return SourceStatus::Done;
            }
            tasks.push(task(None, self.next, &[b"e", &self.next.to_le_bytes()]));
            self.next += 1;
        }
        SourceStatus::More
    }

    fn end(self: Box<Self>, _end: &PoolEnd) {}
}

#[test]
fn a_source_is_asked_until_it_is_done() {
    leaving_nothing(|| {
        let bench = Bench::new(2);
        let source = Numbers {
            next: 0,
            end: 10_000,
            most_at_once: 7,
        };
        bench.pool.submit_source(Box::new(source)).unwrap();
        bench.submit(10_000, &[b"e"]);
        bench.drive(10_001);
        bench.finish();
    });
}

struct Endless(Arc<AtomicBool>);

impl Source<u64> for Endless {
    fn fill(&mut self, _tasks: &mut Vec<Task<u64>>, _most: usize) -> SourceStatus {
        SourceStatus::Later
    }

    fn end(self: Box<Self>, end: &PoolEnd) {
        assert!(matches!(end, PoolEnd::Terminated));
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_source_is_told_of_the_end_of_its_pool() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        let told = Arc::new(AtomicBool::new(false));
        let source = Endless(Arc::clone(&told));
        bench.pool.submit_source(Box::new(source)).unwrap();
        bench.submit(1, &[b"e"]);
        bench.drive(1);
        bench.pool.terminate();
        assert!(told.load(Ordering::SeqCst));
    });
}

/// Tells when it is asked, and waits for a word before it answers.
struct Slow {
    asked: Sender<()>,
    answer: Receiver<SourceStatus>,
}

impl Source<u64> for Slow {
    fn fill(&mut self, tasks: &mut Vec<Task<u64>>, _most: usize) -> SourceStatus {
        self.asked.send(()).unwrap();
        let supply = self.answer.recv().unwrap();
        if supply == SourceStatus::Done {
            tasks.push(task(None, 1, &[b"e"]));
        }
        supply
    }

    fn end(self: Box<Self>, _end: &PoolEnd) {}
}

#[test]
fn tasks_made_while_the_pool_ends_fail_like_all_others() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        let ((asked, was_asked), (may_answer, answer)) = (channel(), channel());
        let source = Slow { asked, answer };
        bench.pool.submit_source(Box::new(source)).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| bench.try_drive(&|| bench.count() == 1, watchdog()));
            was_asked.recv().unwrap();
            bench.pool.terminate();
            may_answer.send(SourceStatus::Done).unwrap();
        });
        assert_eq!(bench.got(1), Got::Ended("the pool was terminated".into()));
    });
}

#[test]
fn a_source_that_gets_more_while_it_says_that_it_has_nothing_is_asked_again() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        let ((asked, was_asked), (may_answer, answer)) = (channel(), channel());
        let source = Slow { asked, answer };
        bench.pool.submit_source(Box::new(source)).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| bench.drive(1));
            was_asked.recv().unwrap();
            bench.pool.resume_sources().unwrap();
            may_answer.send(SourceStatus::Later).unwrap();
            may_answer.send(SourceStatus::Done).unwrap();
        });
        bench.finish();
    });
}

#[test]
fn short_tasks_do_not_wait_behind_a_long_one() {
    leaving_nothing(|| {
        let bench = Bench::new(2);
        // Makes tasks look short, so that many are queued on each worker.
        for n in 0..2_000u64 {
            bench.submit(n, &[b"e"]);
        }
        bench.drive(2_000);
        bench.submit(9_999, &[b"g"]);
        for n in 2_000..2_100u64 {
            bench.submit(n, &[b"e"]);
        }
        bench.drive(2_100);
        assert!(!bench.results.got.lock().unwrap().contains_key(&9_999));
        bench.gate.open();
        bench.drive(2_101);
        bench.finish();
    });
}

#[test]
fn threads_that_wait_together_all_get_their_results() {
    leaving_nothing(|| {
        let bench = Bench::new(2);
        std::thread::scope(|scope| {
            for thread in 0..4u64 {
                let bench = &bench;
                scope.spawn(move || {
                    for n in 0..300 {
                        let token = thread * 1000 + n;
                        bench.submit(token, &[b"e"]);
                        bench.drive_until(&|| {
                            bench.results.got.lock().unwrap().contains_key(&token)
                        });
                    }
                });
            }
        });
        assert_eq!(bench.count(), 1200);
        bench.finish();
    });
}

#[test]
fn results_arrive_though_nobody_waits() {
    leaving_nothing(|| {
        let bench = Bench::new(2);
        for n in 0..1000 {
            bench.submit(n, &[b"e"]);
        }
        bench.pool.deliver_in_background().unwrap();
        let deadline = watchdog();
        while bench.count() < 1000 {
            assert!(!deadline.has_passed());
            std::thread::yield_now();
        }
        // And a caller that waits afterwards gets its own.
        bench.submit(5000, &[b"e"]);
        bench.drive(1001);
        bench.finish();
    });
}

#[test]
fn results_arrive_when_who_led_is_gone() {
    leaving_nothing(|| {
        let bench = Bench::new(2);
        bench.submit(9_999, &[b"g"]);
        bench.pool.deliver_in_background().unwrap();
        for n in 0..100 {
            // Some lead for so long that the collector rests, some for less.
            lead_for(&bench, Duration::from_micros(n * 50));
            bench.submit(n, &[b"e"]);
            let deadline = watchdog();
            while bench.count() <= n as usize {
                assert!(!deadline.has_passed());
                std::thread::yield_now();
            }
        }
        bench.gate.open();
        bench.drive(101);
        bench.finish();
    });
}

#[test]
fn the_collector_rests_while_somebody_leads() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        bench.submit(1, &[b"g"]);
        bench.pool.deliver_in_background().unwrap();
        let before = sleeps_of_collectors();
        lead_for(&bench, Duration::from_millis(500));
        // Once for each millisecond, if it looked again and again.
        assert!(sleeps_of_collectors() - before < 100);
        bench.gate.open();
        bench.drive(1);
        bench.finish();
    });
}

/// Waits for what never comes.
fn lead_for(bench: &Bench, time: Duration) {
    let end = Deadline::after(time);
    let error = bench.try_drive(&|| false, end).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

/// Returns how often the threads that collect results have gone to sleep.
fn sleeps_of_collectors() -> u64 {
    let mut sleeps = 0;
    for thread in std::fs::read_dir("/proc/self/task").unwrap() {
        // One that has ended meanwhile has no status.
        let status = std::fs::read_to_string(thread.unwrap().path().join("status"));
        let status = status.unwrap_or_default();
        if status.starts_with("Name:\tprocession-pool\n") {
            let count = status.split("\nvoluntary_ctxt_switches:").nth(1).unwrap();
            let count = count.split_whitespace().next().unwrap();
            sleeps += count.parse::<u64>().unwrap();
        }
    }
    sleeps
}

#[test]
fn waiting_ends_at_the_deadline() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        bench.submit(1, &[b"g"]);
        let soon = Deadline::after(Duration::from_millis(5));
        let error = bench.try_drive(&|| bench.count() > 0, soon).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(soon.has_passed());
        bench.gate.open();
        bench.drive(1);
        bench.finish();
    });
}
