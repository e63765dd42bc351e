//! What the calls of a map have in common in each worker: a context, or what was made there.

mod watchdog;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};

use procession::{IntoParProcesses, Pool, Queue, Result};
use serde::{Deserialize, Deserializer, Serialize};
use watchdog::watch;

/// A context that counts how often it was read.
#[derive(Serialize)]
struct Counted(u32);

static READ: AtomicU32 = AtomicU32::new(0);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        READ.fetch_add(1, Ordering::Relaxed);
        #[derive(Deserialize)]
        #[serde(rename = "Counted")]
        struct Plain(u32);
        Plain::deserialize(deserializer).map(|plain| Self(plain.0))
    }
}

fn times_read(_: &Counted, _: u32) -> (u32, u32) {
    (std::process::id(), READ.load(Ordering::Relaxed))
}

#[procession::test]
fn context_is_read_once_in_each_worker() {
    let _watchdog = watch();
    let pool = Pool::new(2).unwrap();
    // A worker may get no task of a call.
    let mut before: HashMap<u32, u32> = HashMap::new();
    for chunk in [1, 7] {
        let calls = pool.chunk_size(chunk);
        let seen = calls.map_with(&Counted(1), times_read, 0..1000).unwrap();
        let seen: BTreeSet<(u32, u32)> = seen.into_iter().collect();
        for (pid, count) in seen {
            let times = before.entry(pid).or_default();
            *times += 1;
            assert_eq!(count, *times);
        }
    }
}

#[procession::test]
fn context_may_be_large_and_have_handles() {
    let _watchdog = watch();
    let pool = Pool::new(2).unwrap();
    let found = Queue::new().unwrap();
    let context = (vec![7_u8; 3_000_000], found.clone());
    let look = |(bytes, found): &(Vec<u8>, Queue<u8>), at: usize| found.put(bytes[at]).is_ok();
    let told = pool.map_with(&context, look, [0, 2_999_999]).unwrap();
    assert_eq!(told, [true, true]);
    assert_eq!(found.get_many(2).unwrap().len(), 2);
}

#[procession::test]
fn several_contexts_may_be_mixed() {
    let _watchdog = watch();
    let pool = Pool::new(1).unwrap();
    let add = |context: &u64, n: u64| context + n;
    let mut sums: Vec<_> = (0..9_u64)
        .map(|context| (0..50).into_par_processes(&pool).map_with(&context, add))
        .collect();
    for n in 0..50 {
        for (context, sum) in (0..).zip(&mut sums) {
            assert_eq!(sum.next().unwrap().unwrap(), context + n);
        }
    }
}

#[procession::test]
fn panic_costs_one_call_and_the_state_is_made_anew() {
    let _watchdog = watch();
    let pool = Pool::new(1).unwrap();
    let count = |calls: &mut u32, n: u32| {
        *calls += 1;
        assert_ne!(n, 2, "two is too much");
        *calls
    };
    for chunk in [1, 3] {
        let inputs = (0..6).into_par_processes(&pool).chunk_size(chunk);
        let results: Vec<_> = inputs.map_init(|| 0, count).collect();
        let (told, failed): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        let told: Vec<u32> = told.into_iter().map(Result::unwrap).collect();
        assert_eq!(told, [1, 2, 1, 2, 3]);
        let error = failed.into_iter().next().unwrap().unwrap_err();
        assert!(
            error
                .panic_info()
                .unwrap()
                .message
                .contains("two is too much")
        );
    }
}

#[procession::test]
fn panic_of_init_is_the_panic_of_a_call() {
    let _watchdog = watch();
    let pool = Pool::new(1).unwrap();
    let init = || -> u32 { panic!("no connection") };
    let error = pool.map_init(init, |_, n: u32| n, [1]).unwrap_err();
    assert!(
        error
            .panic_info()
            .unwrap()
            .message
            .contains("no connection")
    );
    assert_eq!(pool.apply(|| 42, ()).unwrap(), 42);
}

#[procession::test]
fn context_that_cannot_cross_is_told_and_runs_nothing() {
    let _watchdog = watch();
    #[derive(Serialize, Deserialize)]
    struct Left {
        #[serde(skip_serializing_if = "Option::is_none")]
        out: Option<u8>,
    }
    let pool = Pool::new(1).unwrap();
    let error = pool
        .map_with(&Left { out: None }, |_, n: u32| n, [1])
        .unwrap_err();
    assert!(
        error.is_codec() && error.to_string().contains("the context of"),
        "{error}"
    );
    let done: u64 = pool.workers().iter().map(|worker| worker.tasks_done).sum();
    assert_eq!(done, 0);
}

#[procession::test]
fn first_error_stops_what_is_collected() {
    let _watchdog = watch();
    let pool = Pool::new(1).unwrap();
    let endless = (0_u64..).into_par_processes(&pool);
    let refused: Result<Vec<u64>> = endless.map(|n| 100 / (10 - n)).collect();
    assert!(refused.unwrap_err().is_panic());
    assert_eq!(pool.apply(|| 42, ()).unwrap(), 42);
}

#[procession::test]
fn worker_that_dies_costs_its_call_and_the_next_reads_the_context() {
    let _watchdog = watch();
    let pool = Pool::new(1).unwrap();
    let die = |context: &u32, n: u32| {
        if n == 1 {
            std::process::abort();
        }
        context + n
    };
    let results: Vec<_> = (0..3)
        .into_par_processes(&pool)
        .map_with(&10, die)
        .collect();
    assert_eq!(*results[0].as_ref().unwrap(), 10);
    assert!(results[1].as_ref().unwrap_err().is_died());
    assert_eq!(*results[2].as_ref().unwrap(), 12);
}
