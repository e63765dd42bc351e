//! A test of a runtime.

#[procession::test]
async fn works() {}

fn main() {}
