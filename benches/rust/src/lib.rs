//! What the Rust benchmarks share: how often, how timed, how printed.
//!
//! One program per library, each with the scenarios of benches/README.md that
//! the library can do. `bench-NAME SCENARIO` measures once and prints one
//! line of JSON, the form that benches/python reads.

use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Processes started and joined, one after another.
pub const STARTS: u32 = 200;

/// Calls of a warm pool, one after another.
pub const ROUND_TRIPS: u32 = 5_000;

/// Tasks mapped over a warm pool.
pub const TASKS: u64 = 100_000;

/// Items sent through a queue.
pub const ITEMS: u64 = 500_000;

/// Workers of every pool.
pub const WORKERS: usize = 2;

/// A scenario's name, and the function that returns its figure: seconds, or
/// things per second.
pub type Scenario = (&'static str, fn() -> f64);

/// Measures the scenario that the command line names and prints its figure.
#[must_use]
pub fn run(library: &str, scenarios: &[Scenario]) -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();
    let Some((_, measure)) = scenarios.iter().find(|scenario| scenario.0 == name) else {
        let names: Vec<_> = scenarios.iter().map(|scenario| scenario.0).collect();
        eprintln!(
            "there is no scenario {name:?} for {library}; there are {}",
            names.join(", ")
        );
        return ExitCode::FAILURE;
    };
    println!(r#"{{"value": {}, "library": "{library}"}}"#, measure());
    ExitCode::SUCCESS
}

/// Returns the seconds that one of `count` calls took.
pub fn seconds_each(count: u32, mut call: impl FnMut(u64)) -> f64 {
    timed(|| (0..u64::from(count)).for_each(&mut call)).as_secs_f64() / f64::from(count)
}

/// Returns how many of `count` things a second `work` did.
pub fn per_second(count: u64, work: impl FnOnce()) -> f64 {
    count as f64 / timed(work).as_secs_f64()
}

fn timed(work: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    work();
    begin.elapsed()
}
