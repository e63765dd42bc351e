//! A queue of items that serde knows nothing of.

use procession::Queue;

struct Job {
    number: u64,
}

fn main() -> procession::Result<()> {
    let queue = Queue::new()?;
    queue.put(Job { number: 1 })?;
    let job: Job = queue.get()?;
    println!("{}", job.number);
    Ok(())
}
