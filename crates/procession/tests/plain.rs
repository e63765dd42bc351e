//! Tests without an attribute of procession's, in any order, each alone or all together.

mod watchdog;

use std::process::Command;

use procession::{Pool, Process, StartMethod};
use watchdog::watch;

const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::ForkServer];

#[test]
fn process_starts_in_a_plain_test() {
    let _watchdog = watch();
    for method in METHODS {
        let child = Process::new(|n: u32| n * 2).start_method(method).args(21);
        assert_eq!(child.start().unwrap().join().unwrap(), 42);
    }
}

#[test]
fn pool_starts_in_a_plain_test() {
    let _watchdog = watch();
    for method in METHODS {
        let pool = Pool::builder()
            .workers(2)
            .start_method(method)
            .start()
            .unwrap();
        assert_eq!(pool.map(|n: u32| n + 1, [1, 2]).unwrap(), [2, 3]);
    }
}

/// A function of a library, whose users know nothing of processes.
fn library(numbers: Vec<u64>) -> procession::Result<Vec<u64>> {
    procession::init_in_library();
    Pool::new(2)?.map(|n: u64| n * n, numbers)
}

#[test]
fn library_without_a_say_in_main_has_a_pool() {
    let _watchdog = watch();
    assert_eq!(library(vec![1, 2, 3]).unwrap(), [1, 4, 9]);
}

/// As `cargo nextest` does it.
#[test]
fn each_test_works_in_a_process_of_its_own() {
    let _watchdog = watch();
    let program = std::env::current_exe().unwrap();
    for name in [
        "process_starts_in_a_plain_test",
        "pool_starts_in_a_plain_test",
        "library_without_a_say_in_main_has_a_pool",
    ] {
        let output = Command::new(&program)
            .args(["--exact", name, "--nocapture"])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}"
        );
    }
}
