//! Lines of tasks that wait for their turn, one for each place of the pool.
//!
//! [`turns`](super::turns) says which tasks wait here, and what becomes of them.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::pool::owner::worker_slot::QueuedTask;

/// Where a task stands in a line.
pub(crate) type LinePlace = (Reverse<i32>, u64);

/// A line for each place of the pool, of the tasks whose turn it is there.
#[derive(Debug)]
pub(crate) struct TurnLines<T> {
    /// No line is empty.
    lines: BTreeMap<u32, BTreeMap<LinePlace, QueuedTask<T>>>,
}

impl<T> Default for TurnLines<T> {
    fn default() -> Self {
        Self {
            lines: BTreeMap::new(),
        }
    }
}

impl<T> TurnLines<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(crate) fn insert(&mut self, seat: u32, task: QueuedTask<T>) {
        let line = self.lines.entry(seat).or_default();
        line.insert(task.place(), task);
    }

    pub(crate) fn first(&self, seat: u32) -> Option<LinePlace> {
        let line = self.lines.get(&seat)?;
        line.first_key_value().map(|(place, _)| *place)
    }

    pub(crate) fn pop_first(&mut self, seat: u32) -> Option<QueuedTask<T>> {
        let line = self.lines.get_mut(&seat)?;
        let first = line.pop_first().map(|(_, task)| task);
        if line.is_empty() {
            self.lines.remove(&seat);
        }
        first
    }

    /// Takes all tasks out.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = QueuedTask<T>> + use<T> {
        let lines = std::mem::take(&mut self.lines).into_values();
        lines.flat_map(BTreeMap::into_values)
    }
}
