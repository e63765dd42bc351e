//! The interleavings of a handover's words, tried by loom.
//!
//! The socket is a list, and nobody sleeps in it: a receiver that finds nothing comes back later.

use std::sync::Arc;

use loom::sync::Mutex;
use loom::sync::atomic::AtomicBool;
use loom::thread;

use super::*;
use procession_sys::primitive::model::{at_each_step, dies_after};

/// A direction of a pipe, and whether the receiver that may die has.
#[derive(Default)]
struct Direction {
    handover: Handover,
    socket: Mutex<Vec<u8>>,
    is_dead: AtomicBool,
}

fn mortal() -> Stamp {
    Stamp::new(9, 1)
}

fn number(handed: Handed<'_>) -> u8 {
    match handed {
        Handed::Bytes(bytes) => bytes[0],
        Handed::Block(..) => panic!("it is in no block"),
    }
}

impl Direction {
    fn is_dead(&self, stamp: Stamp) -> bool {
        stamp == mortal() && self.is_dead.load(Ordering::SeqCst)
    }

    /// As `Sending`: hands over, or counts and sends.
    fn send(&self, number: u8) {
        if let Some(offer) = self.handover.offer(|| 0)
            && self.handover.hand_bytes(offer, &[&[number]])
        {
            return;
        }
        self.handover.post();
        self.socket.lock().unwrap().push(number);
    }

    /// As `Receiving`, without the sleep: `None` if nothing was there while it looked.
    fn receive(&self, me: Stamp) -> Option<u8> {
        let is_dead = |stamp| self.is_dead(stamp);
        if self.handover.is_in_use()
            && let Some(asking) = self.handover.ask(me, 1, is_dead)
            && let Some(number) = asking.finish(number)
        {
            return Some(number);
        }
        if let Some(number) = self.receive_from_socket() {
            return Some(number);
        }
        let asking = self.handover.ask(me, 1, is_dead)?;
        thread::yield_now();
        let found = asking.finish(number);
        found.or_else(|| self.receive_from_socket())
    }

    fn receive_from_socket(&self) -> Option<u8> {
        let mut socket = self.socket.lock().unwrap();
        if socket.is_empty() {
            return None;
        }
        let number = socket.remove(0);
        drop(socket);
        self.handover.took();
        Some(number)
    }

    /// Receives what is left, when nobody else sends or receives.
    fn receive_all(&self, came: &mut Vec<u8>) {
        while let Some(number) = self.receive(Stamp::new(1, 1)) {
            came.push(number);
        }
    }
}

#[test]
fn loom_messages_come_once_and_in_order() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let direction = Arc::new(Direction::default());
        let theirs = Arc::clone(&direction);
        let sender = thread::spawn(move || (1..=3).for_each(|number| theirs.send(number)));
        let mut came = Vec::new();
        for _ in 0..2 {
            came.extend(direction.receive(Stamp::new(1, 1)));
        }
        sender.join().unwrap();
        direction.receive_all(&mut came);
        assert_eq!(came, [1, 2, 3]);
    });
}

#[test]
fn loom_a_killed_receiver_takes_no_more_than_it_was_receiving() {
    at_each_step(2, |steps| {
        let direction = Arc::new(Direction::default());
        let theirs = Arc::clone(&direction);
        let sender = thread::spawn(move || (1..=2).for_each(|number| theirs.send(number)));
        let theirs = Arc::clone(&direction);
        let receiver = thread::spawn(move || {
            let done = dies_after(steps, || theirs.receive(mortal()));
            theirs.is_dead.store(true, Ordering::SeqCst);
            done
        });
        let done = receiver.join().unwrap();
        let mut came: Vec<u8> = done.flatten().into_iter().collect();
        // Some of it while the sender still sends.
        came.extend(direction.receive(Stamp::new(1, 1)));
        sender.join().unwrap();
        direction.receive_all(&mut came);
        assert!(came.is_sorted(), "{came:?}");
        if done.is_some() {
            assert_eq!(came, [1, 2]);
        } else {
            // From the socket it had taken one, and no more.
            assert!(came.len() >= 1, "{came:?}");
        }
        done.is_none()
    });
}
