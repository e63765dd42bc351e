//! Queues from outside, across real processes and kills.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use procession_engine::ErrorKind;
use procession_engine::channel::Queue;
use procession_engine::shm::{HandleSource, Loans};
use procession_engine::sys::wait::poll;
use procession_engine::sys::wait::time::Deadline;

use crate::family::{fork, listen_to_signals, watchdog};
use crate::{Random, alone, until, word, words};

/// A message whose bytes all follow from its number; of every kind of size.
fn message(number: u64) -> Vec<u8> {
    let len = match number % 7 {
        0 => 8,
        1 => 56,
        2 => 500,
        3 => 1024,
        4 => 1025,
        5 => 5000,
        _ => 70_000,
    };
    let mut bytes = vec![number as u8; len];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

fn number(bytes: &[u8]) -> u64 {
    let number = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    assert_eq!(bytes, message(number), "message {number} is damaged");
    number
}

#[test]
fn messages_of_every_size_come_out_in_order_and_leave_nothing_behind() {
    let _alone = alone();
    let before = procession_engine::family().unwrap().usage();
    let queue = Queue::create(0).unwrap();
    for i in 0..300 {
        let bytes = message(i);
        let (a, b) = bytes.split_at(5);
        queue.put(&[a, &[], b], Deadline::now()).unwrap();
        assert_eq!(queue.len(), i + 1);
    }
    for i in 0..300 {
        assert_eq!(number(&queue.get(Deadline::now()).unwrap()), i);
    }
    assert!(queue.is_empty());
    queue.put(&[], Deadline::now()).unwrap();
    assert_eq!(&*queue.get(Deadline::now()).unwrap(), b"");
    drop(queue);
    assert_eq!(procession_engine::family().unwrap().usage(), before);
}

#[test]
fn a_queue_that_is_dropped_with_items_frees_them() {
    let _alone = alone();
    let before = procession_engine::family().unwrap().usage();
    let queue = Queue::create(0).unwrap();
    for i in 0..500 {
        queue.put(&[&message(i)], Deadline::now()).unwrap();
    }
    drop(queue);
    assert_eq!(procession_engine::family().unwrap().usage(), before);
}

#[test]
fn memory_of_a_burst_comes_back() {
    let _alone = alone();
    let family = procession_engine::family().unwrap();
    let queue = Queue::create(0).unwrap();
    let before = family.usage();
    for i in 0..100_000_u64 {
        queue.put(&[&i.to_le_bytes()], Deadline::now()).unwrap();
    }
    assert!(family.usage().bytes > before.bytes + 1_600_000);
    while queue.try_get().unwrap().is_some() {}
    let after = family.usage();
    assert_eq!(after.blocks, before.blocks);
    assert!(after.bytes <= before.bytes + (64 << 10));
}

#[test]
fn a_bounded_queue_is_full_exactly_at_its_bound() {
    let _alone = alone();
    let queue = Queue::create(3).unwrap();
    for i in 0..3_u8 {
        assert!(!queue.is_full());
        queue.put(&[&[i]], Deadline::now()).unwrap();
    }
    assert!(queue.is_full());
    let full = queue.put(&[b"x"], Deadline::now()).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::Full);
    let begin = Instant::now();
    let wait = Duration::from_millis(20);
    let late = queue.put(&[b"x"], Deadline::after(wait)).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::TimedOut);
    assert!(begin.elapsed() >= wait);
    assert_eq!(&*queue.get(Deadline::now()).unwrap(), [0]);
    queue.put(&[b"x"], Deadline::now()).unwrap();
    assert_eq!(queue.len(), 3);
}

#[test]
fn an_empty_queue_says_so_at_once_or_at_the_deadline() {
    let _alone = alone();
    let queue = Queue::create(0).unwrap();
    assert!(queue.try_get().unwrap().is_none());
    let empty = queue.get(Deadline::now()).unwrap_err();
    assert_eq!(empty.kind(), ErrorKind::Empty);
    let begin = Instant::now();
    let wait = Duration::from_millis(20);
    let late = queue.get(Deadline::after(wait)).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::TimedOut);
    assert!(begin.elapsed() >= wait);
}

