//! The tasks of a queue that are done, and the wait for all to be.
//!
//! `README.md` beside the queue tells the protocol. The queue passes in how many tasks are owed:
//! that number rises until the rest is thrown away, falls once then, and never changes again.
//! Nothing here knows where its words lie in memory, so that loom can try the interleavings.

use crate::channel::parking::Parking;
use procession_sys::primitive::{AtomicU64, Ordering, fence};

/// Counts the tasks that are done. A cache line of its own, so that processes that finish
/// tasks do not disturb those that put and get.
#[derive(Debug)]
#[repr(C, align(64))]
#[cfg_attr(all(test, loom), derive(Default))]
pub struct Unfinished {
    /// Tasks that were ever done.
    done: AtomicU64,
    /// The processes that wait for all tasks to be done.
    joiners: Parking,
}

impl Unfinished {
    /// Returns how many tasks were not done at one moment of the call.
    pub fn count(&self, owed: impl Fn() -> u64) -> u64 {
        // Acquire pairs with the Release in `finish_one`: the work of a finished task can
        // be seen. `owed` is read second, or it could be older than a task that is done
        // already.
        let done = self.done.load(Ordering::Acquire);
        owed().saturating_sub(done)
    }

    /// Notes that a task is done; tells whether one was unfinished.
    pub fn finish_one(&self, owed: impl Fn() -> u64) -> bool {
        let mut done = self.done.load(Ordering::Relaxed);
        while done < owed() {
            match self.done.compare_exchange_weak(
                done,
                done + 1,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    // SeqCst: change before look; pairs with the fences in `Parking`.
                    fence(Ordering::SeqCst);
                    if self.count(owed) == 0 {
                        self.joiners.wake_all();
                    }
                    return true;
                }
                Err(now) => done = now,
            }
        }
        false
    }

    /// Returns where processes park that wait for all tasks.
    pub fn joiners(&self) -> &Parking {
        &self.joiners
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;
    use procession_sys::wait::time::Deadline;

    /// A model of a queue's shared words.
    #[derive(Default)]
    struct Tasks {
        put: AtomicU64,
        /// As the word `cut` of the end where items come out.
        cut: AtomicU64,
        unfinished: Unfinished,
    }

    impl Tasks {
        fn owed(&self) -> u64 {
            let cut = self.cut.load(Ordering::Acquire).checked_sub(1);
            cut.unwrap_or_else(|| self.put.load(Ordering::Acquire))
        }

        fn is_done(&self) -> bool {
            self.unfinished.count(|| self.owed()) == 0
        }

        fn join(&self) {
            while !self.is_done() {
                let ticket = self.unfinished.joiners.register();
                if self.is_done() {
                    return self.unfinished.joiners.leave(ticket);
                }
                let joiners = &self.unfinished.joiners;
                joiners.park(ticket, Deadline::NEVER, || false);
            }
        }

        fn finish_one(&self) -> bool {
            self.unfinished.finish_one(|| self.owed())
        }
    }

    #[test]
    fn loom_last_task_is_not_slept_through() {
        loom::model(|| {
            let tasks = Arc::new(Tasks::default());
            tasks.put.store(2, Ordering::Release);
            let threads = [(); 2].map(|()| {
                let tasks = Arc::clone(&tasks);
                thread::spawn(move || assert!(tasks.finish_one()))
            });
            tasks.join();
            for thread in threads {
                thread.join().unwrap();
            }
            assert!(!tasks.finish_one(), "no more than were put");
        });
    }

    #[test]
    fn loom_cut_is_not_slept_through() {
        loom::model(|| {
            let tasks = Arc::new(Tasks::default());
            tasks.put.store(2, Ordering::Release);
            let theirs = Arc::clone(&tasks);
            let getter = thread::spawn(move || theirs.finish_one());
            let theirs = Arc::clone(&tasks);
            let closer = thread::spawn(move || {
                // One was got.
                theirs.cut.store(2, Ordering::Release);
                theirs.unfinished.joiners.wake_all();
            });
            tasks.join();
            assert!(getter.join().unwrap());
            closer.join().unwrap();
        });
    }

    #[test]
    fn loom_no_end_is_seen_that_never_was() {
        loom::model(|| {
            let tasks = Arc::new(Tasks::default());
            tasks.put.store(1, Ordering::Release);
            let theirs = Arc::clone(&tasks);
            let other = thread::spawn(move || {
                // One is always left.
                theirs.put.store(2, Ordering::Release);
                assert!(theirs.finish_one());
            });
            assert!(!tasks.is_done());
            other.join().unwrap();
        });
    }
}
