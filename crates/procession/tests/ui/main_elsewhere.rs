//! The attribute on another function than main.

#[procession::main]
fn start() {}

fn main() {}
