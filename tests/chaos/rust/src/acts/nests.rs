//! Processes of processes: each gives its result, or its death is told as it was.

use std::time::Duration;

use procession::{Child, Pool, Process, Result};

use super::pools::death;
use crate::actors::{WATCHDOG, any_method, pass, started};
use crate::chance::Chance;
use crate::ledger;

/// Processes that one storm starts at once.
const STORM: u64 = 16;

pub fn play(tag: &str, chance: &mut Chance) -> Result<()> {
    if chance.one_in(3) {
        storm(tag, chance)?;
    } else {
        start_one(tag, chance, 2)?;
    }
    ledger::note("settled", tag, 0, "");
    Ok(())
}

/// Starts many at once, and kills some at once.
fn storm(tag: &str, chance: &mut Chance) -> Result<()> {
    let method = any_method(chance);
    let mut children = Vec::new();
    for number in 0..STORM {
        let process = || Process::new(be_born).args((tag.to_owned(), number));
        children.push(started(|| process().start_method(method).start())?);
    }
    for _ in 0..3 {
        let child = &children[chance.below(STORM) as usize];
        ledger::note("slain", tag, u64::from(child.pid()), -9);
        child.kill()?;
    }
    for (number, child) in children.into_iter().enumerate() {
        receive(child, tag, number as u64);
    }
    Ok(())
}

fn be_born((tag, number): (String, u64)) -> u64 {
    ledger::note("begin", &tag, number, "");
    ledger::note("end", &tag, number, "");
    number
}

fn start_one(tag: &str, chance: &mut Chance, depth: u64) -> Result<()> {
    let (method, seed) = (any_method(chance), chance.next());
    let process = || Process::new(nest).args((tag.to_owned(), seed, depth));
    let child = started(|| process().start_method(method).start())?;
    receive(child, tag, 0);
    Ok(())
}

/// Starts a pool, a daemon and another such process.
fn nest((tag, seed, depth): (String, u64, u64)) -> u64 {
    ledger::note("begin", &tag, 0, "");
    let mut chance = Chance::new(seed);
    if depth > 0 {
        start_one(&format!("{tag}/0"), &mut chance, depth - 1).expect("it starts");
    }
    let method = any_method(&mut chance);
    let sleep = || Process::new(|| pass(WATCHDOG));
    let daemon = || sleep().daemon(true).start_method(method).start();
    let _daemon = started(daemon).expect("it starts");
    if let Ok(pool) = Pool::new(2) {
        for _ in 0..3 {
            // Fails if a worker was killed.
            if let Ok(doubled) = pool.map(|n: u64| 2 * n, [1, 2, 3]) {
                assert_eq!(doubled, [2, 4, 6]);
            }
        }
    }
    ledger::note("end", &tag, 0, "");
    0
}

fn receive(mut child: Child<u64>, tag: &str, number: u64) {
    ledger::note("submit", tag, number, "");
    match child.join_timeout(WATCHDOG + Duration::from_secs(1)) {
        Ok(result) if result == number => ledger::note("done", tag, number, ""),
        Ok(_) => ledger::note("wrong", tag, number, ""),
        Err(error) => match death(&error) {
            Some(death) => ledger::note("died", tag, number, death),
            None => panic!("{tag} {number}: {error}"),
        },
    }
}
