//! How fast, for whoever wants to know: `cargo test --release --test pool -- --ignored --nocapture`.

use std::time::Instant;

use procession_engine::pool::{Job, PoolEnd, Source, SourceStatus, Task, TaskBytes, TaskPolicy};
use procession_engine::shm::Loans;

use crate::workers::{Bench, alone};

struct Tiny {
    left: u64,
    job: Job,
}

impl Source<u64> for Tiny {
    fn fill(&mut self, tasks: &mut Vec<Task<u64>>, most: usize) -> SourceStatus {
        for _ in 0..most {
            if self.left == 0 {
                return SourceStatus::Done;
            }
            self.left -= 1;
            tasks.push(Task {
                token: self.left,
                payload: TaskBytes::new(&[b"e", &self.left.to_le_bytes()]).unwrap(),
                job: Some(self.job.clone()),
                policy: TaskPolicy::default(),
                loans: Loans::default(),
            });
        }
        SourceStatus::More
    }

    fn end(self: Box<Self>, _end: &PoolEnd) {}
}

#[test]
#[ignore = "measures"]
fn speed() {
    let _alone = alone();
    for size in [1, 2] {
        let bench = Bench::new(size);
        bench.submit(u64::MAX, &[b"e"]);
        bench.drive(1);
        for _ in 0..3 {
            let count = 300_000;
            let before = bench.count();
            bench.results.got.lock().unwrap().clear();
            let begin = Instant::now();
            let job = Job::new(&[b"the function"], Loans::default()).unwrap();
            let source = Box::new(Tiny { left: count, job });
            bench.pool.submit_source(source).unwrap();
            bench.drive(before + count as usize);
            let rate = count as f64 / begin.elapsed().as_secs_f64();
            println!("{size} workers: {rate:.0} tiny tasks/s");
        }
        let mut times: Vec<_> = (0..5000u64)
            .map(|n| {
                let before = bench.count();
                let begin = Instant::now();
                bench.submit(1_000_000 + n, &[b"e"]);
                bench.drive(before + 1);
                begin.elapsed()
            })
            .collect();
        bench.results.got.lock().unwrap().clear();
        times.sort();
        println!(
            "{size} workers: round trip median {:?}, 90% {:?}",
            times[2500], times[4500]
        );
        bench.finish();
    }
}