#[test]
fn a_block_travels_uncopied_and_comes_back_when_refused() {
    let _alone = alone();
    let queue = Queue::create(1).unwrap();
    let mut block = procession_engine::family().unwrap().alloc(100_000).unwrap();
    block[..5].copy_from_slice(b"hello");
    let place = block.offset();
    queue.put_block(block, 5, Deadline::now()).unwrap();
    let other = procession_engine::family().unwrap().alloc(10).unwrap();
    let refused = queue.put_block(other, 10, Deadline::now()).unwrap_err();
    assert_eq!(refused.error.kind(), ErrorKind::Full);
    assert!(refused.block.capacity() >= 10);
    let message = queue.get(Deadline::now()).unwrap();
    assert_eq!(&*message, b"hello");
    let (block, len) = message.into_block().unwrap();
    assert_eq!((block.offset(), len), (place, 5));
}

#[test]
fn many_are_put_and_got_at_once() {
    let _alone = alone();
    let queue = Queue::create(200).unwrap();
    let messages: Vec<Vec<u8>> = (0..250).map(message).collect();
    let slices: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    assert_eq!(queue.put_many(&slices, Deadline::now()).unwrap(), 200);
    let full = queue.put_many(&slices, Deadline::now()).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::Full);
    let first = queue.get_many(70, Deadline::now()).unwrap();
    let rest = queue.get_many(1000, Deadline::now()).unwrap();
    assert_eq!((first.len(), rest.len()), (70, 130));
    for (i, message) in first.iter().chain(&rest).enumerate() {
        assert_eq!(number(message), i as u64);
    }
}

#[test]
fn a_closed_queue_takes_nothing_and_gives_what_it_has() {
    let _alone = alone();
    let queue = Queue::create(0).unwrap();
    queue.put(&[b"last"], Deadline::now()).unwrap();
    let (theirs, ready) = (queue.clone(), words());
    let waiter = fork(|| {
        assert_eq!(&*theirs.get(watchdog()).unwrap(), b"last");
        word(&ready, 0).store(1, Ordering::Release);
        let end = theirs.get(watchdog()).unwrap_err();
        assert_eq!(end.kind(), ErrorKind::Closed);
    });
    until("the child", || word(&ready, 0).load(Ordering::Acquire) == 1);
    queue.close().unwrap();
    let refused = queue.put(&[b"x"], Deadline::now()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Closed);
    waiter.join();
}

#[test]
fn a_queue_that_is_closed_at_once_gives_nothing_and_frees_what_it_had() {
    let _alone = alone();
    let family = procession_engine::family().unwrap();
    let queue = Queue::create(0).unwrap();
    let before = family.usage();
    for i in 0..200 {
        queue.put(&[&message(i)], Deadline::now()).unwrap();
    }
    let waiter = fork(|| while queue.get(watchdog()).is_ok() {});
    queue.close_now().unwrap();
    waiter.join();
    assert_eq!((queue.len(), queue.is_empty()), (0, true));
    assert_eq!(queue.try_get().unwrap_err().kind(), ErrorKind::Closed);
    // All segments but the last.
    assert!(family.usage().bytes <= before.bytes + 70_000);
}

/// Does `count` tasks of a queue, and sees that there was none more.
fn end_of_tasks(queue: &Queue, count: u64) {
    assert_eq!(queue.unfinished(), count);
    for _ in 0..count {
        assert_eq!(
            queue.join(Deadline::now()).unwrap_err().kind(),
            ErrorKind::TimedOut
        );
        queue.task_done().unwrap();
    }
    queue.join(Deadline::now()).unwrap();
    let error = queue.task_done().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("too many times"), "{error}");
}

#[test]
fn each_item_that_is_in_is_a_task() {
    let _alone = alone();
    let queue = Queue::create(3).unwrap();
    end_of_tasks(&queue, 0);
    queue.put(&[b"one"], Deadline::now()).unwrap();
    let many = [&b"two"[..]; 3];
    assert_eq!(queue.put_many(&many, Deadline::now()).unwrap(), 2);
    queue.put(&[b"refused"], Deadline::now()).unwrap_err();
    end_of_tasks(&queue, 3);
    assert_eq!(queue.len(), 3, "done before they were got");
}

