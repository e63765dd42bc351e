//! Tasks of a pool that may take so long, be tried so often, or be cancelled.

mod watchdog;

use std::time::{Duration, Instant};

use procession::{Event, Pool, Queue, Shared, StartMethod};
use serde::{Deserialize, Serialize};
use watchdog::watch;

const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::ForkServer];

/// Long enough for a slow machine, short enough for a watchdog.
const SOON: Duration = Duration::from_secs(60);

/// What tasks may take here that take too long.
const LIMIT: Duration = Duration::from_millis(100);

fn pool(method: StartMethod, workers: usize) -> Pool {
    let builder = Pool::builder().workers(workers).start_method(method);
    builder.start().unwrap()
}

#[derive(Clone, Serialize, Deserialize)]
struct Gate {
    started: Queue<u32>,
    go: Event,
}

impl Gate {
    fn new() -> Self {
        Self {
            started: Queue::new().unwrap(),
            go: Event::new().unwrap(),
        }
    }

    fn pass(&self) {
        self.started.put(std::process::id()).unwrap();
        self.go.wait().unwrap();
    }
}

fn waits_at(gate: Gate) -> u32 {
    gate.pass();
    1
}

fn waits_on_three(number: u32, gate: Gate) -> u32 {
    if number == 3 {
        gate.pass();
    }
    number
}

/// Returns the index of the worker, which dies at 4 if it is so.
fn index_or_die(number: u32, dies: bool) -> Option<u32> {
    if dies && number == 4 {
        std::process::abort();
    }
    procession::current_process().worker_index()
}

#[procession::test]
fn ordered_tasks_go_to_the_workers_in_turn_and_a_new_worker_has_those_of_the_old_one() {
    let _watchdog = watch();
    for method in METHODS {
        let pool = pool(method, 3);
        let ordered = pool.order_tasks();
        let inputs = |dies| (0..30).map(move |n| (n, dies));
        let expected: Vec<_> = (0..30).map(|n| Some(n % 3)).collect();
        assert_eq!(ordered.map(index_or_die, inputs(false)).unwrap(), expected);
        let chunked = ordered.chunk_size(2).map(index_or_die, inputs(false));
        let chunks: Vec<_> = (0..30).map(|n| Some(n / 2 % 3)).collect();
        assert_eq!(chunked.unwrap(), chunks);
        let found: Vec<_> = ordered.imap(index_or_die, inputs(true)).collect();
        for (n, index) in found.into_iter().enumerate() {
            match n {
                4 => assert!(index.unwrap_err().is_died()),
                n => assert_eq!(index.unwrap(), expected[n]),
            }
        }
        // One that is alone may go to any.
        assert!(ordered.apply(index_or_die, (0, false)).unwrap().is_some());
    }
}

#[procession::test]
fn a_task_that_takes_too_long_fails_alone_and_tells_its_name_and_limit() {
    let _watchdog = watch();
    for method in METHODS {
        let pool = pool(method, 2);
        let gate = Gate::new();
        let inputs = (0..12).map(|number| (number, gate.clone()));
        let before = Instant::now();
        let results: Vec<_> = pool.timeout(LIMIT).imap(waits_on_three, inputs).collect();
        assert!(before.elapsed() >= LIMIT);
        let pid = gate.started.get_timeout(SOON).unwrap();
        for (number, result) in (0..).zip(results) {
            let Err(error) = result else {
                assert_eq!(result.unwrap(), number);
                continue;
            };
            assert_eq!(number, 3);
            assert!(error.is_timeout() && !error.is_died(), "{error}");
            assert_eq!((error.time_limit(), error.pid()), (Some(LIMIT), Some(pid)));
            let text = error.to_string();
            assert!(
                text.contains("waits_on_three took longer than 100ms"),
                "{text}"
            );
        }
        assert_eq!(pool.workers().len(), 2);
    }
}

#[procession::test]
fn a_deadline_is_kept_though_nobody_waits() {
    let _watchdog = watch();
    let pool = pool(StartMethod::ForkServer, 1);
    let stuck = pool
        .timeout(LIMIT)
        .apply_async(waits_at, Gate::new())
        .unwrap();
    while !stuck.is_ready() {
        std::thread::yield_now();
    }
    assert_eq!(stuck.get().unwrap_err().time_limit(), Some(LIMIT));
}

