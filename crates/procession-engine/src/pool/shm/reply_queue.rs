//! The words that synchronize the reply ring: how many bytes are published and read, and
//! which side wants to be woken.
//!
//! `README.md`, "Replies" and "Waking", describes the protocol; `worker_channel.rs` places the
//! records. Loom checks this file.

use procession_sys::primitive::{AtomicU32, AtomicU64, Ordering, fence, futex_wait, futex_wake};
use procession_sys::wait::futex::Woken;
use procession_sys::wait::time::Deadline;

/// Says when a worker is to ring the pool's doorbell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Bell {
    /// The worker does not ring, because the pool is awake.
    Silent = 0,
    /// The worker rings when it needs the pool soon, see `README.md`, "Waking".
    Some = 1,
    /// The worker rings for each result.
    Each = 2,
}

/// Counts the bytes of replies that were published and read.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct ReplyQueue {
    /// Bytes that the worker has ever published.
    tail: AtomicU64,
    /// When the worker is to ring: a [`Bell`]. Like `room`, it is changed by
    /// read-modify-writes alone, so that its changes are in one order.
    bell: AtomicU32,
    _line: [u32; 13],
    /// Bytes that the pool has ever read.
    head: AtomicU64,
    /// 1 while the worker is parked for room, or about to be.
    room: AtomicU32,
}

impl ReplyQueue {
    /// Makes a queue with nothing published.
    #[cfg(loom)]
    pub fn new() -> Self {
        Self {
            tail: AtomicU64::new(0),
            bell: AtomicU32::new(0),
            _line: [0; 13],
            head: AtomicU64::new(0),
            room: AtomicU32::new(0),
        }
    }

    /// The pool: empties the queue for the channel's next worker.
    pub fn reset(&self) {
        self.bell.store(0, Ordering::Relaxed);
        self.room.store(0, Ordering::Relaxed);
        self.head.store(0, Ordering::Relaxed);
        self.tail.store(0, Ordering::Release);
    }

    /// Returns how many bytes the pool has read.
    pub fn head(&self) -> u64 {
        // Acquire pairs with `read_up_to`: the pool has finished reading, so the space may be
        // written again.
        self.head.load(Ordering::Acquire)
    }

    /// Returns how many bytes the worker has published.
    pub fn tail(&self) -> u64 {
        // Acquire pairs with `publish`: the records are seen complete.
        self.tail.load(Ordering::Acquire)
    }

    /// The worker: lets the pool read everything up to `tail`, which has been written.
    pub fn publish(&self, tail: u64) {
        // Release pairs with `tail`.
        self.tail.store(tail, Ordering::Release);
    }

    /// The worker, after publishing: tells whether to ring the doorbell, and if so takes the
    /// request back. `soon` says whether the pool is needed soon.
    pub fn take_ring(&self, soon: bool) -> bool {
        // Pairs with the fence in `ask`: the pool sees the tail, or we see the request.
        fence(Ordering::SeqCst);
        let bell = self.bell.load(Ordering::Relaxed);
        let applies = bell == Bell::Each as u32 || (soon && bell == Bell::Some as u32);
        applies && self.bell.swap(Bell::Silent as u32, Ordering::Relaxed) != Bell::Silent as u32
    }

    /// The pool: requests to be woken, or takes the request back. After a request it has to
    /// look at `tail` before it sleeps.
    pub fn ask(&self, bell: Bell) {
        self.bell.swap(bell as u32, Ordering::Relaxed);
        // Pairs with the fence in `take_ring`.
        fence(Ordering::SeqCst);
    }

    /// The pool: lets the worker reuse the space of everything before `head`.
    pub fn read_up_to(&self, head: u64) {
        // Release pairs with `head`: our reads come before.
        self.head.store(head, Ordering::Release);
        // Pairs with the fence in `park_for_room`.
        fence(Ordering::SeqCst);
        if self.room.load(Ordering::Relaxed) != 0 && self.room.swap(0, Ordering::Relaxed) != 0 {
            futex_wake(&self.room, 1);
        }
    }

