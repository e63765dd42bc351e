//! The restart budget: how many workers may die without a task before the pool gives up.
//!
//! A worker that dies in a task fails that task, and there are only so many. But workers
//! that die without having started a task could be replaced for ever. Their restarts are
//! counted as supervisors in OTP do it, by intensity over period. Workers that end before
//! they are ready are counted apart, and more strictly.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::process::exit_status::ExitStatus;

/// Says how many workers may die without a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restarts {
    /// More deaths than this, within `period`, end the pool.
    pub intensity: u32,
    /// The time within which deaths are counted.
    pub period: Duration,
}

impl Default for Restarts {
    fn default() -> Self {
        Self {
            intensity: 100,
            period: Duration::from_secs(10),
        }
    }
}

/// Counts the deaths of workers that had no task.
#[derive(Debug)]
pub(crate) struct RestartBudget {
    allowed: Restarts,
    times: VecDeque<Instant>,
    /// How many workers in a row ended before they were ready.
    failed_starts: usize,
}

impl RestartBudget {
    pub(crate) fn new(allowed: Restarts) -> Self {
        Self {
            allowed,
            times: VecDeque::new(),
            failed_starts: 0,
        }
    }

    /// Notes that a worker is ready.
    pub(crate) fn started(&mut self) {
        self.failed_starts = 0;
    }

    /// Notes that a worker ended before it was ready.
    pub(crate) fn failed_to_start(
        &mut self,
        size: usize,
        status: Option<ExitStatus>,
    ) -> Result<()> {
        self.failed_starts += 1;
        if self.failed_starts <= size.max(2) {
            return Ok(());
        }
        let how = status.map_or_else(|| "ended".into(), |status| status.to_string());
        Err(Error::new(
            ErrorKind::Limit,
            format!(
                "{} workers in a row ended before they were ready; the last one {how}",
                self.failed_starts
            ),
        ))
    }

    /// Notes that a worker died without having started a task.
    pub(crate) fn died_idle(&mut self) -> Result<()> {
        let now = Instant::now();
        let Restarts { intensity, period } = self.allowed;
        self.times.push_back(now);
        while self.times.front().is_some_and(|&then| now - then > period) {
            self.times.pop_front();
        }
        if self.times.len() <= intensity as usize {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Limit,
            format!(
                "{} workers died within {} s without having been given a task",
                self.times.len(),
                period.as_secs_f32()
            ),
        ))
    }
}