#[procession::test]
fn a_map_is_given_the_time_of_each_of_its_tasks() {
    let _watchdog = watch();
    let pool = pool(StartMethod::ForkServer, 2);
    let gate = Gate::new();
    let inputs = (0..8).map(|number| (number, gate.clone()));
    let error = pool.timeout(LIMIT).map(waits_on_three, inputs).unwrap_err();
    assert!(error.is_timeout());
    let doubled = pool.timeout(SOON).map(|n: u32| n * 2, 0..100).unwrap();
    assert!(doubled.into_iter().eq((0..100).map(|n| n * 2)));
}

#[procession::test]
fn a_task_in_line_is_cancelled_and_never_runs() {
    let _watchdog = watch();
    let pool = pool(StartMethod::ForkServer, 1);
    let gate = Gate::new();
    let first = pool.apply_async(waits_at, gate.clone()).unwrap();
    let second = pool.apply_async(waits_at, gate.clone()).unwrap();
    let many = pool.map_async(|n: u32| n, 0..1000).unwrap();
    gate.started.get_timeout(SOON).unwrap();
    assert!(second.cancel().unwrap() && !second.cancel().unwrap());
    assert!(second.is_ready() && !second.is_successful());
    assert!(second.get().unwrap_err().is_cancelled());
    assert!(many.cancel().unwrap());
    assert!(many.get().unwrap_err().is_cancelled());
    gate.go.set();
    assert_eq!(first.get().unwrap(), 1);
    assert_eq!(pool.apply(|| 2, ()).unwrap(), 2);
    assert!(gate.started.is_empty());
}

#[procession::test]
fn a_task_that_runs_is_spared_or_killed() {
    let _watchdog = watch();
    for method in METHODS {
        let pool = pool(method, 2);
        let gate = Gate::new();
        let calls = [(); 2].map(|()| pool.apply_async(waits_at, gate.clone()).unwrap());
        for _ in 0..2 {
            gate.started.get_timeout(SOON).unwrap();
        }
        let [spared, killed] = calls;
        assert!(!spared.cancel().unwrap());
        assert!(killed.kill().unwrap());
        let error = killed.get_timeout(SOON).unwrap_err();
        assert!(
            error.is_cancelled() && error.to_string().contains("waits_at"),
            "{error}"
        );
        assert_eq!(pool.apply(|| 2, ()).unwrap(), 2);
        gate.go.set();
        assert_eq!(spared.get_timeout(SOON).unwrap(), 1);
    }
}

#[procession::test]
fn a_result_that_is_there_is_not_cancelled() {
    let _watchdog = watch();
    let pool = pool(StartMethod::ForkServer, 1);
    let result = pool.apply_async(|| 42, ()).unwrap();
    assert!(result.wait_timeout(SOON).unwrap());
    assert!(!result.kill().unwrap());
    assert_eq!(result.get().unwrap(), 42);
}

fn waits_unless_first(number: u32, gate: Gate) -> u32 {
    if number > 0 {
        waits_at(gate);
    }
    number
}

#[procession::test]
fn what_is_left_of_an_imap_is_cancelled() {
    let _watchdog = watch();
    for method in METHODS {
        let pool = pool(method, 1);
        let gate = Gate::new();
        let inputs = || (0..).map(|number| (number, gate.clone()));
        let mut results = pool.imap(waits_unless_first, inputs());
        assert_eq!(results.next().unwrap().unwrap(), 0);
        gate.started.get_timeout(SOON).unwrap();
        assert!(results.cancel().unwrap() && !results.cancel().unwrap());
        gate.go.set();
        // The one that runs is spared.
        assert_eq!(results.next().unwrap().unwrap(), 1);
        assert!(results.all(|result| result.unwrap_err().is_cancelled()));
        assert_eq!(pool.apply(|| 2, ()).unwrap(), 2);
        assert!(gate.started.is_empty());

        gate.go.clear();
        let mut results = pool.imap_unordered(waits_unless_first, inputs());
        assert_eq!(results.next().unwrap().unwrap(), 0);
        gate.started.get_timeout(SOON).unwrap();
        assert!(results.kill().unwrap());
        assert!(results.all(|result| result.unwrap_err().is_cancelled()));
        assert_eq!(pool.apply(|| 2, ()).unwrap(), 2);
    }
}

