//! A queue in which entries of a higher priority go before all others.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

/// The priority of entries for which none is said: most are such, so their line stays
/// when it is empty.
const USUAL: i32 = 0;

/// Entries by priority, and those of one priority in the order in which they came.
#[derive(Debug)]
pub(crate) struct PriorityQueue<E> {
    /// Only the line of `USUAL` may be empty.
    lines: BTreeMap<Reverse<i32>, VecDeque<E>>,
}

impl<E> Default for PriorityQueue<E> {
    fn default() -> Self {
        Self {
            lines: BTreeMap::from([(Reverse(USUAL), VecDeque::new())]),
        }
    }
}

impl<E> PriorityQueue<E> {
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.values().all(VecDeque::is_empty)
    }

    /// Puts an entry behind all that have its priority.
    pub(crate) fn push_back(&mut self, priority: i32, entry: E) {
        self.lines
            .entry(Reverse(priority))
            .or_default()
            .push_back(entry);
    }

    /// Puts an entry before all that have its priority.
    pub(crate) fn push_front(&mut self, priority: i32, entry: E) {
        self.lines
            .entry(Reverse(priority))
            .or_default()
            .push_front(entry);
    }

    /// Returns the first entry, and its priority.
    pub(crate) fn front(&self) -> Option<(i32, &E)> {
        let mut lines = self.lines.iter();
        lines.find_map(|(priority, line)| Some((priority.0, line.front()?)))
    }

    /// Takes the first entry out.
    pub(crate) fn pop_front(&mut self) -> Option<E> {
        let (priority, _) = self.front()?;
        let line = self.lines.get_mut(&Reverse(priority))?;
        let entry = line.pop_front();
        if line.is_empty() && priority != USUAL {
            self.lines.remove(&Reverse(priority));
        }
        entry
    }

    /// Takes all entries out, in order, with their priorities.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = (i32, E)> + use<E> {
        let lines = std::mem::take(self).lines.into_iter();
        lines.flat_map(|(priority, line)| line.into_iter().map(move |entry| (priority.0, entry)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn higher_priorities_go_first_and_equal_ones_in_order() {
        let mut queue = PriorityQueue::default();
        for (priority, entry) in [(0, 'c'), (5, 'b'), (0, 'd'), (-1, 'f'), (0, 'e')] {
            queue.push_back(priority, entry);
        }
        queue.push_front(5, 'a');
        assert_eq!(queue.front(), Some((5, &'a')));
        let popped: String = std::iter::from_fn(|| queue.pop_front()).take(4).collect();
        assert_eq!(popped, "abcd");
        assert_eq!(queue.take().collect::<Vec<_>>(), [(0, 'e'), (-1, 'f')]);
        assert!(queue.is_empty() && queue.front().is_none());
    }
}
