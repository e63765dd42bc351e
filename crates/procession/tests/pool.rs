//! Pools as the Rust face promises them.

mod watchdog;

use std::collections::BTreeSet;
use std::time::Duration;

use procession::{Event, Pool, Queue, StartMethod};
use watchdog::watch;

const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::ForkServer];

/// Long enough for a slow machine, short enough for a watchdog.
const SOON: Duration = Duration::from_secs(60);

fn doubler(number: u64) -> u64 {
    number * 2
}

fn pool(method: StartMethod, workers: usize) -> Pool {
    let builder = Pool::builder().workers(workers).start_method(method);
    builder.start().unwrap()
}

#[procession::test]
fn map_keeps_the_order_of_its_inputs() {
    let _watchdog = watch();
    for method in METHODS {
        let pool = pool(method, 3);
        let doubled = pool.map(doubler, 0..20_000).unwrap();
        assert!(doubled.into_iter().eq((0..20_000).map(|n| n * 2)));
    }
}

#[procession::test]
fn map_of_nothing_is_nothing() {
    let _watchdog = watch();
    let pool = pool(StartMethod::ForkServer, 1);
    assert_eq!(pool.map(doubler, []).unwrap(), []);
}

#[procession::test]
fn functions_of_several_arguments_take_tuples() {
    let _watchdog = watch();
    let pool = pool(StartMethod::ForkServer, 2);
    let powers = pool.map(u64::pow, [(2, 3), (3, 2)]).unwrap();
    assert_eq!(powers, [8, 9]);
}

#[procession::test]
fn large_inputs_and_results_cross_whole() {
    let _watchdog = watch();
    let pool = pool(StartMethod::ForkServer, 2);
    let inputs: Vec<Vec<u8>> = (1..6).map(|n| vec![n; n as usize * 300_000]).collect();
    let lengths = pool
        .map(
            |mut bytes: Vec<u8>| {
                bytes.push(0);
                bytes
            },
            inputs.clone(),
        )
        .unwrap();
    for (mut input, output) in inputs.into_iter().zip(lengths) {
        input.push(0);
        assert!(input == output);
    }
}

fn fails_on_seven(number: u32) -> u32 {
    assert!(number != 7, "seven is not welcome");
    number
}

#[procession::test]
fn a_panic_fails_its_task_and_leaves_the_pool_at_work() {
    let _watchdog = watch();
    let pool = pool(StartMethod::ForkServer, 2);
    let error = pool.map(fails_on_seven, 0..20).unwrap_err();
    let info = error.panic_info().unwrap();
    assert!(info.message.contains("not welcome"));
    assert!(info.process.starts_with("PoolWorker-"));
    assert!(info.location.as_ref().unwrap().contains("pool.rs"));
    assert_eq!(pool.map(fails_on_seven, 0..5).unwrap(), [0, 1, 2, 3, 4]);
    let results: Vec<_> = pool.imap(fails_on_seven, 0..12).collect();
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 11);
    assert!(results[7].as_ref().unwrap_err().is_panic());
}

fn dies_on_three(number: u32) -> u32 {
    if number == 3 {
        std::process::abort();
    }
    number
}

#[procession::test]
fn a_dead_worker_costs_one_task() {
    let _watchdog = watch();
    for method in METHODS {
        let pool = pool(method, 2);
        let before: BTreeSet<u32> = pool.workers().iter().map(|worker| worker.pid).collect();
        let results: Vec<_> = pool.imap(dies_on_three, 0..12).collect();
        for (number, result) in (0..).zip(&results) {
            match result {
                Ok(value) => assert_eq!(*value, number),
                Err(error) => {
                    assert_eq!(number, 3);
                    assert!(error.is_died() && error.signal() == Some(6), "{error}");
                    assert!(before.contains(&error.pid().unwrap()));
                    let text = error.to_string();
                    assert!(
                        text.contains("SIGABRT") && text.contains("dies_on_three"),
                        "{text}"
                    );
                }
            }
        }
        assert_eq!(results.iter().filter(|result| result.is_err()).count(), 1);
        assert_eq!(pool.workers().len(), 2);
        assert_eq!(pool.map(doubler, [1]).unwrap(), [2]);
    }
}

#[procession::test]
fn a_result_that_is_late_comes_when_it_is_asked_for_again() {
    let _watchdog = watch();
    let pool = pool(StartMethod::ForkServer, 2);
    let go = Event::new().unwrap();
    let wait = |go: Option<Event>| go.is_none_or(|go| go.wait_timeout(SOON).unwrap());
    let mut results = pool.imap(wait, [Some(go.clone()), None]);
    for _ in 0..2 {
        let late = results.next_timeout(Duration::from_millis(10)).unwrap();
        let error = late.unwrap_err();
        assert!(error.is_timeout(), "{error}");
        assert!(error.to_string().contains("10ms"), "{error}");
    }
    go.set();
    assert!(results.next_timeout(SOON).unwrap().unwrap());
    assert!(results.next_timeout(SOON).unwrap().unwrap());
    assert!(results.next_timeout(SOON).is_none());
}

