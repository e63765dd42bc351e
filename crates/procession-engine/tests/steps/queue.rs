//! Queues.

use std::cell::Cell;

use procession_engine::channel::Queue;

use crate::family::{fork, watchdog};
use crate::segments::{LARGE, almost_full_segment, large_item_in_second_segment};
use crate::{at_every_step, at_every_step_after};

/// Puts an item and takes all up to it; returns how many came before.
fn items_before_next(queue: &Queue) -> usize {
    queue.put(&[b"next"], watchdog()).unwrap();
    let mut count = 0;
    loop {
        let item = queue.get(watchdog()).unwrap();
        if *item == *b"next" {
            assert_eq!((queue.len(), queue.is_empty()), (0, true));
            return count;
        }
        count += 1;
    }
}

#[test]
fn who_puts_a_small_item() {
    at_every_step(
        "put",
        || Queue::create(0).unwrap(),
        |queue| queue.put(&[b"small"], watchdog()).unwrap(),
        |queue, killed| {
            let count = items_before_next(queue);
            assert!(count == 1 || killed && count == 0, "{count} items");
        },
    );
}

#[test]
fn who_puts_a_large_item_into_another_segment() {
    at_every_step(
        "put large",
        almost_full_segment,
        |queue| queue.put(&[&LARGE], watchdog()).unwrap(),
        |queue, killed| {
            let count = items_before_next(queue);
            assert!(count == 5 || killed && count == 4, "{count} items");
        },
    );
}

#[test]
fn who_puts_many_items() {
    at_every_step(
        "put many",
        almost_full_segment,
        |queue| {
            queue.put_many(&[b"a", &LARGE, b"c"], watchdog()).unwrap();
        },
        |queue, killed| {
            let count = items_before_next(queue);
            assert!(count == 7 || killed && count >= 4, "{count} items");
        },
    );
}

#[test]
fn who_waits_for_room_and_puts() {
    at_every_step(
        "put into a bounded queue",
        || {
            let queue = Queue::create(1).unwrap();
            queue.put(&[b"first"], watchdog()).unwrap();
            let getter = fork(|| assert_eq!(*queue.get(watchdog()).unwrap(), *b"first"));
            (queue, Cell::new(Some(getter)))
        },
        |(queue, _)| queue.put(&[b"second"], watchdog()).unwrap(),
        |(queue, getter), killed| {
            getter.take().unwrap().join();
            if !killed {
                assert_eq!(*queue.get(watchdog()).unwrap(), *b"second");
            }
            let _ = queue.try_get().unwrap();
            assert_eq!(items_before_next(queue), 0);
        },
    );
}

#[test]
fn who_gets_a_small_item() {
    at_every_step(
        "get",
        || {
            let queue = Queue::create(0).unwrap();
            queue.put(&[b"small"], watchdog()).unwrap();
            queue
        },
        |queue| drop(queue.get(watchdog()).unwrap()),
        |queue, killed| {
            let count = items_before_next(queue);
            assert!(count == 0 || killed && count == 1, "{count} items");
        },
    );
}

#[test]
fn who_gets_a_large_item_from_another_segment() {
    at_every_step(
        "get large",
        large_item_in_second_segment,
        |queue| drop(queue.get(watchdog()).unwrap()),
        |queue, killed| {
            let count = items_before_next(queue);
            assert!(count == 0 || killed && count == 1, "{count} items");
        },
    );
}

#[test]
fn who_gets_many_items() {
    at_every_step(
        "get many",
        almost_full_segment,
        |queue| drop(queue.get_many(4, watchdog()).unwrap()),
        |queue, killed| {
            let count = items_before_next(queue);
            assert!(count == 0 || killed && count <= 4, "{count} items");
        },
    );
}

#[test]
fn who_is_woken_for_an_item_leaves_it_to_others() {
    at_every_step(
        "wait for an item",
        || {
            let queue = Queue::create(0).unwrap();
            let other = fork(|| assert_eq!(*queue.get(watchdog()).unwrap(), *b"an item"));
            let putter = fork(|| {
                for _ in 0..2 {
                    queue.put(&[b"an item"], watchdog()).unwrap();
                }
            });
            (queue, Cell::new(Some([other, putter])))
        },
        |(queue, _)| drop(queue.get(watchdog()).unwrap()),
        |(queue, others), killed| {
            others
                .take()
                .unwrap()
                .into_iter()
                .for_each(|other| other.join());
            let count = items_before_next(queue);
            assert!(count == 0 || killed && count == 1, "{count} items");
        },
    );
}

#[test]
fn who_closes_a_queue() {
    at_every_step(
        "close",
        almost_full_segment,
        |queue| queue.close().unwrap(),
        |queue, killed| {
            assert!(queue.is_closed() || killed);
            queue.close().unwrap();
            for _ in 0..4 {
                queue.get(watchdog()).unwrap();
            }
            assert!(queue.get(watchdog()).is_err());
        },
    );
}

#[test]
fn who_watches_a_queue_by_a_descriptor() {
    at_every_step(
        "readable descriptor",
        || Queue::create(0).unwrap(),
        |queue| drop(queue.readable_fd().unwrap()),
        |queue, _| assert_eq!(items_before_next(queue), 0),
    );
}

#[test]
fn who_puts_where_somebody_watches_by_a_descriptor() {
    at_every_step(
        "put and ring",
        || {
            let queue = Queue::create(0).unwrap();
            (queue.readable_fd().unwrap(), queue)
        },
        |(_, queue)| queue.put(&[b"small"], watchdog()).unwrap(),
        |(_, queue), killed| {
            let count = items_before_next(queue);
            assert!(count == 1 || killed && count == 0, "{count} items");
        },
    );
}

#[test]
fn who_makes_and_drops_a_queue_with_items() {
    at_every_step(
        "queue",
        || (),
        |()| {
            let queue = almost_full_segment();
            queue.put(&[&LARGE], watchdog()).unwrap();
            drop(queue);
        },
        |(), _| drop(almost_full_segment()),
    );
}

#[test]
fn who_drops_the_last_of_a_queue_with_items() {
    at_every_step_after(
        "destroy a queue",
        || {
            let queue = almost_full_segment();
            queue.put(&[&LARGE], watchdog()).unwrap();
            Cell::new(Some(queue))
        },
        |queue| drop(queue.take()),
        |queue| drop(queue.take()),
        |_, _| drop(almost_full_segment()),
    );
}
