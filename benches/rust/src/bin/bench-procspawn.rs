//! The scenarios that procspawn can do.

use std::process::ExitCode;

use procession_benches::{ROUND_TRIPS, STARTS, TASKS, WORKERS, per_second, run, seconds_each};
use procspawn::Pool;

/// Calls under way at once: each takes four descriptors, and the usual limit
/// is 1,024.
const OUTSTANDING: u64 = 100;

fn main() -> ExitCode {
    procspawn::init();
    run(
        "procspawn",
        &[
            ("start-join", start_join),
            ("pool-roundtrip", pool_roundtrip),
            ("pool-map-tiny", pool_map_tiny),
        ],
    )
}

fn start_join() -> f64 {
    let start = |number| {
        let child = procspawn::spawn(number, double);
        assert_eq!(child.join().expect("the child returns"), number * 2);
    };
    start(1);
    seconds_each(STARTS, start)
}

fn pool_roundtrip() -> f64 {
    let pool = warm_pool();
    seconds_each(ROUND_TRIPS, |number| {
        let call = pool.spawn(number, double);
        assert_eq!(call.join().expect("the call returns"), number * 2);
    })
}

/// There is no `map`, so calls go out in waves.
fn pool_map_tiny() -> f64 {
    let pool = warm_pool();
    let tasks = TASKS / 10;
    per_second(tasks, || {
        for wave in 0..tasks / OUTSTANDING {
            let first = wave * OUTSTANDING;
            let calls: Vec<_> = (first..first + OUTSTANDING)
                .map(|number| pool.spawn(number, double))
                .collect();
            for (number, call) in (first..).zip(calls) {
                assert_eq!(call.join().expect("the call returns"), number * 2);
            }
        }
    })
}

fn warm_pool() -> Pool {
    let pool = Pool::new(WORKERS).expect("the pool starts");
    for number in 0..100 {
        pool.spawn(number, double).join().expect("the call returns");
    }
    pool
}

fn double(number: u64) -> u64 {
    number * 2
}
