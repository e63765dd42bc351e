//! A closure that captures what it borrows.

use procession::Pool;

fn main() -> procession::Result<()> {
    let words = vec!["one".to_owned()];
    let pool = Pool::new(1)?;
    let lengths = pool.map(|index: usize| words[index].len(), [0])?;
    println!("{lengths:?}");
    Ok(())
}
