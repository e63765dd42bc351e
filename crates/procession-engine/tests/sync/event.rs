//! What `sync::Event` promises.

use std::time::{Duration, Instant};

use procession_engine::ErrorKind;
use procession_engine::sync::Event;
use procession_engine::sys::wait::time::Deadline;

use crate::family::{fork, watchdog};

#[test]
fn all_who_wait_are_let_go() {
    let event = Event::create().unwrap();
    let children: Vec<_> = (0..5)
        .map(|_| fork(|| event.wait(watchdog()).unwrap()))
        .collect();
    children.iter().for_each(|child| child.await_parked(true));
    event.set();
    children.into_iter().for_each(|child| child.join());
    assert!(event.is_set());
}

#[test]
fn clearing_at_once_still_lets_go_those_who_waited() {
    let event = Event::create().unwrap();
    for _ in 0..20 {
        let child = fork(|| event.wait(watchdog()).unwrap());
        child.await_parked(true);
        event.set();
        event.clear();
        child.join();
        assert!(!event.is_set());
    }
}

#[test]
fn a_wait_ends_at_its_deadline_and_not_before() {
    let event = Event::create().unwrap();
    let begin = Instant::now();
    let wait = Duration::from_millis(30);
    let error = event.wait(Deadline::after(wait)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(begin.elapsed() >= wait);
}

#[test]
fn a_killed_waiter_is_in_nobodys_way() {
    let event = Event::create().unwrap();
    let children = [(); 2].map(|()| fork(|| event.wait(watchdog()).unwrap()));
    children.iter().for_each(|child| child.await_parked(true));
    let [first, second] = children;
    first.kill();
    event.set();
    second.join();
}

#[test]
fn a_signal_ends_the_wait() {
    let event = Event::create().unwrap();
    let child = fork(|| {
        crate::family::listen_to_signals();
        let error = event.wait(watchdog()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
    });
    child.await_parked(true);
    child.signal_until_it_ends();
    child.join();
}

#[test]
fn kills_of_the_setter_at_any_instant_lose_no_wake_up() {
    let event = Event::create().unwrap();
    for _ in 0..40 {
        event.clear();
        let waiter = fork(|| event.wait(watchdog()).unwrap());
        waiter.await_parked(true);
        let setter = fork(|| {
            loop {
                event.set();
            }
        });
        let end = watchdog();
        while !event.is_set() {
            assert!(!end.has_passed());
            std::hint::spin_loop();
        }
        // As often as not between its store and its wake-up.
        setter.kill();
        setter.reclaim();
        waiter.join();
    }
}