#[test]
fn whoever_joins_waits_for_the_last_task_of_many_processes() {
    let _alone = alone();
    let (queue, done) = (Queue::create(0).unwrap(), words());
    for _ in 0..3 {
        // All before the first is done: or all may be done before the last is put.
        for _ in 0..500 {
            queue.put(&[b"task"], watchdog()).unwrap();
        }
        let joiner = fork(|| {
            queue.join(watchdog()).unwrap();
            assert_eq!(word(&done, 0).load(Ordering::Acquire), 500);
        });
        joiner.await_parked(true);
        let workers = [(); 2].map(|()| {
            fork(|| {
                while *queue.get(watchdog()).unwrap() != *b"last" {
                    word(&done, 0).fetch_add(1, Ordering::AcqRel);
                    queue.task_done().unwrap();
                }
                queue.task_done().unwrap();
            })
        });
        joiner.join();
        word(&done, 0).store(0, Ordering::Release);
        queue.put_many(&[&b"last"[..]; 2], watchdog()).unwrap();
        workers.into_iter().for_each(|worker| worker.join());
        end_of_tasks(&queue, 0);
    }
}

#[test]
fn what_is_thrown_away_is_as_good_as_done() {
    let _alone = alone();
    let queue = Queue::create(0).unwrap();
    queue.put_many(&[&b"task"[..]; 9], Deadline::now()).unwrap();
    queue.get_many(2, Deadline::now()).unwrap();
    let joiner = fork(|| queue.join(watchdog()).unwrap());
    joiner.await_parked(true);
    queue.close_now().unwrap();
    queue.close_now().unwrap();
    end_of_tasks(&queue, 2);
    joiner.join();
}

#[test]
fn tasks_that_were_done_before_they_were_thrown_away_count_once() {
    let _alone = alone();
    let queue = Queue::create(0).unwrap();
    queue.put_many(&[&b"task"[..]; 5], Deadline::now()).unwrap();
    queue.get(Deadline::now()).unwrap();
    for _ in 0..3 {
        queue.task_done().unwrap();
    }
    let joiner = fork(|| queue.join(watchdog()).unwrap());
    joiner.await_parked(true);
    queue.close_now().unwrap();
    joiner.join();
    end_of_tasks(&queue, 0);
}

#[test]
fn a_signal_ends_the_wait_for_tasks() {
    let _alone = alone();
    let (queue, heard) = (Queue::create(0).unwrap(), words());
    queue.put(&[b"task"], Deadline::now()).unwrap();
    let joiner = fork(|| {
        listen_to_signals();
        while let Err(error) = queue.join(watchdog()) {
            assert_eq!(error.kind(), ErrorKind::Interrupted);
            word(&heard, 0).store(1, Ordering::Release);
        }
    });
    joiner.await_parked(true);
    // The mark comes just before the park: signal until it has been heard.
    until("the signal", || {
        joiner.signal(libc::SIGUSR1);
        word(&heard, 0).load(Ordering::Acquire) == 1
    });
    queue.task_done().unwrap();
    joiner.join();
}

#[test]
fn a_handle_attaches_elsewhere_and_goes_stale_at_the_end() {
    let _alone = alone();
    let queue = Queue::create(0).unwrap();
    let mut loans = Loans::default();
    let handle = queue.lend(&mut loans);
    loans.send_untracked();
    drop(queue);
    let queue = Queue::attach(handle, &HandleSource::UNTRACKED).unwrap();
    queue.put(&[b"x"], Deadline::now()).unwrap();
    drop(queue);
    let gone = Queue::attach(handle, &HandleSource::UNTRACKED).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Stale);
}

