//! A process type with arguments: they are fields, and `run` reads them.
//!
//! The fields are set before `start` and cross with the value. What `run`
//! changes in the child stays in the child: the last line shows it.

use procession::{Process, Result, Run};
use serde::{Deserialize, Serialize};

/// Greets one name as often as asked, from a process of its own.
#[derive(Clone, Serialize, Deserialize)]
struct Greeter {
    name_to_greet: String,
    times: u32,
}

impl Run for Greeter {
    type Output = ();

    fn run(mut self) {
        while self.times > 0 {
            println!("hello, {} ({} to go)", self.name_to_greet, self.times);
            self.times -= 1;
        }
    }
}

#[procession::main]
fn main() -> Result<()> {
    for (name, times) in [("Ada", 2), ("Grace", 1)] {
        let greeter = Greeter {
            name_to_greet: name.into(),
            times,
        };
        Process::of(greeter.clone()).start()?.join()?;
        println!(
            "here it still is {} for {}",
            greeter.times, greeter.name_to_greet
        );
    }
    Ok(())
}
