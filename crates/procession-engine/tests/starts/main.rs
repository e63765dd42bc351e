//! Processes started in every way, by a program that starts itself.
//!
//! A small harness instead of the usual one: the program must be able to turn
//! into a child at the top of `main`, and to fork while it has one thread.

mod fork;
mod forkserver;
mod harness;
mod prebooted;
mod role;
mod spawn;
mod working_set;

use procession_engine::launch::bootstrap::BootstrapArgument;

fn main() {
    if let Some(introduction) = BootstrapArgument::find(std::env::args_os()) {
        role::register_halt();
        role::play(&introduction);
    }
    harness::run(&[
        fork::TESTS,
        spawn::TESTS,
        forkserver::TESTS,
        prebooted::TESTS,
        working_set::TESTS,
    ]);
}
