//! A worker that writes what it should not is killed, and nothing else happens.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::os::exit_status::ExitStatus;
use crate::pool::record::INLINE;

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

    fn sentinel(&self) -> BorrowedFd<'_> {
        self.sentinel.as_fd()
    }

    fn try_wait(&self) -> crate::error::Result<Option<ExitStatus>> {
        Ok(None)
    }

    fn signal(&self, signal: i32) -> crate::error::Result<()> {
        assert_eq!(signal, KILL);
        self.signals.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Has a worker that has no task publish these words up to `tail`; tells whether
/// it was killed for it.
fn is_killed_for(words: &[u64], tail: u64) -> bool {
    static SIGNALS: AtomicU32 = AtomicU32::new(0);
    static ONE_BY_ONE: Mutex<()> = Mutex::new(());
    let _turn = ONE_BY_ONE.lock();
    SIGNALS.store(0, Ordering::Relaxed);
    let lane = Lane::create(0).unwrap();
    let results = lane.results();
    for (position, word) in (0..).step_by(8).zip(words) {
        results.set_word(position, *word);
    }
    lane.replies.publish(tail);
    let fake = Fake {
        sentinel: File::open("/dev/null").unwrap(),
        signals: &SIGNALS,
    };
    let mut seat: Seat<()> = Seat::new(1, lane, Box::new(fake), None);
    let (mut outbox, mut pace) = (Outbox::default(), Pace::default());
    let news = seat.read(&mut outbox, &mut pace);
    assert_eq!(news.done, 0, "it had no task");
    assert!(news.failed.is_none_or(|reason| reason.len() <= INLINE));
    // What is after that is not looked at again.
    seat.read(&mut outbox, &mut pace);
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