fn hold(begun: Queue<u32>, go: Event) -> u32 {
    begun.put(std::process::id()).unwrap();
    go.wait().unwrap();
    std::process::id()
}

#[procession::test]
fn a_pool_that_grew_has_more_at_work_and_one_that_shrank_loses_no_task() {
    let _watchdog = watch();
    for method in METHODS {
        let pool = pool(method, 1);
        pool.resize(3).unwrap();
        let (begun, go) = (Queue::new().unwrap(), Event::new().unwrap());
        let held = [(); 3].map(|()| pool.apply_async(hold, (begun.clone(), go.clone())).unwrap());
        let pids: BTreeSet<u32> = [(); 3].map(|()| begun.get_timeout(SOON).unwrap()).into();
        let workers = pool.workers();
        assert!(
            pids.iter()
                .copied()
                .eq(workers.iter().map(|w| w.pid).collect::<BTreeSet<_>>())
        );
        pool.resize(1).unwrap();
        assert_eq!(pool.workers().len(), 3);
        go.set();
        let done: BTreeSet<u32> = held.map(|held| held.get_timeout(SOON).unwrap()).into();
        assert_eq!(done, pids);
        let left = [workers[0].pid; 20];
        assert_eq!(pool.map(|_: u32| std::process::id(), 0..20).unwrap(), left);
        assert_eq!(pool.workers().len(), 1);
    }
}

#[procession::test]
fn a_pool_of_none_and_a_closed_one_are_not_resized() {
    let _watchdog = watch();
    let pool = pool(StartMethod::ForkServer, 1);
    assert!(pool.resize(0).unwrap_err().is_invalid());
    pool.close();
    assert!(pool.resize(2).unwrap_err().is_closed());
}

#[procession::test]
fn results_may_be_asked_for_later_and_in_any_order() {
    let _watchdog = watch();
    let pool = pool(StartMethod::ForkServer, 2);
    let go = Event::new().unwrap();
    let slow = pool
        .apply_async(
            |go: Event| go.wait().map_err(|error| error.to_string()),
            go.clone(),
        )
        .unwrap();
    let quick = pool.apply_async(doubler, 4).unwrap();
    assert!(quick.wait_timeout(SOON).unwrap());
    assert!(quick.is_ready() && quick.is_successful());
    assert_eq!(quick.get().unwrap(), 8);
    assert!(!slow.is_ready());
    let error = slow.get_timeout(Duration::from_millis(1)).unwrap_err();
    assert!(
        error.is_timeout() && error.to_string().contains("after 1ms"),
        "{error}"
    );
    pool.close();
    let error = pool.join_timeout(Duration::from_millis(1)).unwrap_err();
    let told = error.to_string().contains("had not ended after 1ms");
    assert!(error.is_timeout() && told, "{error}");
    go.set();
    assert_eq!(slow.get_timeout(SOON).unwrap(), Ok(()));
    assert!(slow.get_timeout(SOON).unwrap_err().is_invalid());
}

#[procession::test]
fn a_map_may_be_awaited_later() {
    let _watchdog = watch();
    let pool = pool(StartMethod::ForkServer, 2);
    let doubled = pool.map_async(doubler, 0..100).unwrap();
    let failed = pool.map_async(fails_on_seven, 0..100).unwrap();
    assert!(doubled.wait_timeout(SOON).unwrap() && doubled.is_successful());
    let expected: Vec<u64> = (0..100).map(|n| n * 2).collect();
    assert_eq!(doubled.get_timeout(SOON).unwrap(), expected);
    assert!(doubled.get_timeout(SOON).unwrap_err().is_invalid());
    assert!(failed.wait_timeout(SOON).unwrap() && !failed.is_successful());
    assert!(failed.get().unwrap_err().is_panic());
    assert_eq!(pool.map_async(doubler, []).unwrap().get().unwrap(), []);
}

#[procession::test]
fn imap_over_endless_input_looks_ahead_a_bounded_number() {
    let _watchdog = watch();
    let pool = pool(StartMethod::ForkServer, 2);
    let taken = std::cell::Cell::new(0_u64);
    let inputs = (0..).inspect(|_| taken.set(taken.get() + 1));
    let mut results = pool.imap(doubler, inputs);
    for expected in 0..10 {
        assert_eq!(results.next().unwrap().unwrap(), expected * 2);
    }
    assert!(taken.get() < 10_000, "{} inputs were taken", taken.get());
}

