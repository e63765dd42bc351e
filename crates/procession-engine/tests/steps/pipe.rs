//! Pipes.

use std::cell::Cell;

use crate::at_every_step;
use crate::family::watchdog;
use crate::pipe_end::{PipeEnd, pipe_ends};

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