#[test]
fn parked_getters_and_putters_all_get_their_turn() {
    let _alone = alone();
    let queue = Queue::create(2).unwrap();
    let total = words();
    let count = 3000;
    let putters: Vec<_> = (0..3)
        .map(|_| {
            fork(|| {
                for i in 1..=count {
                    queue.put(&[&u64::to_le_bytes(i)], watchdog()).unwrap();
                }
            })
        })
        .collect();
    let getters: Vec<_> = (0..3)
        .map(|_| {
            fork(|| {
                loop {
                    let message = queue.get(watchdog()).unwrap();
                    let n = u64::from_le_bytes((*message).try_into().unwrap());
                    if n == 0 {
                        return;
                    }
                    word(&total, 0).fetch_add(n, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for putter in putters {
        putter.join();
    }
    for _ in 0..3 {
        queue.put(&[&0_u64.to_le_bytes()], watchdog()).unwrap();
    }
    for getter in getters {
        getter.join();
    }
    assert_eq!(
        word(&total, 0).load(Ordering::Relaxed),
        3 * count * (count + 1) / 2
    );
}

#[test]
fn what_killed_putters_had_put_is_there_once_and_in_order() {
    let _alone = alone();
    let family = procession_engine::family().unwrap();
    let before = family.usage();
    let queue = Queue::create(0).unwrap();
    let mut random = Random(0x9e37_79b9);
    // For each putter: how many it began to put, and how many it had put.
    let progress = words();
    let (begun, done) = (word(&progress, 0), word(&progress, 1));
    for _round in 0..150 {
        begun.store(0, Ordering::Relaxed);
        done.store(0, Ordering::Relaxed);
        let putter = fork(|| {
            for i in 0.. {
                begun.store(i + 1, Ordering::Release);
                queue.put(&[&message(i)], watchdog()).unwrap();
                done.store(i + 1, Ordering::Release);
            }
        });
        let enough = random.below(60);
        let spins = random.below(20_000);
        let unreclaimed = random.below(2) == 0;
        let mut got = 0;
        let mut get = || {
            while let Some(message) = queue.try_get().unwrap() {
                assert_eq!(number(&message), got);
                got += 1;
            }
            got
        };
        until("the putter", || get() > enough);
        for _ in 0..spins {
            std::hint::spin_loop();
        }
        putter.kill();
        if unreclaimed {
            get();
        }
        putter.reclaim();
        let got = get();
        assert!(got >= done.load(Ordering::Acquire), "an item was lost");
        assert!(got <= begun.load(Ordering::Acquire), "an item came twice");
        assert!(queue.is_empty());
    }
    drop((queue, progress));
    assert_eq!(family.usage(), before);
}

#[test]
fn killed_getters_take_no_more_with_them_than_they_had_in_hand() {
    let _alone = alone();
    let family = procession_engine::family().unwrap();
    let before = family.usage();
    let queue = Queue::create(64).unwrap();
    let mut random = Random(0x1234_5678);
    let count = 4000;
    let got = words();
    let get_all = || {
        loop {
            let n = number(&queue.get(watchdog()).unwrap());
            word(&got, n as usize).fetch_add(1, Ordering::Relaxed);
        }
    };
    let putter = fork(|| {
        for i in 0..count {
            queue.put(&[&message(i)], watchdog()).unwrap();
        }
    });
    let mut getters = vec![fork(get_all), fork(get_all)];
    let mut kills = 0;
    let seen = || (0..count as usize).filter(|&n| word(&got, n).load(Ordering::Relaxed) > 0);
    while seen().count() as u64 + kills < count - 200 {
        let victim = random.below(2) as usize;
        let enough = (seen().count() as u64 + random.below(30)).min(count - 200 - kills);
        until("the getters", || seen().count() as u64 >= enough);
        getters.swap_remove(victim).reclaim();
        kills += 1;
        getters.push(fork(get_all));
    }
    putter.join();
    until("the rest", || queue.is_empty());
    // What a getter has taken it also counts, unless it was killed.
    for getter in getters {
        getter.reclaim();
        kills += 1;
    }
    assert!(queue.is_empty());
    let counts = (0..count as usize).map(|n| word(&got, n).load(Ordering::Relaxed));
    assert!(counts.clone().all(|times| times <= 1), "an item came twice");
    let lost = counts.filter(|&times| times == 0).count() as u64;
    assert!(lost <= kills, "{lost} items are gone after {kills} kills");
    drop((queue, got));
    assert_eq!(family.usage(), before);
}

#[test]
fn a_crowd_that_is_killed_at_random_leaves_a_queue_that_works() {
    let _alone = alone();
    let family = procession_engine::family().unwrap();
    let before = family.usage();
    let queue = Queue::create(10).unwrap();
    let mut random = Random(0xdead_beef);
    let work = |putting: bool| {
        for i in 0.. {
            if putting {
                queue.put(&[&message(i)], watchdog()).unwrap();
            } else {
                number(&queue.get(watchdog()).unwrap());
            }
        }
    };
    let mut unreclaimed = Vec::new();
    let mut crowd: Vec<_> = (0..4).map(|i| fork(|| work(i % 2 == 0))).collect();
    for round in 0..120 {
        for _ in 0..random.below(100_000) {
            std::hint::spin_loop();
        }
        let dead = crowd.remove(0);
        dead.kill();
        unreclaimed.push(dead);
        unreclaimed.truncate(random.below(3) as usize);
        crowd.push(fork(|| work(round % 2 == 0)));
    }
    drop((crowd, unreclaimed));
    while queue.try_get().unwrap().is_some() {}
    for i in 0..20 {
        queue.put(&[&message(i)], watchdog()).unwrap();
        assert_eq!(number(&queue.get(watchdog()).unwrap()), i);
    }
    drop(queue);
    assert_eq!(family.usage(), before);
}

#[test]
fn a_descriptor_is_readable_while_there_are_items() {
    let _alone = alone();
    let queue = Queue::create(0).unwrap();
    queue.put(&[b"early"], Deadline::now()).unwrap();
    let fd = queue.readable_fd().unwrap();
    assert!(poll::is_readable(&fd).unwrap());
    queue.get(Deadline::now()).unwrap();
    assert!(!poll::is_readable(&fd).unwrap());
    let putter = fork(|| {
        for _ in 0..3 {
            queue.put(&[b"x"], Deadline::now()).unwrap();
        }
    });
    assert!(poll::wait_readable(fd.as_fd(), watchdog()).unwrap());
    putter.join();
    for _ in 0..3 {
        assert!(poll::is_readable(&fd).unwrap());
        queue.get(Deadline::now()).unwrap();
    }
    assert!(!poll::is_readable(&fd).unwrap());
    queue.close().unwrap();
    assert!(poll::is_readable(&fd).unwrap());
    assert!(queue.try_get().is_err());
    assert!(poll::is_readable(&fd).unwrap());
}

#[test]
fn a_forked_child_has_a_descriptor_of_its_own() {
    let _alone = alone();
    let queue = Queue::create(0).unwrap();
    let (fd, ready) = (queue.readable_fd().unwrap(), words());
    let other = fork(|| {
        let fd = queue.readable_fd().unwrap();
        word(&ready, 0).store(1, Ordering::Release);
        assert!(poll::wait_readable(fd.as_fd(), watchdog()).unwrap());
        queue.get(watchdog()).unwrap();
        assert!(!poll::is_readable(&fd).unwrap());
    });
    until("the child", || word(&ready, 0).load(Ordering::Acquire) == 1);
    queue.put(&[b"x"], Deadline::now()).unwrap();
    assert!(poll::wait_readable(fd.as_fd(), watchdog()).unwrap());
    other.join();
}

#[test]
fn a_signal_ends_a_wait_and_loses_nothing() {
    let _alone = alone();
    let (queue, heard) = (Queue::create(0).unwrap(), words());
    let waiter = fork(|| {
        listen_to_signals();
        let mut interrupted = queue.get(watchdog());
        while let Err(error) = interrupted {
            assert_eq!(error.kind(), ErrorKind::Interrupted);
            word(&heard, 0).store(1, Ordering::Release);
            interrupted = queue.get(watchdog());
        }
        assert_eq!(&*interrupted.unwrap(), b"after");
    });
    let member = procession_engine::family().unwrap().member(waiter.stamp);
    until("the child", || {
        member.waiting_on.load(Ordering::Relaxed) != 0
    });
    // The mark comes just before the park: signal until it has been heard.
    until("the signal", || {
        waiter.signal(libc::SIGUSR1);
        word(&heard, 0).load(Ordering::Acquire) == 1
    });
    queue.put(&[b"after"], Deadline::now()).unwrap();
    waiter.join();
}
