//! What the others do wrong, done right. As one test passes, all are compiled to the end.

use procession::{Pool, Process};

fn double(number: u64) -> u64 {
    2 * number
}

#[procession::main]
fn main() -> procession::Result<()> {
    let factor = 3;
    let child = Process::new(|(number, factor): (u64, u64)| number * factor).args((2, factor));
    assert_eq!(child.start()?.join()?, 6);
    assert_eq!(Pool::new(1)?.map(double, [1, 2])?, [2, 4]);
    Ok(())
}
