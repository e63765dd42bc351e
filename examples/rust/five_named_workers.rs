//! Starts five workers that run at the same time, each under its own name.
//!
//! The name is given to `Process` and is read in the child from
//! `current_process`.

use procession::{Process, Result, current_process};

/// Reports which worker did which job.
fn work(job: u32) -> String {
    format!("{} did job {job}", current_process().name())
}

#[procession::main]
fn main() -> Result<()> {
    let mut workers = Vec::new();
    for job in 1..=5 {
        let worker = Process::new(work).name(format!("worker {job}")).args(job);
        workers.push(worker.start()?);
    }
    let mut endings = Vec::new();
    for worker in workers {
        let (name, code) = (worker.name().to_owned(), worker.wait()?);
        endings.push(format!("{name} ended with exit code {code}"));
        println!("{}", worker.join()?);
    }
    println!("{}", endings.join("\n"));
    Ok(())
}
