//! A pool of five workers greets fifteen names.
//!
//! `map` shares the names out among the workers and returns the greetings in
//! the order of the names, whoever made them.

use std::collections::BTreeSet;

use procession::{Pool, Result};

const NAMES: [&str; 15] = [
    "Ada",
    "Alan",
    "Barbara",
    "Dennis",
    "Donald",
    "Edsger",
    "Frances",
    "Grace",
    "Hedy",
    "John",
    "Katherine",
    "Ken",
    "Leslie",
    "Margaret",
    "Radia",
];

/// Returns a greeting and the pid of the worker that made it.
fn greet(name: String) -> (String, u32) {
    (format!("hello, {name}"), std::process::id())
}

#[procession::main]
fn main() -> Result<()> {
    let pool = Pool::new(5)?;
    let greetings = pool.map(greet, NAMES.map(str::to_owned))?;
    for (greeting, _) in &greetings {
        println!("{greeting}");
    }
    let pids: BTreeSet<u32> = greetings.iter().map(|(_, pid)| *pid).collect();
    let yes_or_no = |answer| if answer { "yes" } else { "no" };
    println!(
        "{} names, no more than 5 workers: {}",
        NAMES.len(),
        yes_or_no(pids.len() <= 5)
    );
    println!(
        "the main process greeted nobody: {}",
        yes_or_no(!pids.contains(&std::process::id()))
    );
    Ok(())
}
