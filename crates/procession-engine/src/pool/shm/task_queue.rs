//! The words that synchronize the task ring: how many tasks are posted, taken, and taken
//! back.
//!
//! `README.md`, "Tasks" and "Waking", describes the protocol; `worker_channel.rs` places the
//! records. Loom checks this file.

use procession_sys::primitive::{AtomicU32, AtomicU64, Ordering, fence, futex_wait, futex_wake};
use procession_sys::wait::futex::Woken;
use procession_sys::wait::time::Deadline;

/// Counts the tasks that were posted and taken.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct TaskQueue {
    /// `posted` in the high half, `taken` in the low one; each wraps.
    counts: AtomicU64,
    /// 1 while the worker is parked, or about to be. Both sides change it by
    /// read-modify-writes alone, so that its changes are in one order.
    asleep: AtomicU32,
    /// 1 once no more tasks will come.
    closed: AtomicU32,
}

/// The two counts at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Tasks posted and not taken back.
    pub posted: u32,
    /// Tasks taken.
    pub taken: u32,
}

impl Counts {
    /// Returns how many tasks wait to be taken.
    #[must_use]
    pub fn queued(self) -> u32 {
        self.posted.wrapping_sub(self.taken)
    }

    fn pack(self) -> u64 {
        u64::from(self.posted) << 32 | u64::from(self.taken)
    }

    fn unpack(raw: u64) -> Self {
        Self {
            posted: (raw >> 32) as u32,
            taken: raw as u32,
        }
    }
}

impl TaskQueue {
    /// Makes a queue with no tasks.
    #[cfg(loom)]
    pub fn new() -> Self {
        Self {
            counts: AtomicU64::new(0),
            asleep: AtomicU32::new(0),
            closed: AtomicU32::new(0),
        }
    }

    /// Returns both counts.
    pub fn counts(&self) -> Counts {
        // Acquire pairs with the worker's `take`.
        Counts::unpack(self.counts.load(Ordering::Acquire))
    }

    /// Tells whether the worker sleeps until there is a task; for views.
    pub fn is_parked(&self) -> bool {
        self.asleep.load(Ordering::Relaxed) != 0
    }

    /// The pool: empties the queue for the channel's next worker.
    pub fn reset(&self) {
        self.counts.store(0, Ordering::Relaxed);
        self.asleep.store(0, Ordering::Relaxed);
        self.closed.store(0, Ordering::Release);
    }

    /// The pool: lets the worker take `count` more records, which have been written.
    pub fn post(&self, count: u32) {
        // `posted` is the high half of the word, so an overflow does not touch `taken`. Release
        // pairs with `take`: the records are seen complete.
        self.counts
            .fetch_add(u64::from(count) << 32, Ordering::AcqRel);
        self.wake();
    }

    /// The pool: takes back up to `most` tasks, the last posted first; returns
    /// how many.
    pub fn take_back(&self, most: u32) -> u32 {
        let mut now = self.counts();
        loop {
            let count = now.queued().min(most);
            if count == 0 {
                return 0;
            }
            let next = Counts {
                posted: now.posted.wrapping_sub(count),
                ..now
            };
            // Acquire and Release: as in `take`; the side that wins may access the records.
            match self.counts.compare_exchange(
                now.pack(),
                next.pack(),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return count,
                Err(raw) => now = Counts::unpack(raw),
            }
        }
    }

    /// The pool: marks the queue as closed: no more tasks will come.
    pub fn close(&self) {
        // Release pairs with `is_closed`: a worker that sees it also sees all tasks.
        self.closed.store(1, Ordering::Release);
        self.wake();
    }

    /// The worker: starts the next task, if there is one.
    pub fn take(&self) -> bool {
        let mut now = self.counts();
        loop {
            if now.queued() == 0 {
                return false;
            }
            let next = Counts {
                taken: now.taken.wrapping_add(1),
                ..now
            };
            // Acquire pairs with `post`: the record is seen complete. Release: a pool that
            // sees the task as taken sees what the worker stored before.
            match self.counts.compare_exchange(
                now.pack(),
                next.pack(),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return true,
                Err(raw) => now = Counts::unpack(raw),
            }
        }
    }

