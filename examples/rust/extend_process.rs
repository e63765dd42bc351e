//! A process as a type of its own: `run` is what the child does.
//!
//! `start` makes the new process, which calls `run` and ends when `run`
//! returns. `wait` waits for that end.

use procession::{Process, Result, Run};
use serde::{Deserialize, Serialize};

/// Says hello from a process of its own.
#[derive(Serialize, Deserialize)]
struct Greeter;

impl Run for Greeter {
    type Output = ();

    fn run(self) {
        println!("hello from the child");
    }
}

#[procession::main]
fn main() -> Result<()> {
    let greeter = Process::of(Greeter);
    println!("hello from the main process");
    let child = greeter.start()?;
    println!("the child ended with exit code {}", child.wait()?);
    Ok(())
}
