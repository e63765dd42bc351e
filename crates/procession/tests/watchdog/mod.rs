//! Ends a test program in which a test hangs, and says which test it is.

use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

/// Long enough for a slow machine under load.
const PATIENCE: Duration = Duration::from_secs(120);

/// Watches over the test that holds it.
pub struct Watchdog(#[expect(dead_code, reason = "dropping it tells the thread")] Sender<()>);

/// Begins to watch over the test that calls it.
#[must_use = "it watches until it is dropped"]
pub fn watch() -> Watchdog {
    let name = thread::current().name().unwrap_or("a test").to_owned();
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || {
        if ended.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("{name} hangs");
            std::process::abort();
        }
    });
    Watchdog(sender)
}
