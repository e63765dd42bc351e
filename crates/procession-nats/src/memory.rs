//! Remembering tasks.

use std::borrow::Borrow;
use std::collections::{HashSet, VecDeque};
use std::hash::Hash;

/// How many are remembered.
const LIMIT: usize = 100_000;

/// A task's client and its id there.
pub type TaskKey = (String, u64);

/// Remembers the latest that it was told.
pub struct Memory<K> {
    known: HashSet<K>,
    order: VecDeque<K>,
}

impl<K: Clone + Eq + Hash> Memory<K> {
    /// Begins with nothing.
    pub fn new() -> Self {
        Self {
            known: HashSet::new(),
            order: VecDeque::new(),
        }
    }

    /// Remembers a task, in place of the oldest if there are too many.
    pub fn add(&mut self, task: K) {
        if !self.known.insert(task.clone()) {
            return;
        }
        if self.order.len() == LIMIT
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(task);
    }

    /// Returns the latest, at most so many.
    pub fn latest(&self, count: usize) -> impl Iterator<Item = &K> {
        self.order.iter().rev().take(count)
    }

    /// Tells whether it remembers a task.
    pub fn has<Q>(&self, task: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.known.contains(task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let mut memory = Memory::new();
        let task = |id: usize| ("ada".to_owned(), id as u64);
        (0..=LIMIT).for_each(|id| memory.add(task(id)));
        memory.add(task(LIMIT));
        assert!(!memory.has(&task(0)));
        assert_eq!(memory.latest(1).collect::<Vec<_>>(), [&task(LIMIT)]);
        assert!(memory.has(&task(1)) && memory.has(&task(LIMIT)));
    }
}
