//! The program of `demo.py`, line for line, in Rust: six kinds of work, each
//! checked and timed.
//!
//!     cargo run --release -p procession --example demo

use std::collections::BTreeSet;
use std::time::Instant;

use procession::{Lock, Pool, Process, Queue, Result, Shared};
use serde_bytes::ByteBuf;

const STARTED: u32 = 24;
const PRIMES_BELOW: u64 = 1_000_000;
const SLICES: u64 = 16;
const SMALL_TASKS: u64 = 30_000;
const MESSAGES: u64 = 50_000;
const LARGE: usize = 48_000_000;
const LARGE_TIMES: u32 = 3;
const INCREMENTS: u64 = 50_000;

/// The pids of the processes that did some work.
type Pids = BTreeSet<u32>;
type Work = fn() -> Result<Pids>;

/// Starts named processes, one after another, that report to a queue.
fn start_and_join() -> Result<Pids> {
    let queue = Queue::new()?;
    let mut pids = Pids::new();
    for number in 0..STARTED {
        let name = format!("worker-{number}");
        let child = Process::new(report)
            .name(&name)
            .args(queue.clone())
            .start()?;
        let pid = child.pid();
        assert_eq!(queue.get()?, (name, pid));
        child.join()?;
        pids.insert(pid);
    }
    Ok(pids)
}

/// Puts the name and the pid of the process it runs in.
fn report(queue: Queue<(String, u32)>) {
    let me = procession::current_process();
    queue
        .put((me.name().to_owned(), std::process::id()))
        .expect("the parent keeps the queue");
}

/// Counts primes on a pool: the processors decide how long that takes.
fn map_long_tasks() -> Result<Pids> {
    let pool = Pool::new(2)?;
    let counts = pool.map(count_primes, (0..SLICES).map(|slice| 2 * slice + 1))?;
    // The 1 is counted and is no prime; the 2 is one and is not counted.
    let total: u64 = counts.iter().map(|(count, _)| count).sum();
    assert_eq!(total, 78_498);
    Ok(counts.into_iter().map(|(_, pid)| pid).collect())
}

/// Returns how many odd numbers of a slice have no odd divisor, and the pid of
/// who counted.
fn count_primes(first: u64) -> (u64, u32) {
    let mut count = 0;
    for number in (first..PRIMES_BELOW).step_by(2 * SLICES as usize) {
        let mut divisor = 3;
        while divisor * divisor <= number && !number.is_multiple_of(divisor) {
            divisor += 2;
        }
        count += u64::from(divisor * divisor > number);
    }
    (count, std::process::id())
}

/// Sends tasks so small that the sending is all there is to measure.
fn map_small_tasks() -> Result<Pids> {
    let pool = Pool::new(2)?;
    let squares = pool.map(square, 0..SMALL_TASKS)?;
    assert!(
        squares
            .iter()
            .zip(0..)
            .all(|((value, _), number)| *value == number * number)
    );
    Ok(squares.into_iter().map(|(_, pid)| pid).collect())
}

fn square(number: u64) -> (u64, u32) {
    (number * number, std::process::id())
}

/// Gets what a child puts.
fn drain_a_queue() -> Result<Pids> {
    let queue = Queue::new()?;
    let child = Process::new(fill).args(queue.clone()).start()?;
    let pid = child.pid();
    let mut sum = 0;
    for _ in 0..MESSAGES {
        sum += queue.get()?;
    }
    assert_eq!(sum, (0..MESSAGES).sum());
    child.join()?;
    Ok(Pids::from([pid]))
}

fn fill(queue: Queue<u64>) {
    for number in 0..MESSAGES {
        queue.put(number).expect("the parent keeps the queue");
    }
}

/// Sends a large payload to a worker, which answers with as much.
fn send_large_bytes() -> Result<Pids> {
    let payload = ByteBuf::from(vec![0; LARGE]);
    let pool = Pool::new(1)?;
    let mut pids = Pids::new();
    for _ in 0..LARGE_TIMES {
        let (answer, pid) = pool.apply(send_back, payload.clone())?;
        assert_eq!(answer.len(), LARGE);
        assert_eq!(answer.last(), Some(&0));
        pids.insert(pid);
    }
    Ok(pids)
}

fn send_back(payload: ByteBuf) -> (ByteBuf, u32) {
    (payload, std::process::id())
}

/// Lets two processes count together on a shared value.
fn count_under_a_lock() -> Result<Pids> {
    let total = Shared::new(0_u64)?;
    let lock = Lock::new()?;
    let children = [(); 2].map(|()| {
        Process::new(increment)
            .args((total.clone(), lock.clone()))
            .start()
    });
    let mut pids = Pids::new();
    for child in children {
        let child = child?;
        pids.insert(child.pid());
        child.join()?;
    }
    assert_eq!(total.get()?, 2 * INCREMENTS);
    Ok(pids)
}

fn increment(total: Shared<u64>, lock: Lock) {
    for _ in 0..INCREMENTS {
        let _guard = lock.lock().expect("no holder dies");
        let value = total.get().expect("the parent keeps the value");
        total.set(value + 1).expect("the parent keeps the value");
    }
}

#[procession::main]
fn main() -> Result<()> {
    let work: [(String, Work); 6] = [
        (
            format!("start and join {STARTED} processes"),
            start_and_join,
        ),
        (
            "count primes below 1,000,000, Pool(2)".to_owned(),
            map_long_tasks,
        ),
        ("map 30,000 tiny tasks, Pool(2)".to_owned(), map_small_tasks),
        ("get 50,000 items from a queue".to_owned(), drain_a_queue),
        (
            format!(
                "{} MB there and back, {LARGE_TIMES} times",
                LARGE / 1_000_000
            ),
            send_large_bytes,
        ),
        (
            "count to 100,000 under a lock".to_owned(),
            count_under_a_lock,
        ),
    ];
    for (name, work) in work {
        let begin = Instant::now();
        let pids = work()?;
        println!(
            "{name}\t{}\t{:.4}",
            pids.len(),
            begin.elapsed().as_secs_f64()
        );
    }
    Ok(())
}