    /// The worker: parks until the pool may have read beyond `seen`.
    pub fn park_for_room(&self, seen: u64, deadline: Deadline) -> Woken {
        self.room.swap(1, Ordering::Relaxed);
        // Pairs with the fence in `read_up_to`: we see the new head, or the pool sees `room`.
        fence(Ordering::SeqCst);
        let woken = if self.head() == seen {
            futex_wait(&self.room, 1, deadline)
        } else {
            Woken::Changed
        };
        self.room.swap(0, Ordering::Relaxed);
        woken
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    use super::*;
    use procession_sys::primitive::relax;

    const SLOTS: usize = 2;

    struct Results {
        words: ReplyQueue,
        /// Stands for the doorbell: 1 when rung.
        doorbell: AtomicU32,
        records: [UnsafeCell<u64>; SLOTS],
    }

    // SAFETY: that no two threads touch a record at once is what is tested.
    #[expect(unsafe_code, reason = "records without a lock, as in the arena")]
    unsafe impl Sync for Results {}

    impl Results {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                words: ReplyQueue::new(),
                doorbell: AtomicU32::new(0),
                records: std::array::from_fn(|_| UnsafeCell::new(0)),
            })
        }

        #[expect(unsafe_code, reason = "loom's cell")]
        fn send(&self, at: u64, value: u64, soon: bool) {
            loop {
                let head = self.words.head();
                if at - head < SLOTS as u64 {
                    break;
                }
                self.ring(true);
                self.words.park_for_room(head, Deadline::NEVER);
            }
            self.records[at as usize % SLOTS].with_mut(|record| {
                // SAFETY: loom reports any other access at the same time.
                unsafe { *record = value };
            });
            self.words.publish(at + 1);
            self.ring(soon);
        }

        fn ring(&self, soon: bool) {
            if self.words.take_ring(soon) {
                self.doorbell.swap(1, Ordering::SeqCst);
                futex_wake(&self.doorbell, 1);
            }
        }

        #[expect(unsafe_code, reason = "loom's cell")]
        fn receive(&self, at: u64, bell: Bell) -> u64 {
            while self.words.tail() == at {
                self.words.ask(bell);
                if self.words.tail() == at {
                    while self.doorbell.swap(0, Ordering::SeqCst) == 0 {
                        futex_wait(&self.doorbell, 0, Deadline::NEVER);
                    }
                }
                self.words.ask(Bell::Silent);
            }
            let value = self.records[at as usize % SLOTS].with(|record| {
                // SAFETY: loom reports any write at the same time.
                unsafe { *record }
            });
            self.words.read_up_to(at + 1);
            value
        }
    }

    #[test]
    fn loom_every_result_arrives_whole_and_no_ring_is_lost() {
        loom::model(|| {
            let results = Results::new();
            let worker = {
                let results = Arc::clone(&results);
                thread::spawn(move || {
                    results.send(0, 10, false);
                    results.send(1, 11, false);
                })
            };
            assert_eq!(results.receive(0, Bell::Each), 10);
            assert_eq!(results.receive(1, Bell::Each), 11);
            worker.join().unwrap();
        });
    }

    #[test]
    fn loom_a_pool_that_wants_only_some_rings_is_rung_for_the_last() {
        loom::model(|| {
            let results = Results::new();
            let worker = {
                let results = Arc::clone(&results);
                thread::spawn(move || {
                    results.send(0, 10, false);
                    results.send(1, 11, true);
                })
            };
            assert_eq!(results.receive(0, Bell::Some), 10);
            assert_eq!(results.receive(1, Bell::Some), 11);
            worker.join().unwrap();
        });
    }

    #[test]
    fn loom_a_full_ring_wakes_the_worker_when_it_is_read() {
        loom::model(|| {
            let results = Results::new();
            let worker = {
                let results = Arc::clone(&results);
                thread::spawn(move || {
                    for at in 0..3 {
                        results.send(at, 10 + at, false);
                    }
                })
            };
            // The first look comes when the ring may be full already.
            for at in 0..3 {
                while results.words.tail() == at {
                    relax();
                }
                assert_eq!(results.receive(at, Bell::Silent), 10 + at);
            }
            worker.join().unwrap();
        });
    }
}
