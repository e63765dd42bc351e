//! Waiting for several things at once, across real processes and kills.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use procession_engine::ErrorKind;
use procession_engine::channel::{Queue, Waitable, wait};
use procession_engine::sync::Event;
use procession_engine::sys::process::pidfd::PidFd;
use procession_engine::sys::socket::io;
use procession_engine::sys::wait::poll;
use procession_engine::sys::wait::time::Deadline;

use crate::family::{Relative, fork, killed_after, listen_to_signals, watchdog};
use crate::stepping::{Stepped, killed_after as stopped_after};
use crate::{Random, alone, until, word, words};

fn now(things: &[Waitable<'_>]) -> Vec<usize> {
    wait(things, Deadline::now()).unwrap()
}

#[test]
fn each_kind_is_ready_when_its_time_has_come() {
    let _alone = alone();
    let (queue, event) = (Queue::create(0).unwrap(), Event::create().unwrap());
    let (ours, theirs) = io::stream_pair().unwrap();
    let go = Event::create().unwrap();
    let child = fork(|| go.wait(watchdog()).unwrap());
    let pidfd = PidFd::open(child.pid().cast_unsigned()).unwrap();
    let things = [
        Waitable::Queue(&queue),
        Waitable::Event(&event),
        Waitable::Fd(ours.as_fd()),
        Waitable::Fd(pidfd.unverified()),
    ];
    assert_eq!(now(&things), []);
    queue.put(&[b"x"], Deadline::now()).unwrap();
    assert_eq!(wait(&things, watchdog()).unwrap(), [0]);
    event.set();
    assert_eq!(wait(&things, watchdog()).unwrap(), [0, 1]);
    io::send_all(&theirs, &[b"x"], &mut 0, watchdog()).unwrap();
    assert_eq!(wait(&things, watchdog()).unwrap(), [0, 1, 2]);
    queue.get(Deadline::now()).unwrap();
    event.clear();
    assert_eq!(wait(&things, watchdog()).unwrap(), [2]);
    go.set();
    child.wait_for_end();
    assert_eq!(wait(&things, watchdog()).unwrap(), [2, 3]);
    queue.close().unwrap();
    assert_eq!(wait(&things, watchdog()).unwrap(), [0, 2, 3]);
}

#[test]
fn nothing_is_ready_at_the_deadline_and_not_before() {
    let _alone = alone();
    let (queue, event) = (Queue::create(0).unwrap(), Event::create().unwrap());
    let things = [Waitable::Queue(&queue), Waitable::Event(&event)];
    for things in [&things[..], &[]] {
        let (begin, time) = (Instant::now(), Duration::from_millis(150));
        assert_eq!(wait(things, Deadline::after(time)).unwrap(), []);
        assert!(begin.elapsed() >= time);
    }
}

#[test]
fn another_process_ends_the_wait_by_a_put_or_a_set() {
    let _alone = alone();
    let (queue, event) = (Queue::create(0).unwrap(), Event::create().unwrap());
    let began = words();
    let waiting = |place: usize| {
        let before = word(&began, 0).load(Ordering::Acquire);
        let waiter = fork(|| {
            let things = [Waitable::Queue(&queue), Waitable::Event(&event)];
            assert_eq!(now(&things), []);
            word(&began, 0).fetch_add(1, Ordering::Release);
            assert_eq!(wait(&things, watchdog()).unwrap(), [place]);
        });
        until("the child", || {
            word(&began, 0).load(Ordering::Acquire) > before
        });
        waiter
    };
    let waiters = [(); 3].map(|()| waiting(1));
    event.set();
    waiters.into_iter().for_each(Relative::join);
    event.clear();
    let waiter = waiting(0);
    queue.put(&[b"x"], Deadline::now()).unwrap();
    waiter.join();
}

#[test]
fn an_events_descriptor_is_readable_while_it_is_set() {
    let _alone = alone();
    let event = Event::create().unwrap();
    event.set();
    let fd = event.readable_fd().unwrap();
    assert!(poll::is_readable(&fd).unwrap());
    event.clear();
    assert!(!poll::is_readable(&fd).unwrap());
    let setter = fork(|| {
        let own = event.readable_fd().unwrap();
        event.set();
        assert!(poll::is_readable(&own).unwrap());
    });
    assert!(poll::wait_readable(fd.as_fd(), watchdog()).unwrap());
    setter.join();
    assert!(event.is_set());
    assert!(poll::is_readable(&fd).unwrap());
    fork(|| event.clear()).join();
    assert!(!event.is_set());
    assert!(!poll::is_readable(&fd).unwrap());
}

#[test]
fn a_bell_that_rang_for_an_item_somebody_else_took_is_no_news() {
    let _alone = alone();
    let (queue, event) = (Queue::create(0).unwrap(), Event::create().unwrap());
    let things = [Waitable::Queue(&queue), Waitable::Event(&event)];
    let bell = queue.readable_fd().unwrap();
    assert_eq!(now(&things), []);
    fork(|| {
        queue.put(&[b"x"], Deadline::now()).unwrap();
        queue.get(Deadline::now()).unwrap();
        event.set();
        event.clear();
    })
    .join();
    assert!(poll::is_readable(&bell).unwrap());
    let (begin, time) = (Instant::now(), Duration::from_millis(20));
    assert_eq!(wait(&things, Deadline::after(time)).unwrap(), []);
    assert!(begin.elapsed() >= time);
    assert!(!poll::is_readable(&bell).unwrap());
}

#[test]
fn who_asks_for_the_descriptor_again_gets_no_old_news() {
    let _alone = alone();
    let (queue, event) = (Queue::create(0).unwrap(), Event::create().unwrap());
    let bells = [queue.readable_fd().unwrap(), event.readable_fd().unwrap()];
    fork(|| {
        queue.put(&[b"x"], Deadline::now()).unwrap();
        queue.get(Deadline::now()).unwrap();
        event.set();
        event.clear();
    })
    .join();
    for bell in &bells {
        assert!(poll::is_readable(bell).unwrap());
    }
    for bell in [queue.readable_fd().unwrap(), event.readable_fd().unwrap()] {
        assert!(!poll::is_readable(&bell).unwrap());
    }
}

#[test]
fn what_a_killed_process_put_or_set_is_found_at_whatever_instruction_it_died() {
    let _alone = alone();
    let mut random = Random(0x5eed);
    let mut total = 0;
    for round in 0..8 {
        let count = if round == 0 {
            u64::MAX
        } else {
            random.below(total)
        };
        let (queue, event) = (Queue::create(0).unwrap(), Event::create().unwrap());
        let things = [Waitable::Queue(&queue), Waitable::Event(&event)];
        assert_eq!(now(&things), []);
        let (stepped, count, dead) = stopped_after(count, || {
            queue.put(&[b"x"], watchdog()).unwrap();
            event.set();
        });
        let expected: Vec<_> = [(0, !queue.is_empty()), (1, event.is_set())]
            .iter()
            .filter_map(|&(place, is)| is.then_some(place))
            .collect();
        if expected.is_empty() {
            assert_eq!(stepped, Stepped::Killed, "item and event are lost");
            assert_eq!(now(&things), []);
        } else {
            assert_eq!(wait(&things, watchdog()).unwrap(), expected);
        }
        total = total.max(count);
        // By its reclaim, whoever has only the descriptor is told, too.
        dead.reclaim();
        let bells = [queue.readable_fd().unwrap(), event.readable_fd().unwrap()];
        for place in expected {
            assert!(poll::is_readable(&bells[place]).unwrap());
        }
    }
}

#[test]
fn bells_of_the_dead_are_forgotten() {
    let _alone = alone();
    let family = procession_engine::family().unwrap();
    let before = family.usage();
    let (queue, event) = (Queue::create(0).unwrap(), Event::create().unwrap());
    // More than the table has room for.
    for _ in 0..600 {
        killed_after(|| {
            let things = [Waitable::Queue(&queue), Waitable::Event(&event)];
            assert_eq!(now(&things), []);
        })
        .reclaim();
    }
    event.set();
    assert_eq!(
        now(&[Waitable::Queue(&queue), Waitable::Event(&event)]),
        [1]
    );
    drop((queue, event));
    assert_eq!(family.usage(), before);
}

#[test]
fn a_signal_ends_the_wait() {
    let _alone = alone();
    let (queue, event) = (Queue::create(0).unwrap(), Event::create().unwrap());
    let began = Event::create().unwrap();
    let child = fork(|| {
        listen_to_signals();
        began.set();
        let things = [Waitable::Queue(&queue), Waitable::Event(&event)];
        let error = wait(&things, watchdog()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
    });
    until("the child", || began.is_set());
    child.signal_until_it_ends();
    child.join();
}
