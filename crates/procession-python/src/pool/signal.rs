//! Tells threads that wait for a result, and do not drive, that one has come.

use std::sync::atomic::{AtomicU32, Ordering};

use procession_engine::sys::wait::futex::{self, Scope, Woken};
use procession_engine::sys::wait::time::Deadline;
use procession_engine::{Error, ErrorKind};
use pyo3::prelude::*;

use crate::blocking::{nothing_yet, waiting};

/// Wakes threads of this process that wait for a change.
#[derive(Default)]
pub struct Signal {
    turn: AtomicU32,
    parked: AtomicU32,
}

impl Signal {
    /// Wakes whoever waits: what they wait for may have come.
    pub fn notify(&self) {
        // SeqCst: a waiter counts itself before it reads the turn and looks.
        self.turn.fetch_add(1, Ordering::SeqCst);
        if self.parked.load(Ordering::SeqCst) != 0 {
            futex::wake(&self.turn, u32::MAX, Scope::Private);
        }
    }

    /// Waits until `done` or the deadline, without the GIL; tells which.
    pub fn wait(
        &self,
        py: Python<'_>,
        done: &(dyn Fn() -> bool + Sync),
        deadline: Deadline,
    ) -> PyResult<bool> {
        let came = waiting(py, deadline, |deadline| {
            self.parked.fetch_add(1, Ordering::SeqCst);
            let result = self.park(done, deadline);
            self.parked.fetch_sub(1, Ordering::SeqCst);
            result?.then_some(()).ok_or_else(nothing_yet)
        })?;
        Ok(came.is_some())
    }

    fn park(&self, done: &dyn Fn() -> bool, deadline: Deadline) -> procession_engine::Result<bool> {
        loop {
            let turn = self.turn.load(Ordering::SeqCst);
            if done() {
                return Ok(true);
            }
            match futex::wait(&self.turn, turn, deadline, Scope::Private) {
                Woken::Changed => {}
                Woken::TimedOut => return Ok(done()),
                Woken::Interrupted => {
                    return Err(Error::new(ErrorKind::Interrupted, "a signal arrived"));
                }
            }
        }
    }
}
