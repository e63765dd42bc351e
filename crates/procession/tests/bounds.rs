//! What the workers of a pool may use, and where they are.

mod watchdog;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use procession::{Barrier, Pool, StartMethod, current_process};
use watchdog::watch;

const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::ForkServer];

/// Long enough for a slow machine, short enough for a watchdog.
const SOON: Duration = Duration::from_secs(60);

const MEBIBYTE: usize = 1 << 20;

/// More than a worker has by itself.
const LIMIT: u64 = 256 << 20;

/// Has so much memory for a while.
fn uses(mebibytes: usize) -> usize {
    std::hint::black_box(vec![1_u8; mebibytes * MEBIBYTE]).len() / MEBIBYTE
}

#[procession::test]
fn a_task_that_needs_too_much_memory_fails_alone_and_is_named() {
    let _watchdog = watch();
    for method in METHODS {
        let builder = Pool::builder().workers(2).start_method(method);
        let pool = builder.memory_limit(LIMIT).start().unwrap();
        let results: Vec<_> = pool.imap(uses, [1, 1024, 2]).collect();
        let [Ok(1), Err(error), Ok(2)] = &results[..] else {
            panic!("{results:?}");
        };
        assert!(error.is_out_of_memory() && error.is_died(), "{error}");
        assert_eq!(error.memory_limit(), Some(LIMIT));
        let text = error.to_string();
        assert!(
            text.contains("uses") && text.contains("268435456 bytes"),
            "{text}"
        );
        assert_eq!(pool.apply(uses, 10).unwrap(), 10);
    }
}

#[procession::test]
fn other_deaths_are_not_blamed_on_the_limit() {
    let _watchdog = watch();
    let pool = Pool::builder()
        .workers(1)
        .memory_limit(LIMIT)
        .start()
        .unwrap();
    let error = pool
        .apply(|| -> u8 { std::process::abort() }, ())
        .unwrap_err();
    assert!(error.is_died() && !error.is_out_of_memory(), "{error}");
    assert_eq!(error.memory_limit(), None);
}

#[procession::test]
fn a_limit_below_what_a_worker_has_is_an_error_at_once() {
    let _watchdog = watch();
    let pool = Pool::builder()
        .workers(1)
        .memory_limit(4096)
        .start()
        .unwrap();
    let error = pool.apply(uses, 1).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("more than the 4096 that it may have"),
        "{error}"
    );
}

static HOARD: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Keeps so much more memory.
fn grows(mebibytes: usize) -> u32 {
    HOARD.lock().unwrap().push(vec![1; mebibytes * MEBIBYTE]);
    std::process::id()
}

#[procession::test]
fn a_worker_that_has_grown_is_replaced_between_tasks() {
    let _watchdog = watch();
    for method in METHODS {
        let builder = Pool::builder().workers(1).start_method(method);
        let pool = builder.max_memory_per_worker(LIMIT).start().unwrap();
        let first = pool.apply(grows, 1).unwrap();
        assert_eq!(pool.apply(grows, 1).unwrap(), first);
        assert_eq!(pool.apply(grows, 300).unwrap(), first);
        assert_ne!(pool.apply(grows, 1).unwrap(), first);
    }
}

fn meets(barrier: Barrier) -> (Option<u32>, Option<String>) {
    barrier.wait_timeout(SOON).unwrap();
    let place = std::env::var("PROCESSION_TEST_PLACE").ok();
    (current_process().worker_index(), place)
}

#[procession::test]
fn each_worker_has_a_place_and_an_environment_of_its_own() {
    let _watchdog = watch();
    for method in METHODS {
        let pool = Pool::builder()
            .workers(3)
            .start_method(method)
            .env(|index| [("PROCESSION_TEST_PLACE", format!("place {index}"))])
            .start()
            .unwrap();
        let barrier = Barrier::new(3).unwrap();
        let found = pool.map(meets, vec![barrier; 3]).unwrap();
        let found: BTreeSet<_> = found.into_iter().collect();
        let expected = (0..3).map(|index| (Some(index), Some(format!("place {index}"))));
        assert_eq!(found, expected.collect());
    }
    assert_eq!(current_process().worker_index(), None);
    assert!(std::env::var_os("PROCESSION_TEST_PLACE").is_none());
}

#[procession::test]
fn workers_run_where_they_are_told() {
    let _watchdog = watch();
    for method in METHODS {
        let builder = Pool::builder().workers(1).start_method(method);
        let pool = builder.affinity(|_| [0]).start().unwrap();
        let cpus = pool.apply(procession::cpu_count, ()).unwrap();
        assert_eq!(cpus.get(), 1);
    }
    let builder = Pool::builder().workers(1).affinity(|_| [100_000]);
    let pool = builder.start().unwrap();
    assert!(pool.apply(uses, 1).is_err());
}
