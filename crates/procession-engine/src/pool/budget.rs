//! How often workers may be replaced for nothing before the pool gives up.
//!
//! A worker that dies in a task has cost that task, and there are only so many.
//! One that dies without having been given anything to do would be replaced
//! for ever: such restarts are counted, as supervisors in OTP do, by intensity
//! over period. Workers that never get as far as announcing themselves are
//! counted apart, and more strictly.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::os::exit_status::ExitStatus;

/// Says how many restarts for nothing are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restarts {
    /// So many of them...
    pub intensity: u32,
    /// ...in this time end the pool.
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

/// Counts restarts for nothing.
#[derive(Debug)]
pub(super) struct Budget {
    allowed: Restarts,
    times: VecDeque<Instant>,
    /// Workers in a row that ended before they announced themselves.
    still_born: usize,
}

impl Budget {
    pub(super) fn new(allowed: Restarts) -> Self {
        Self {
            allowed,
            times: VecDeque::new(),
            still_born: 0,
        }
    }

    /// Notes that a worker has announced itself.
    pub(super) fn started(&mut self) {
        self.still_born = 0;
    }

    /// Notes that a worker ended before it announced itself.
    pub(super) fn failed_to_start(
        &mut self,
        size: usize,
        status: Option<ExitStatus>,
    ) -> Result<()> {
        self.still_born += 1;
        if self.still_born <= size.max(2) {
            return Ok(());
        }
        let how = status.map_or_else(|| "ended".into(), |status| status.to_string());
        Err(Error::new(
            ErrorKind::Limit,
            format!(
                "{} workers in a row ended before they were ready; the last one {how}",
                self.still_born
            ),
        ))
    }

    /// Notes that a worker died with nothing to do.
    pub(super) fn died_idle(&mut self) -> Result<()> {
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
