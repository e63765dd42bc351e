//! A worker that writes invalid replies is killed, and nothing else happens.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::pool::shm::record::INLINE;
use procession_sys::process::exit_status::ExitStatus;

/// A worker that counts the signals it gets.
struct Fake {
    sentinel: File,
    signals: &'static AtomicU32,
}

impl WorkerProcess for Fake {
    fn stamp(&self) -> Stamp {
        Stamp::new(4000, 1)
    }

    fn pid(&self) -> u32 {
        1
    }

    fn watch(&self) -> procession_sys::error::Result<BorrowedFd<'_>> {
        Ok(self.sentinel.as_fd())
    }

    fn is_watched(&self) -> bool {
        true
    }

    fn is_dead(&self) -> bool {
        false
    }

    fn try_wait(&self) -> procession_sys::error::Result<Option<ExitStatus>> {
        Ok(None)
    }

    fn signal(&self, signal: i32) -> procession_sys::error::Result<()> {
        assert_eq!(signal, KILL);
        self.signals.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Publishes these words up to `tail` in the name of a worker without a task; tells whether
/// the worker was killed for it.
fn is_killed_for(words: &[u64], tail: u64) -> bool {
    static SIGNALS: AtomicU32 = AtomicU32::new(0);
    static ONE_BY_ONE: Mutex<()> = Mutex::new(());
    let _turn = ONE_BY_ONE.lock();
    SIGNALS.store(0, Ordering::Relaxed);
    let channel = WorkerChannel::create().unwrap();
    let results = channel.results();
    // SAFETY: nobody else has the channel.
    let mut range = unsafe { results.writable(0, results.capacity()) };
    for (position, word) in (0..).step_by(8).zip(words) {
        range.set_word(position, *word);
    }
    channel.reply_queue.publish(tail);
    let fake = Fake {
        sentinel: File::open("/dev/null").unwrap(),
        signals: &SIGNALS,
    };
    let mut slot: WorkerSlot<()> = WorkerSlot::new(1, channel, Box::new(fake), None);
    let (mut outbox, mut prefetch) = (Outbox::default(), PrefetchEstimate::default());
    let news = slot.read_replies(&mut outbox, &mut prefetch, &mut Tally::default());
    assert_eq!(news.done, 0, "it had no task");
    assert!(news.failed.is_none_or(|reason| reason.len() <= INLINE));
    // Nothing after that is read.
    slot.read_replies(&mut outbox, &mut prefetch, &mut Tally::default());
    assert!(outbox.is_empty());
    SIGNALS.load(Ordering::Relaxed) > 0
}

#[test]
fn a_worker_that_publishes_no_record_is_killed() {
    assert!(is_killed_for(&[u64::MAX], 16));
    // More than the ring holds.
    assert!(is_killed_for(&[], u64::MAX));
    // The result of a task that it was not given.
    assert!(is_killed_for(&[0, 0], 16));
}

proptest! {
    #[test]
    fn whatever_a_worker_publishes_is_read_to_the_end(
        words in vec(prop_oneof![any::<u64>(), 0..100_u64, (0..1_u64 << 15).prop_map(|f| f << 32)], 0..40),
        tail in prop_oneof![any::<u64>(), 0..400_u64],
    ) {
        is_killed_for(&words, tail);
    }
}
