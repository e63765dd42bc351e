//! Doubles numbers, each in a process that tells its name.
//!
//! A process that is given no name is called Process-N, where N counts the
//! processes made so far; the last one is named by us.

use procession::{Process, Result, current_process};

/// Doubles a number and says who did it.
fn doubler(number: u64) -> (u64, u64, String) {
    (number, number * 2, current_process().name())
}

#[procession::main]
fn main() -> Result<()> {
    let mut children = Vec::new();
    for number in [5, 10, 15, 20, 25] {
        children.push(Process::new(doubler).args(number).start()?);
    }
    children.push(Process::new(doubler).name("Test").args(2).start()?);

    let mut results = Vec::new();
    for child in children {
        results.push(child.join()?);
    }
    results.sort();
    for (number, doubled, name) in results {
        println!("{number} doubled to {doubled} by {name}");
    }
    Ok(())
}
