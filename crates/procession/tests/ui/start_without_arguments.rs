//! A start before the arguments are given.

use procession::Process;

fn main() -> procession::Result<()> {
    let child = Process::new(|number: u64| number + 1).start()?;
    println!("{}", child.join()?);
    Ok(())
}
