//! The demo's work for pools, on other machines: each part is checked and timed.
//!
//! Start a server (`nats-server -js`) and some nodes (`PROCESSION_NODE=nats://localhost:4222 demo`), then
//! `demo nats://localhost:4222`. It prints the work, how many processes had a part in it, and the seconds.

use std::collections::BTreeSet;
use std::time::Instant;

use procession::{Pool, Result};
use serde_bytes::ByteBuf;

const PRIMES_BELOW: u64 = 1_000_000;
const SLICES: u64 = 16;
const SMALL_TASKS: u64 = 30_000;
const LARGE: usize = 8_000_000;

/// The nodes' processes that did some work.
type Pids = BTreeSet<u32>;
type Work = fn(&Pool) -> Result<Pids>;

/// Counts primes: the processors decide how long that takes.
fn map_long_tasks(pool: &Pool) -> Result<Pids> {
    let counts = pool.map(count_primes, (0..SLICES).map(|slice| 2 * slice + 1))?;
    // The 1 is counted and is no prime; the 2 is one and is not counted.
    let total: u64 = counts.iter().map(|(count, _)| count).sum();
    assert_eq!(total, 78_498);
    Ok(counts.into_iter().map(|(_, pid)| pid).collect())
}

/// Returns how many odd numbers of a slice have no odd divisor, and the pid of who counted.
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

/// Sends small tasks, a thousand at a time.
fn map_small_tasks(pool: &Pool) -> Result<Pids> {
    let squares = pool.chunk_size(1000).map(square, 0..SMALL_TASKS)?;
    let expected = (0..SMALL_TASKS).map(|number| number * number);
    assert!(squares.iter().map(|(value, _)| *value).eq(expected));
    Ok(squares.into_iter().map(|(_, pid)| pid).collect())
}

fn square(number: u64) -> (u64, u32) {
    (number * number, std::process::id())
}

/// Sends a large payload to a worker, which answers with as much.
fn send_large_bytes(pool: &Pool) -> Result<Pids> {
    let payload = ByteBuf::from(vec![7; LARGE]);
    let (answer, pid) = pool.apply(send_back, payload.clone())?;
    assert!(answer == payload);
    Ok(Pids::from([pid]))
}

fn send_back(payload: ByteBuf) -> (ByteBuf, u32) {
    (payload, std::process::id())
}

fn main() -> Result<()> {
    procession_nats::init();
    let url = std::env::args().nth(1);
    let url = url.as_deref().unwrap_or("nats://localhost:4222");
    let pool = Pool::on(procession_nats::connect(url)?)?;
    let work: [(&str, Work); 3] = [
        ("count primes below 1,000,000", map_long_tasks),
        ("map 30,000 small tasks, 1,000 at a time", map_small_tasks),
        ("8 MB there and back", send_large_bytes),
    ];
    for (name, work) in work {
        let begin = Instant::now();
        let pids = work(&pool)?;
        let seconds = begin.elapsed().as_secs_f64();
        println!("{name}\t{}\t{seconds:.4}", pids.len());
    }
    Ok(())
}
