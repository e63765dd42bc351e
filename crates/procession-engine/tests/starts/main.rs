//! Processes started in every way, by a program that starts itself.
//!
//! A small harness instead of the usual one: the program must be able to turn
//! into a child at the top of `main`, and to fork while it has one thread.

mod fork;
mod forkserver;
mod harness;
mod role;
mod spawn;
mod spawn_spares;

use procession_engine::start::introduction::Introduction;

fn main() {
    if let Some(introduction) = Introduction::find(std::env::args_os()) {
        role::play(&introduction);
    }
    harness::run(&[
        fork::TESTS,
        spawn::TESTS,
        forkserver::TESTS,
        spawn_spares::TESTS,
    ]);
}
