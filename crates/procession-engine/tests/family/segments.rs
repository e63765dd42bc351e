//! Queues that are about to begin another segment: where a kill is worst.

use procession_engine::channel::Queue;
use procession_engine::sys::wait::time::Deadline;

/// A message that takes a block of its own.
pub const LARGE: [u8; 2000] = [7; 2000];

/// A queue whose next item needs another segment.
pub fn almost_full_segment() -> Queue {
    let queue = Queue::create(0).unwrap();
    for len in [1024, 1024, 1024, 968] {
        queue.put(&[&vec![1; len]], Deadline::now()).unwrap();
    }
    queue
}

/// A queue whose next item to be got lies in the second segment.
pub fn large_item_in_second_segment() -> Queue {
    let queue = almost_full_segment();
    queue.put(&[&LARGE], Deadline::now()).unwrap();
    for _ in 0..4 {
        queue.get(Deadline::now()).unwrap();
    }
    queue
}
