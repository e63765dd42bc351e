//! Pipes.

use std::cell::Cell;
use std::time::Duration;

use procession_engine::sync::Event;
use procession_engine::sys::limits::cpu::usable_cpus;
use procession_engine::sys::steps;
use procession_engine::sys::wait::time::Deadline;

use crate::family::{fork, watchdog};
use crate::pipe_end::{PipeEnd, pipe_ends};
use crate::{alone, at_every_step};

/// Bytes that go through the socket at once, in several steps, and through the arena.
const SIZES: [usize; 3] = [100, 40_000, 200_000];

/// The receiving end, and the sending one, which only the child keeps.
struct Ends {
    receiver: Cell<Option<PipeEnd>>,
    sender: Cell<Option<PipeEnd>>,
}

fn ends() -> Ends {
    let (receiver, sender) = pipe_ends();
    Ends {
        receiver: Cell::new(Some(receiver)),
        sender: Cell::new(Some(sender)),
    }
}

/// Receives until the end; returns how many messages were whole.
fn receive_all(ends: &Ends) -> usize {
    drop(ends.sender.take());
    let receiver = ends.receiver.take().unwrap();
    let mut count = 0;
    while let Ok(message) = receiver.recv(watchdog()) {
        assert_eq!(message.len(), SIZES[count]);
        assert!(message.iter().all(|&byte| byte == count as u8));
        count += 1;
    }
    assert!(!watchdog().has_passed());
    count
}

#[test]
fn who_sends() {
    at_every_step(
        "send",
        ends,
        |ends| {
            let sender = ends.sender.take().unwrap();
            for (number, size) in SIZES.into_iter().enumerate() {
                sender
                    .send(&[&vec![number as u8; size]], watchdog())
                    .unwrap();
            }
        },
        |ends, killed| {
            let count = receive_all(ends);
            assert!(count == SIZES.len() || killed, "{count} messages");
        },
    );
}

#[test]
fn who_receives() {
    at_every_step(
        "receive",
        || {
            let ends = ends();
            let sender = ends.sender.take().unwrap();
            sender.send(&[&[1; 200_000]], watchdog()).unwrap();
            sender.send(&[&[2; 100]], watchdog()).unwrap();
            ends.sender.set(Some(sender));
            ends
        },
        |ends| {
            let receiver = ends.receiver.take().unwrap();
            for _ in 0..2 {
                receiver.recv(watchdog()).unwrap();
            }
        },
        |ends, _| {
            // What is left is out of step if the dead had read a part of it.
            let sender = ends.sender.take().unwrap();
            drop(ends.receiver.take());
            while sender.send(&[&[3; 200_000]], watchdog()).is_ok() {}
        },
    );
}

/// Stops a process at each step of looking for a message, and sends three meanwhile, the first of
/// them past the socket if the process offers to take it there.
fn stopped_while_it_looks(goes_on: bool) {
    let _alone = alone();
    let family = procession_engine::family().unwrap();
    let before = family.usage();
    let (mut count, mut handed_over) = (0, 0);
    loop {
        let (receiver, sender) = pipe_ends();
        let got = Event::create().unwrap();
        // It looks for a message once it knows that it does not wait for long.
        for _ in 0..5 {
            sender.send(&[b"short"], watchdog()).unwrap();
        }
        let child = fork(|| {
            for _ in 0..5 {
                receiver.recv(watchdog()).unwrap();
            }
            steps::stop_after(count);
            // It comes to an end though nothing is sent while it is not stopped.
            let came = receiver.recv(Deadline::after(Duration::from_millis(50)));
            steps::stop_counting();
            if let Ok(message) = came {
                assert_eq!(&*message, [0; SIZES[0]]);
                got.set();
            }
        });
        let was_stopped = child.has_stopped();
        for (number, size) in SIZES.into_iter().enumerate() {
            let bytes = vec![number as u8; size];
            sender.send(&[&bytes], watchdog()).unwrap();
            handed_over += u64::from(was_stopped && number == 0 && !receiver.is_readable());
        }
        if was_stopped && goes_on {
            child.go_on();
            child.join();
        } else if was_stopped {
            child.kill();
            assert!(child.was_killed());
            child.reclaim();
        } else {
            child.join();
        }
        let first = usize::from(got.is_set());
        for (number, size) in SIZES.into_iter().enumerate().skip(first) {
            let message = receiver.recv(watchdog()).unwrap();
            let is_whole = message.len() == size && message.iter().all(|&b| b == number as u8);
            assert!(is_whole, "message {number} after {count} steps");
        }
        drop((receiver, sender, got));
        assert_eq!(family.usage(), before, "stopped after {count} steps");
        if !was_stopped {
            break;
        }
        count += 1;
    }
    // With one processor nobody looks.
    assert!(handed_over > 0 || usable_cpus() == 1, "all by the socket");
    println!("look: {count} steps, {handed_over} times it offered");
}

#[test]
fn who_looks_is_stopped() {
    stopped_while_it_looks(true);
}

#[test]
fn who_looks_is_killed() {
    stopped_while_it_looks(false);
}
