//! Being told to end.

use procession::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::faults::unavailable;

/// SIGTERM and SIGINT.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on they do not kill the process.
    pub fn new() -> Result<Self> {
        let handle = |kind| {
            signal(kind).map_err(|error| unavailable(format!("signals cannot be handled: {error}")))
        };
        Ok(Self {
            terminate: handle(SignalKind::terminate())?,
            interrupt: handle(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
