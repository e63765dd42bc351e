//! Says which function each of a worker's tasks is of, for viewers outside of the family.
//!
//! The pool notes only where the function changes from one task to the next, so a task of the same
//! function as the one before costs one comparison, and no write. The log keeps the latest changes.
//! If a worker has been given tasks with more changes than that, the function of the task that it
//! runs may be unknown.

use procession_sys::primitive::{AtomicU64, Ordering};

/// How many changes are kept.
const KEPT: usize = 8;

/// How far ahead of the running task the latest noted task may be. Numbers of tasks have 32 bits
/// and wrap, so a larger difference means that the noted task came before.
const AHEAD: u32 = 1 << 20;

/// The latest changes. Each word has the number of a task, and below it one more than the label
/// that tasks have from that one on.
#[derive(Debug)]
#[repr(transparent)]
pub struct LabelLog([AtomicU64; KEPT]);

/// What the pool remembers to write a channel's log.
#[derive(Debug, Default)]
pub(crate) struct LabelWriter {
    last: Option<u32>,
    at: usize,
}

impl LabelWriter {
    /// Notes the label of the task that is about to be posted. Tasks are numbered from 1.
    #[inline]
    pub(crate) fn note(&mut self, log: &LabelLog, number: impl FnOnce() -> u32, label: u32) {
        if self.last != Some(label) {
            self.last = Some(label);
            let word = (u64::from(number()) << 32) | (u64::from(label) + 1);
            // Relaxed: the task is posted later, by an operation with release.
            log.0[self.at % KEPT].store(word, Ordering::Relaxed);
            self.at += 1;
        }
    }

    /// Forgets what was noted of all tasks after the one of that number, because the pool has taken
    /// them back.
    pub(crate) fn take_back(&mut self, log: &LabelLog, number: u32) {
        self.last = None;
        for entry in &log.0 {
            let word = entry.load(Ordering::Relaxed);
            let ahead = ((word >> 32) as u32).wrapping_sub(number);
            if word != 0 && (1..AHEAD).contains(&ahead) {
                entry.store(0, Ordering::Relaxed);
            }
        }
    }
}

impl LabelLog {
    /// Forgets everything, for the channel's next worker.
    pub fn reset(&self) {
        for entry in &self.0 {
            entry.store(0, Ordering::Relaxed);
        }
    }

    /// Returns the label of the task with a number, if it is known.
    #[cfg(not(loom))]
    pub fn of(&self, number: u32) -> Option<u32> {
        let words = self.0.iter().map(|entry| entry.load(Ordering::Relaxed));
        let noted = words.filter(|&word| word != 0).filter_map(|word| {
            let behind = number.wrapping_sub((word >> 32) as u32);
            let label = (word as u32).checked_sub(1)?;
            (behind <= u32::MAX - AHEAD).then_some((behind, label))
        });
        noted.min().map(|(_, label)| label)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn label_counts_from_its_first_task_to_the_next_change() {
        let log = LabelLog(Default::default());
        let mut writer = LabelWriter::default();
        for (number, label) in [(1, 5), (2, 5), (3, 7), (4, 7), (5, 5)] {
            writer.note(&log, || number, label);
        }
        let seen: Vec<_> = (1..=6).map(|number| log.of(number)).collect();
        assert_eq!(seen, [5, 5, 7, 7, 5, 5].map(Some));
        assert_eq!(log.of(0), None);
    }

    #[test]
    fn labels_of_tasks_that_were_taken_back_are_forgotten() {
        let log = LabelLog(Default::default());
        let mut writer = LabelWriter::default();
        writer.note(&log, || 1, 0);
        writer.note(&log, || 4, 1);
        writer.take_back(&log, 2);
        writer.note(&log, || 3, 2);
        assert_eq!(
            [1, 2, 3, 4].map(|number| log.of(number)),
            [0, 0, 2, 2].map(Some)
        );
    }
}