    /// The worker: tells whether there is a task, or the queue is closed.
    pub fn is_ready(&self) -> bool {
        self.counts().queued() != 0 || self.is_closed()
    }

    /// The worker: tells whether no more tasks will come.
    pub fn is_closed(&self) -> bool {
        // Acquire pairs with `close`.
        self.closed.load(Ordering::Acquire) != 0
    }

    /// The worker: parks until the queue may be [ready](Self::is_ready).
    pub fn park(&self, deadline: Deadline) -> Woken {
        self.asleep.swap(1, Ordering::Relaxed);
        // Pairs with the fence in `wake`: we see the task, or the pool sees `asleep`.
        fence(Ordering::SeqCst);
        let woken = if self.is_ready() {
            Woken::Changed
        } else {
            futex_wait(&self.asleep, 1, deadline)
        };
        self.asleep.swap(0, Ordering::Relaxed);
        woken
    }

    fn wake(&self) {
        // Pairs with the fence in `park`.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) != 0 && self.asleep.swap(0, Ordering::Relaxed) != 0 {
            futex_wake(&self.asleep, 1);
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    const SLOTS: usize = 4;

    /// The queue and records, which loom watches for races.
    struct Tasks {
        queue: TaskQueue,
        records: [UnsafeCell<u32>; SLOTS],
    }

    // SAFETY: that no two threads touch a record at once is what is tested.
    #[expect(unsafe_code, reason = "records without a lock, as in the arena")]
    unsafe impl Sync for Tasks {}

    impl Tasks {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                queue: TaskQueue::new(),
                records: std::array::from_fn(|_| UnsafeCell::new(0)),
            })
        }

        #[expect(unsafe_code, reason = "loom's cell")]
        fn write(&self, at: u32, value: u32) {
            self.records[at as usize].with_mut(|record| {
                // SAFETY: loom reports any other access at the same time.
                unsafe { *record = value };
            });
        }

        #[expect(unsafe_code, reason = "loom's cell")]
        fn read(&self, at: u32) -> u32 {
            self.records[at as usize].with(|record| {
                // SAFETY: loom reports any write at the same time.
                unsafe { *record }
            })
        }

        /// Takes all tasks until the queue is closed; returns them.
        fn work(&self) -> Vec<u32> {
            let mut done = Vec::new();
            loop {
                if self.queue.take() {
                    done.push(self.read(done.len() as u32));
                } else if self.queue.is_closed() {
                    if !self.queue.take() {
                        return done;
                    }
                    done.push(self.read(done.len() as u32));
                } else {
                    self.queue.park(Deadline::NEVER);
                }
            }
        }
    }

    #[test]
    fn loom_every_posted_task_is_taken_once_and_no_wake_up_is_lost() {
        loom::model(|| {
            let tasks = Tasks::new();
            let worker = {
                let tasks = Arc::clone(&tasks);
                thread::spawn(move || tasks.work())
            };
            tasks.write(0, 10);
            tasks.queue.post(1);
            tasks.write(1, 11);
            tasks.write(2, 12);
            tasks.queue.post(2);
            tasks.queue.close();
            assert_eq!(worker.join().unwrap(), [10, 11, 12]);
        });
    }

    #[test]
    fn loom_a_task_is_taken_or_taken_back_never_both() {
        loom::model(|| {
            let tasks = Tasks::new();
            let worker = {
                let tasks = Arc::clone(&tasks);
                thread::spawn(move || tasks.work())
            };
            tasks.write(0, 10);
            tasks.write(1, 11);
            tasks.queue.post(2);
            let back = tasks.queue.take_back(u32::MAX);
            // The records that were taken back may be overwritten at once.
            for at in 2 - back..2 {
                tasks.write(at, 20 + at);
            }
            tasks.queue.post(back);
            tasks.queue.close();
            let done = worker.join().unwrap();
            let kept = 2 - back;
            let expected: Vec<u32> = (0..2)
                .map(|at| if at < kept { 10 + at } else { 20 + at })
                .collect();
            assert_eq!(done, expected);
        });
    }
}
