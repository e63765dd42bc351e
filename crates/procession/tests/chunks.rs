//! Maps whose tasks have several inputs each.

mod watchdog;

use std::time::Duration;

use procession::{Event, Pool, Queue, Shared};
use watchdog::watch;

fn doubler(number: u64) -> u64 {
    number * 2
}

#[procession::test]
fn results_are_those_of_single_inputs_whatever_the_size() {
    let _watchdog = watch();
    let pool = Pool::new(2).unwrap();
    let expected: Vec<u64> = (0..10_001).map(doubler).collect();
    for size in [1, 2, 7, 1000, 10_001, 1_000_000, usize::MAX] {
        let calls = pool.chunk_size(size);
        assert_eq!(calls.map(doubler, 0..10_001).unwrap(), expected);
        let pending = calls.map_async(doubler, 0..10_001).unwrap();
        assert_eq!(pending.get().unwrap(), expected);
        let in_order: Vec<u64> = calls
            .imap(doubler, 0..10_001)
            .map(|result| result.unwrap())
            .collect();
        assert_eq!(in_order, expected);
        let mut as_they_come: Vec<u64> = calls
            .imap_unordered(doubler, 0..10_001)
            .map(|result| result.unwrap())
            .collect();
        as_they_come.sort_unstable();
        assert_eq!(as_they_come, expected);
        assert_eq!(calls.map(doubler, []).unwrap(), []);
    }
}

#[procession::test]
fn chunk_is_one_task() {
    let _watchdog = watch();
    let pool = Pool::new(1).unwrap();
    pool.chunk_size(10).map(doubler, 0..95).unwrap();
    assert_eq!(pool.workers()[0].tasks_done, 10);
}

#[procession::test]
fn panic_is_that_of_its_input_alone() {
    let _watchdog = watch();
    let pool = Pool::new(2).unwrap();
    let odd = |number: u64| {
        assert!(number % 2 == 1, "{number} is even");
        number
    };
    let results: Vec<_> = pool.chunk_size(5).imap(odd, 0..20).collect();
    for (number, result) in (0..).zip(results) {
        match result {
            Ok(value) => assert!(value == number && number % 2 == 1),
            Err(error) => {
                assert!(error.is_panic() && number % 2 == 0, "{error}");
                assert!(error.to_string().contains(&format!("{number} is even")));
            }
        }
    }
    let error = pool.chunk_size(5).map(odd, 1..20).unwrap_err();
    assert!(error.to_string().contains("2 is even"), "{error}");
}

#[procession::test]
fn death_fails_the_inputs_of_its_chunk_and_no_other() {
    let _watchdog = watch();
    let pool = Pool::new(2).unwrap();
    let deadly = |number: u64| match number {
        13 => std::process::abort(),
        number => number,
    };
    let results: Vec<_> = pool.chunk_size(10).imap(deadly, 0..40).collect();
    assert_eq!(results.len(), 40);
    for (number, result) in results.into_iter().enumerate() {
        match result {
            Ok(value) => assert!(value == number as u64 && !(10..20).contains(&number)),
            Err(error) => assert!(error.is_died() && (10..20).contains(&number), "{error}"),
        }
    }
}

#[procession::test]
fn chunk_is_run_again_when_its_worker_has_died() {
    let _watchdog = watch();
    let pool = Pool::new(2).unwrap();
    let dies_at_first = |(number, calls): (u64, Shared<u64>)| {
        let mut before = 0;
        calls
            .update(|calls| {
                before = *calls;
                *calls += 1;
            })
            .unwrap();
        if before == 0 {
            std::process::abort();
        }
        number
    };
    let calls = Shared::new(0).unwrap();
    let inputs = (0..4).map(|number| (number, calls.clone()));
    let results = pool.retries(1).chunk_size(4).map(dies_at_first, inputs);
    assert_eq!(results.unwrap(), [0, 1, 2, 3]);
    assert_eq!(calls.get().unwrap(), 5);
}

#[procession::test]
fn timeout_is_that_of_the_chunk() {
    let _watchdog = watch();
    let pool = Pool::new(1).unwrap();
    let calls = pool.timeout(Duration::from_millis(50)).chunk_size(2);
    let waits = |event: Option<Event>| event.is_none_or(|event| event.wait().is_ok());
    let stuck = Event::new().unwrap();
    let results: Vec<_> = calls
        .imap(waits, [None, Some(stuck), None, None])
        .map(|result| result.map_err(|error| error.is_timeout()))
        .collect();
    assert_eq!(results, [Err(true), Err(true), Ok(true), Ok(true)]);
}

#[procession::test]
fn objects_cross_in_chunks_both_ways() {
    let _watchdog = watch();
    let pool = Pool::new(2).unwrap();
    let queues: Vec<Queue<usize>> = (0..20).map(|_| Queue::new().unwrap()).collect();
    let put = |(number, queue): (usize, Queue<usize>)| {
        queue.put(number).unwrap();
        queue
    };
    let inputs: Vec<_> = queues.iter().cloned().enumerate().collect();
    let back = pool.chunk_size(7).map(put, inputs).unwrap();
    drop(queues);
    for (number, queue) in back.iter().enumerate() {
        assert_eq!(queue.get().unwrap(), number);
    }
}

#[procession::test]
fn endless_inputs_are_taken_as_workers_need_them() {
    let _watchdog = watch();
    let pool = Pool::new(2).unwrap();
    let mut taken = 0;
    let endless = std::iter::from_fn(|| {
        taken += 1;
        Some(taken)
    });
    let first: Vec<u64> = pool
        .chunk_size(100)
        .imap(doubler, endless)
        .take(250)
        .map(|result| result.unwrap())
        .collect();
    assert!(first.into_iter().eq((1..=250).map(doubler)));
    assert!(taken < 20_000, "{taken}");
}

#[procession::test]
fn large_chunks_keep_all_workers_busy() {
    let _watchdog = watch();
    let pool = Pool::new(2).unwrap();
    // Ends only if both chunks run at the same time.
    let meets = |(own, other): (Event, Event)| {
        own.set();
        other.wait().is_ok()
    };
    let (a, b) = (Event::new().unwrap(), Event::new().unwrap());
    let size = 10_000;
    let first = std::iter::repeat_n((a.clone(), b.clone()), size);
    let second = std::iter::repeat_n((b, a), size);
    let met = pool.chunk_size(size).map(meets, first.chain(second));
    assert!(met.unwrap().into_iter().all(|met| met));
}

#[procession::test]
fn chunk_of_nothing_is_refused_at_the_call() {
    let _watchdog = watch();
    let pool = Pool::new(1).unwrap();
    let calls = pool.chunk_size(0);
    let error = calls.map(doubler, 0..3).unwrap_err();
    assert!(error.is_invalid() && error.to_string().contains("chunk_size"));
    let first = calls.imap(doubler, 0..3).next().unwrap();
    assert!(first.unwrap_err().is_invalid());
    assert_eq!(calls.apply(doubler, 4).unwrap(), 8);
}
