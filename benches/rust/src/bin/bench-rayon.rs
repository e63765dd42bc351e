//! The scenario that threads can do, too: what a process costs beyond one.

use std::process::ExitCode;

use procession_benches::{TASKS, WORKERS, per_second, run};
use rayon::ThreadPoolBuilder;
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

fn main() -> ExitCode {
    run("rayon", &[("pool-map-tiny", pool_map_tiny)])
}

/// Each number is a task of its own, as far as rayon splits what it is given.
fn pool_map_tiny() -> f64 {
    let pool = ThreadPoolBuilder::new()
        .num_threads(WORKERS)
        .build()
        .expect("the threads start");
    pool.install(map);
    per_second(TASKS, || {
        let doubled = pool.install(map);
        assert!(
            doubled
                .iter()
                .zip(0..)
                .all(|(&value, number)| value == 2 * number)
        );
    })
}

fn map() -> Vec<u64> {
    (0..TASKS as usize)
        .into_par_iter()
        .with_max_len(1)
        .map(|number| std::hint::black_box(number as u64) * 2)
        .collect()
}