#[procession::test]
fn tasks_of_an_imap_that_was_dropped_never_run() {
    let _watchdog = watch();
    let pool = pool(StartMethod::ForkServer, 1);
    let gate = Gate::new();
    let mut results = pool.imap(waits_unless_first, (0..).map(|n| (n, gate.clone())));
    assert_eq!(results.next().unwrap().unwrap(), 0);
    gate.started.get_timeout(SOON).unwrap();
    drop(results);
    gate.go.set();
    assert_eq!(pool.apply(|| 2, ()).unwrap(), 2);
    assert!(gate.started.is_empty());
}

fn dies_at_first(count: u32, calls: Shared<u32>) -> u32 {
    let mut called = 0;
    calls
        .update(|calls| {
            *calls += 1;
            called = *calls;
        })
        .unwrap();
    if called <= count {
        std::process::abort();
    }
    called
}

#[procession::test]
fn a_task_is_run_again_as_often_as_it_may() {
    let _watchdog = watch();
    for method in METHODS {
        let pool = pool(method, 2);
        let calls = Shared::new(0).unwrap();
        let careful = pool.retries(2);
        assert_eq!(careful.apply(dies_at_first, (2, calls.clone())).unwrap(), 3);
        calls.set(0).unwrap();
        let error = careful
            .apply(dies_at_first, (99, calls.clone()))
            .unwrap_err();
        assert!(error.is_died() && error.tries() == Some(3), "{error}");
        assert_eq!(calls.get().unwrap(), 3);
        let text = error.to_string();
        assert!(
            text.contains("dies_at_first, which was tried 3 times"),
            "{text}"
        );
        assert_eq!(pool.apply(|| 2, ()).unwrap(), 2);
    }
}

#[procession::test]
fn a_pool_may_say_how_often_for_all_its_calls() {
    let _watchdog = watch();
    let pool = Pool::builder().workers(1).retries(1).start().unwrap();
    let calls = Shared::new(0).unwrap();
    assert_eq!(pool.apply(dies_at_first, (1, calls.clone())).unwrap(), 2);
    calls.set(0).unwrap();
    let once = pool.retries(0).apply(dies_at_first, (99, calls.clone()));
    assert_eq!(once.unwrap_err().tries(), Some(1));
    assert_eq!(calls.get().unwrap(), 1);
}

#[procession::test]
fn a_panic_is_no_reason_to_run_a_task_again() {
    let _watchdog = watch();
    let pool = pool(StartMethod::ForkServer, 1);
    let calls = Shared::new(0).unwrap();
    let panics = |calls: Shared<u32>| -> u8 {
        calls.update(|calls| *calls += 1).unwrap();
        panic!("no luck")
    };
    let error = pool.retries(5).apply(panics, calls.clone()).unwrap_err();
    assert!(error.is_panic());
    assert_eq!(calls.get().unwrap(), 1);
}

#[procession::test]
fn imap_looks_ahead_a_bounded_number_of_bytes() {
    let _watchdog = watch();
    let pool = pool(StartMethod::ForkServer, 2);
    let size: usize = 4 << 20;
    let taken = std::cell::Cell::new(0_usize);
    let inputs = (0_u8..).map(|number| {
        taken.set(taken.get() + 1);
        serde_bytes::ByteBuf::from(vec![number; size])
    });
    let mut results = pool.imap(|bytes: serde_bytes::ByteBuf| bytes, inputs);
    for expected in 0..8 {
        assert_eq!(results.next().unwrap().unwrap()[0], expected);
        assert!(taken.get() <= usize::from(expected) + 8, "{}", taken.get());
    }
}

fn notes(order: Queue<u32>, number: u32) -> bool {
    order.put(number).is_ok()
}

#[procession::test]
fn tasks_of_a_higher_priority_begin_first_whichever_call_came_first() {
    let _watchdog = watch();
    let pool = pool(StartMethod::ForkServer, 1);
    let (go, order) = (Event::new().unwrap(), Queue::new().unwrap());
    let busy = pool.apply_async(|go: Event| go.wait().is_ok(), go.clone());
    let numbers = |range: std::ops::Range<u32>| range.map(|number| (order.clone(), number));
    let later = pool.priority(-1).map_async(notes, numbers(20..40)).unwrap();
    let sooner = pool.priority(1).map_async(notes, numbers(0..20)).unwrap();
    go.set();
    assert!(busy.unwrap().get().unwrap());
    assert!(sooner.get().unwrap().into_iter().all(|put| put));
    assert!(later.get().unwrap().into_iter().all(|put| put));
    let begun = order.get_many(40).unwrap();
    assert!(begun.into_iter().eq(0..40));
}
