//! A worker type: a process that takes tasks from a queue until told to stop.
//!
//! Three workers share one queue of tasks; closing it says that there is no
//! more to do. Who does which task is up to them, so the answers are sorted
//! before they are shown.

use procession::{Process, Queue, Result, Run};
use serde::{Deserialize, Serialize};

/// Takes numbers from `tasks` and puts (number, square) into `answers`.
#[derive(Serialize, Deserialize)]
struct Squarer {
    tasks: Queue<u32>,
    answers: Queue<(u32, u32)>,
}

impl Run for Squarer {
    type Output = ();

    fn run(self) {
        for number in &self.tasks {
            let number = number.expect("only numbers are in the queue");
            self.answers
                .put((number, number * number))
                .expect("the queue of answers stays open");
        }
    }
}

#[procession::main]
fn main() -> Result<()> {
    let (tasks, answers) = (Queue::new()?, Queue::new()?);
    let mut workers = Vec::new();
    for number in 1..=3 {
        let squarer = Squarer {
            tasks: tasks.clone(),
            answers: answers.clone(),
        };
        let process = Process::of(squarer).name(format!("squarer {number}"));
        workers.push(process.start()?);
    }
    tasks.put_many(1..=9)?;
    tasks.close()?;
    let mut squares = (1..=9).map(|_| answers.get()).collect::<Result<Vec<_>>>()?;
    squares.sort_unstable();
    for (number, square) in squares {
        println!("{number} squared is {square}");
    }
    for worker in workers {
        println!("{} ended with exit code {}", worker.name(), worker.wait()?);
    }
    Ok(())
}
