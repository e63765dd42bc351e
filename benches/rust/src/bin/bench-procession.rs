//! The scenarios, on procession: `bench-procession SCENARIO [START_METHOD]`.

use std::process::ExitCode;

use procession::{Pool, Process, Queue};
use procession_benches::{
    ITEMS, ROUND_TRIPS, STARTS, TASKS, WORKERS, per_second, run, seconds_each,
};

#[procession::main]
fn main() -> procession::Result<ExitCode> {
    if let Some(method) = std::env::args().nth(2) {
        procession::set_start_method(method.parse()?)?;
    }
    Ok(run(
        "procession",
        &[
            ("start-join", start_join),
            ("pool-roundtrip", pool_roundtrip),
            ("pool-map-tiny", pool_map_tiny),
            ("queue-1p1c", queue_1p1c),
        ],
    ))
}

fn start_join() -> f64 {
    let start = |number| {
        let child = Process::new(double)
            .args(number)
            .start()
            .expect("the child starts");
        assert_eq!(child.join().expect("the child returns"), number * 2);
    };
    start(1);
    seconds_each(STARTS, start)
}

fn pool_roundtrip() -> f64 {
    let pool = warm_pool();
    seconds_each(ROUND_TRIPS, |number| {
        let doubled = pool.apply(double, number).expect("the call returns");
        assert_eq!(doubled, number * 2);
    })
}

fn pool_map_tiny() -> f64 {
    let pool = warm_pool();
    per_second(TASKS, || {
        let doubled = pool.map(double, 0..TASKS).expect("the calls return");
        assert!(
            doubled
                .iter()
                .zip(0..)
                .all(|(&value, number)| value == 2 * number)
        );
    })
}

/// From a child to its parent; the clock starts when the child sends.
fn queue_1p1c() -> f64 {
    let queue = Queue::new().expect("the arena has room");
    let child = Process::new(produce)
        .args(queue.clone())
        .start()
        .expect("the producer starts");
    assert_eq!(queue.get().expect("the producer sends"), 0);
    let rate = per_second(ITEMS, || {
        for number in 1..=ITEMS {
            assert_eq!(queue.get().expect("the producer sends"), number);
        }
    });
    child.join().expect("the producer ends");
    rate
}

fn produce(queue: Queue<u64>) {
    for number in 0..=ITEMS {
        queue.put(number).expect("the parent keeps the queue");
    }
}

fn warm_pool() -> Pool {
    let pool = Pool::new(WORKERS).expect("the pool starts");
    for number in 0..100 {
        pool.apply(double, number).expect("the call returns");
    }
    pool
}

fn double(number: u64) -> u64 {
    number * 2
}
