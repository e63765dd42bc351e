//! A runtime below the attribute.

#[procession::main]
async fn main() {}