#[procession::test]
fn imap_unordered_gives_every_result_once() {
    let _watchdog = watch();
    let pool = pool(StartMethod::ForkServer, 3);
    let results = pool.imap_unordered(doubler, 0..10_000);
    let results: BTreeSet<u64> = results.map(Result::unwrap).collect();
    assert!(results.into_iter().eq((0..10_000).map(|n| n * 2)));
}

#[procession::test]
fn workers_are_replaced_after_their_share() {
    let _watchdog = watch();
    let builder = Pool::builder().workers(1).tasks_per_worker(2);
    let pool = builder.start().unwrap();
    let pids: Vec<u32> = (0..6)
        .map(|_| pool.apply(std::process::id, ()).unwrap())
        .collect();
    assert_eq!(pids.iter().collect::<BTreeSet<_>>().len(), 3, "{pids:?}");
}

#[procession::test]
fn an_initializer_runs_once_in_each_worker() {
    let _watchdog = watch();
    let queue = Queue::new().unwrap();
    let pool = Pool::builder()
        .workers(2)
        .initializer(
            |queue: Queue<u32>| queue.put(std::process::id()).unwrap(),
            queue.clone(),
        )
        .start()
        .unwrap();
    pool.map(doubler, 0..100).unwrap();
    let told: BTreeSet<u32> = [(); 2].map(|()| queue.get_timeout(SOON).unwrap()).into();
    let workers: BTreeSet<u32> = pool.workers().iter().map(|worker| worker.pid).collect();
    assert_eq!(told, workers);
    assert!(queue.is_empty());
}

#[procession::test]
fn an_initializer_that_panics_fails_the_pool_at_once() {
    let _watchdog = watch();
    let builder = Pool::builder().workers(2);
    let pool = builder
        .initializer(|| -> () { panic!("no licence") }, ())
        .start()
        .unwrap();
    let error = pool.map(doubler, 0..10).unwrap_err();
    assert_eq!(error.panic_info().unwrap().message, "no licence");
}

#[procession::test]
fn a_closed_pool_finishes_and_takes_no_more() {
    let _watchdog = watch();
    let pool = pool(StartMethod::ForkServer, 2);
    assert!(pool.join().unwrap_err().is_invalid());
    let pending = pool.apply_async(doubler, 21).unwrap();
    pool.close();
    let error = pool.apply(doubler, 1).unwrap_err();
    assert!(error.is_closed(), "{error}");
    pool.join_timeout(SOON).unwrap();
    assert_eq!(pending.get().unwrap(), 42);
}

#[procession::test]
fn a_busy_pool_is_terminated_at_once() {
    let _watchdog = watch();
    for method in METHODS {
        let pool = pool(method, 2);
        let started = Queue::new().unwrap();
        let wait_for_ever = |started: Queue<u32>| {
            started.put(1).unwrap();
            Event::new().unwrap().wait().unwrap();
        };
        let stuck = pool.apply_async(wait_for_ever, started.clone()).unwrap();
        started.get_timeout(SOON).unwrap();
        pool.terminate();
        assert!(stuck.get_timeout(SOON).unwrap_err().is_closed());
        pool.join_timeout(SOON).unwrap();
    }
}

#[procession::test]
fn a_pool_inside_a_pools_worker_works() {
    let _watchdog = watch();
    let outer = pool(StartMethod::ForkServer, 1);
    let inner_sum = |numbers: Vec<u64>| {
        let inner = Pool::new(1).map_err(|error| error.to_string())?;
        let doubled = inner
            .map(doubler, numbers)
            .map_err(|error| error.to_string())?;
        Ok::<u64, String>(doubled.iter().sum())
    };
    assert_eq!(outer.apply(inner_sum, vec![1, 2, 3]).unwrap(), Ok(12));
}

#[procession::test]
fn a_pool_of_no_workers_is_refused() {
    let _watchdog = watch();
    assert!(Pool::new(0).unwrap_err().is_invalid());
    let builder = Pool::builder().workers(1).start_method(StartMethod::Fork);
    assert!(builder.start().unwrap_err().is_invalid());
}

#[procession::test]
fn several_threads_share_a_pool() {
    let _watchdog = watch();
    let pool = pool(StartMethod::ForkServer, 2);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let pool = &pool;
            scope.spawn(move || {
                for round in 0..50 {
                    let number = thread * 1000 + round;
                    assert_eq!(pool.apply(doubler, number).unwrap(), number * 2);
                }
            });
        }
    });
}
