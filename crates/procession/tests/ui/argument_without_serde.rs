//! An argument that serde knows nothing of.

use procession::Pool;

struct Job {
    number: u64,
}

fn run(job: Job) -> u64 {
    job.number
}

fn main() -> procession::Result<()> {
    let pool = Pool::new(1)?;
    println!("{:?}", pool.map(run, [Job { number: 1 }])?);
    Ok(())
}
