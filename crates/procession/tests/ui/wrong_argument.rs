//! An input of another type.

use procession::Pool;

fn double(number: u64) -> u64 {
    2 * number
}

fn main() -> procession::Result<()> {
    println!("{:?}", Pool::new(1)?.map(double, ["one"])?);
    Ok(())
}
