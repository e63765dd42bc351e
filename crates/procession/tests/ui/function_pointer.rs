//! A function of which only the address is known.

use procession::Process;

fn double(number: u64) -> u64 {
    2 * number
}

fn main() -> procession::Result<()> {
    let child = Process::new(double as fn(u64) -> u64).args(2).start()?;
    println!("{}", child.join()?);
    Ok(())
}
