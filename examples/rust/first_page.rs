//! The program of the first page: a function, called by a pool of five processes.

use procession::{Pool, Result};

fn double(number: u64) -> u64 {
    number * 2
}

#[procession::main]
fn main() -> Result<()> {
    let pool = Pool::new(5)?;
    println!("{:?}", pool.map(double, [5, 10, 15])?);
    Ok(())
}
