//! A closure that captures what it owns.

use procession::Pool;

fn main() -> procession::Result<()> {
    let greeting = "hello".to_owned();
    let pool = Pool::new(1)?;
    let texts = pool.map(move |name: String| format!("{greeting} {name}"), ["Ada".to_owned()])?;
    println!("{texts:?}");
    Ok(())
}
