//! A closure that captures what can be copied.

use procession::Pool;

fn main() -> procession::Result<()> {
    let factor = std::hint::black_box(3);
    let pool = Pool::new(1)?;
    let products = pool.map(move |number: u64| number * factor, [1, 2])?;
    println!("{products:?}");
    Ok(())
}
