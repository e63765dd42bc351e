//! Queues.

use std::cell::Cell;
use std::thread;

use procession_engine::ErrorKind;
use procession_engine::channel::Queue;
use procession_engine::sync::Event;
use procession_engine::sys::wait::poll;

use crate::family::{fork, watchdog};
use crate::segments::{LARGE, almost_full_segment, large_item_in_second_segment};
use crate::{at_every_step, at_every_step_after, stopped_at_every_step};

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
fn who_closes_a_queue_at_once() {
    at_every_step(
        "close at once",
        || {
            let queue = almost_full_segment();
            queue.put(&[&LARGE], watchdog()).unwrap();
            queue.get(watchdog()).unwrap();
            let joiner = fork(|| queue.join(watchdog()).unwrap());
            (queue, Cell::new(Some(joiner)))
        },
        |(queue, _)| queue.close_now().unwrap(),
        |(queue, joiner), killed| {
            assert!(killed || queue.is_closed() && queue.is_empty());
            // All are there, or none.
            let left = queue.len();
            assert!(left == 0 || left == 4, "{left} items");
            assert_eq!(queue.unfinished(), left + 1);
            queue.close_now().unwrap();
            assert_eq!(queue.get(watchdog()).unwrap_err().kind(), ErrorKind::Closed);
            end_of_tasks(queue, 1);
            joiner.take().unwrap().join();
        },
    );
}

/// Does the tasks that are unfinished, and no more.
fn end_of_tasks(queue: &Queue, unfinished: u64) {
    assert_eq!(queue.unfinished(), unfinished);
    for _ in 0..unfinished {
        queue.task_done().unwrap();
    }
    queue.join(watchdog()).unwrap();
    assert_eq!(queue.task_done().unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn who_puts_a_task() {
    at_every_step(
        "put a task",
        || Queue::create(0).unwrap(),
        |queue| queue.put(&[b"task"], watchdog()).unwrap(),
        |queue, _| end_of_tasks(queue, queue.len()),
    );
}

#[test]
fn who_says_that_the_last_task_is_done() {
    at_every_step(
        "task done",
        || {
            let queue = Queue::create(0).unwrap();
            queue.put(&[b"task"], watchdog()).unwrap();
            let joiner = fork(|| queue.join(watchdog()).unwrap());
            joiner.await_parked(true);
            (queue, Cell::new(Some(joiner)))
        },
        |(queue, _)| queue.task_done().unwrap(),
        |(queue, joiner), killed| {
            let left = queue.unfinished();
            assert!(left == 0 || killed && left == 1, "{left} unfinished");
            end_of_tasks(queue, left);
            joiner.take().unwrap().join();
        },
    );
}

#[test]
fn who_waits_for_tasks_to_be_done() {
    at_every_step(
        "join",
        || {
            let (queue, about_to) = (Queue::create(0).unwrap(), Event::create().unwrap());
            queue.put(&[b"task"], watchdog()).unwrap();
            let joiner = fork(|| queue.join(watchdog()).unwrap());
            let worker = fork(|| {
                about_to.wait(watchdog()).unwrap();
                queue.get(watchdog()).unwrap();
                queue.task_done().unwrap();
            });
            (queue, about_to, Cell::new(Some([joiner, worker])))
        },
        |(queue, about_to, _)| {
            about_to.set();
            queue.join(watchdog()).unwrap();
        },
        |(queue, about_to, others), _| {
            about_to.set();
            others
                .take()
                .unwrap()
                .into_iter()
                .for_each(|other| other.join());
            end_of_tasks(queue, 0);
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
fn a_ring_that_comes_late_leaves_no_empty_queue_readable() {
    stopped_at_every_step(
        "put, ring late",
        || {
            let queue = Queue::create(0).unwrap();
            (queue.readable_fd().unwrap(), queue, Cell::new(None))
        },
        |(_, queue, _)| queue.put(&[b"small"], watchdog()).unwrap(),
        |(_, queue, getter)| {
            // It may have to wait for the one that is stopped, after it took the item.
            let there = !queue.is_empty();
            let same = queue.clone();
            let thread = thread::spawn(move || drop(same.try_get().unwrap()));
            while there && !queue.is_empty() {
                thread::yield_now();
            }
            getter.set(Some(thread));
        },
        |(fd, queue, getter)| {
            getter.take().unwrap().join().unwrap();
            assert_eq!(poll::is_readable(fd).unwrap(), !queue.is_empty());
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
