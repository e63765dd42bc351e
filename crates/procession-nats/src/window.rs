//! How many tasks a node holds.

use std::time::Duration;

use tokio::time::Instant;

/// How many tasks a worker has at least, that it need not wait for the next one.
const SHALLOW: usize = 2;

/// How many it has at most.
const DEEP: usize = 64;

/// How much work a worker has ahead. Of a node that dies all that it holds is lost.
const AHEAD: Duration = Duration::from_millis(2);

/// Holds more tasks the shorter they are, for fetching them takes time.
pub struct Window {
    workers: usize,
    /// How long a task takes, on average.
    one: Duration,
    /// How many the workers have.
    running: usize,
}

/// When a task was given to the workers, and after how many others its turn comes.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    at: Instant,
    turn: usize,
}

impl Window {
    /// Begins for so many workers.
    pub fn new(workers: usize) -> Self {
        Self {
            workers,
            one: AHEAD,
            running: 0,
        }
    }

    /// Returns how many tasks the node may hold.
    pub fn size(&self) -> usize {
        let depth = AHEAD.as_nanos() / self.one.as_nanos().max(1);
        self.workers * (depth as usize).clamp(SHALLOW, DEEP)
    }

    /// Notes that the workers have got a task.
    pub fn begin(&mut self) -> Begun {
        self.running += 1;
        Begun {
            at: Instant::now(),
            turn: self.running.div_ceil(self.workers),
        }
    }

    /// Notes that a task has ended.
    pub fn end(&mut self, begun: Begun) {
        self.running = self.running.saturating_sub(1);
        let one = begun.at.elapsed() / begun.turn as u32;
        self.one = (self.one * 7 + one) / 8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_tasks_are_fetched_many_at_a_time() {
        let mut window = Window::new(4);
        assert_eq!(window.size(), 8);
        window.one = Duration::from_micros(100);
        assert_eq!(window.size(), 80);
        window.one = Duration::from_secs(1);
        assert_eq!(window.size(), 8);
        let turns: Vec<usize> = (0..8).map(|_| window.begin().turn).collect();
        assert_eq!(turns, [1, 1, 1, 1, 2, 2, 2, 2]);
    }
}
