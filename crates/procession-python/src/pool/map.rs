//! How much of a map is still to come, and what an error does to it.

use crate::pool::terms::OnError;

/// Counts the tasks of a map.
pub struct Map {
    /// How many inputs there are, and how many make a task.
    pub length: usize,
    pub chunk: usize,
    /// How many tasks have no result yet.
    pub left: usize,
    pub on_error: OnError,
    /// Whether its first error has ended it, so that it takes no more results.
    stopped: bool,
}

/// What the result of one more task means for the map.
pub struct Counted {
    /// It is the last result.
    pub last: bool,
    /// It is an error that ends the map.
    pub stops: bool,
    /// It is an error that stands in the place of each of the task's results.
    pub is_collected: bool,
}

impl Map {
    pub fn new(length: usize, chunk: usize) -> Self {
        Self {
            length,
            chunk,
            left: length.div_ceil(chunk.max(1)),
            on_error: OnError::default(),
            stopped: false,
        }
    }

    /// Returns how many inputs the task at `index` has.
    pub fn count_at(&self, index: usize) -> usize {
        self.chunk
            .min(self.length.saturating_sub(index * self.chunk))
    }

    /// Counts the result of a task; `None` if the map has ended already.
    pub fn count(&mut self, success: bool, of_task: bool) -> Option<Counted> {
        if self.stopped {
            return None;
        }
        self.left = self.left.saturating_sub(1);
        self.stopped = !success && self.on_error == OnError::Stop;
        Some(Counted {
            last: self.left == 0,
            stops: self.stopped,
            is_collected: !success && of_task && self.on_error == OnError::Collect,
        })
    }

    /// Notes that `count` tasks will never be run; one of them is still to be counted.
    pub fn drop_all_but_one(&mut self, count: usize) {
        self.left = self.left.saturating_sub(count.saturating_sub(1)).max(1);
    }
}
