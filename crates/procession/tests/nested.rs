//! Many processes and pools: after another, at once, from threads, and in forks.
//!
//! Descriptors are counted: one test runs at a time.

#![expect(unsafe_code, reason = "starts by fork")]

mod alone;
mod watchdog;

use std::fs::{DirEntry, read_dir};
use std::time::Duration;

use alone::alone;
use procession::{Child, Event, Pool, Process, StartMethod};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use watchdog::watch;

/// Long enough for a slow machine, short enough for a watchdog.
const SOON: Duration = Duration::from_secs(60);

const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::ForkServer];

/// Holds this process to so many descriptors more than it has.
struct Limited(Rlimit);

impl Limited {
    fn to(more: u64) -> Self {
        let before = getrlimit(Resource::Nofile);
        let number = |entry: std::io::Result<DirEntry>| {
            let name = entry.unwrap().file_name();
            name.to_string_lossy().parse::<u64>().unwrap()
        };
        let open = read_dir("/proc/self/fd").unwrap().map(number);
        let limit = Rlimit {
            // It is the numbers that are limited.
            current: Some(open.max().unwrap() + more),
            ..before
        };
        setrlimit(Resource::Nofile, limit).unwrap();
        Self(before)
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.0).unwrap();
    }
}

fn double(number: u32) -> u32 {
    number * 2
}

fn start(method: StartMethod, number: u32) -> Child<u32> {
    let process = Process::new(double).start_method(method).args(number);
    process.start().unwrap()
}

#[procession::test]
fn a_thousand_processes_one_after_another() {
    let (_watchdog, _alone) = (watch(), alone());
    for method in METHODS {
        // What is kept for starts is there.
        for number in 0..3 {
            start(method, number).join().unwrap();
        }
        let _limited = Limited::to(48);
        for number in 0..1000 {
            assert_eq!(start(method, number).join().unwrap(), number * 2);
        }
    }
}

fn waits_to(number: u32, go: Event) -> u32 {
    assert!(go.wait_timeout(SOON).unwrap());
    number
}

#[procession::test]
fn two_hundred_processes_at_once() {
    let (_watchdog, _alone) = (watch(), alone());
    for method in METHODS {
        start(method, 0).join().unwrap();
        let _limited = Limited::to(2 * 200 + 48);
        let go = Event::new().unwrap();
        let begin = |number| {
            let process = Process::new(waits_to).start_method(method);
            process.args((number, go.clone())).start().unwrap()
        };
        let children: Vec<_> = (0..200).map(begin).collect();
        go.set();
        for (number, child) in (0..).zip(children) {
            assert_eq!(child.join().unwrap(), number);
        }
    }
}

#[procession::test]
fn threads_start_processes_at_once() {
    let (_watchdog, _alone) = (watch(), alone());
    for method in METHODS {
        std::thread::scope(|scope| {
            for thread in 0..6 {
                scope.spawn(move || {
                    for number in 0..5 {
                        let number = 10 * thread + number;
                        assert_eq!(start(method, number).join().unwrap(), number * 2);
                    }
                });
            }
        });
    }
}

#[procession::test]
fn many_pools_work_beside_each_other() {
    let (_watchdog, _alone) = (watch(), alone());
    for method in METHODS {
        let new = |_| Pool::builder().workers(2).start_method(method).start();
        let pools: Vec<_> = (0..6).map(|number| new(number).unwrap()).collect();
        let results = pools.iter().map(|pool| pool.map_async(double, 0..50));
        for result in results.collect::<Vec<_>>() {
            let doubled = result.unwrap().get().unwrap();
            assert!(doubled.into_iter().eq((0..50).map(double)));
        }
    }
}

fn doubles_by_a_pool(numbers: Vec<u32>) -> Vec<u32> {
    let pool = Pool::builder().workers(2).start().unwrap();
    pool.map(double, numbers).unwrap()
}

#[procession::test]
fn a_fork_of_a_process_with_a_pool_has_a_pool_of_its_own() {
    let (_watchdog, _alone) = (watch(), alone());
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.map(double, [1, 2]).unwrap(), [2, 4]);
    for _ in 0..3 {
        let process = Process::new(doubles_by_a_pool).args(vec![1, 2, 3]);
        // SAFETY: the other threads of this program wait for the harness.
        let child = unsafe { process.start_by_fork() }.unwrap();
        assert_eq!(child.join().unwrap(), [2, 4, 6]);
        assert_eq!(pool.map(double, [1, 2]).unwrap(), [2, 4]);
    }
}
