//! Pipes from outside, across real processes and kills.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use procession_engine::ErrorKind;
use procession_engine::channel::pipe::receiving::Receiving;
use procession_engine::channel::pipe::sending::Sending;
use procession_engine::channel::{Waitable, wait};
use procession_engine::sys::socket::io;
use procession_engine::sys::wait::time::Deadline;

use crate::family::{fork, killed_after, listen_to_signals, watchdog};
use crate::pipe_end::{PipeEnd, pipe_ends};
use crate::stepping::killed_after as stopped_after;
use crate::{Random, alone, until, word, words};

/// Bytes that go through the arena.
const LARGE: usize = 200_000;

/// Bytes that go through the socket in several steps.
const MEDIUM: usize = 100_000;

/// A message whose bytes all follow from its number.
fn message(number: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![number as u8; len.max(8)];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

fn number(bytes: &[u8]) -> u64 {
    let number = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    assert_eq!(bytes, message(number, bytes.len()), "{number} is damaged");
    number
}

fn send(end: &PipeEnd, number: u64, len: usize) {
    end.send(&[&message(number, len)], watchdog()).unwrap();
}

fn recv(end: &PipeEnd) -> u64 {
    number(&end.recv(watchdog()).unwrap())
}

#[test]
fn messages_of_every_size_come_in_order_and_leave_nothing_behind() {
    let _alone = alone();
    let before = procession_engine::family().unwrap().usage();
    let (here, there) = pipe_ends();
    let sizes = [8, 2040, 2050, 40_000, MEDIUM, LARGE, 3 << 20];
    let echo = fork(|| {
        for _ in 0..sizes.len() * 3 {
            let message = there.recv(watchdog()).unwrap();
            let (a, b) = message.split_at(3);
            there.send(&[a, &[], b], watchdog()).unwrap();
        }
    });
    for i in 0..sizes.len() * 3 {
        let bytes = message(i as u64, sizes[i % sizes.len()]);
        here.send(&[&bytes], watchdog()).unwrap();
        assert_eq!(&*here.recv(watchdog()).unwrap(), bytes);
    }
    echo.join();
    here.send(&[], watchdog()).unwrap();
    assert_eq!(&*there.recv(watchdog()).unwrap(), b"");
    drop((here, there));
    assert_eq!(procession_engine::family().unwrap().usage(), before);
}

#[test]
fn an_end_is_readable_while_there_is_a_message() {
    let _alone = alone();
    let (here, there) = pipe_ends();
    send(&here, 1, 8);
    let ready = wait(&[Waitable::Fd(there.as_fd())], watchdog()).unwrap();
    assert_eq!(ready, [0]);
    assert_eq!(recv(&there), 1);
    assert!(!there.is_readable());
}

#[test]
fn a_stranger_gets_plain_bytes_and_is_understood() {
    let _alone = alone();
    let (ours, theirs) = io::stream_pair().unwrap();
    let bytes = message(5, LARGE);
    let child = fork(|| {
        let parts = [&bytes[..]];
        Sending::new(ours.as_fd(), None, &parts)
            .go_on(watchdog())
            .unwrap();
    });
    let mut head = [0; 4];
    io::recv_exact(&theirs, &mut head, &mut 0, watchdog()).unwrap();
    assert_eq!(i32::from_be_bytes(head), LARGE as i32);
    let mut got = Vec::new();
    while got.len() < LARGE {
        let _ = io::recv_vec(&theirs, &mut got, LARGE, watchdog());
    }
    assert_eq!(number(&got), 5);
    child.join();
    for head in [
        &[0, 0, 0, 2][..],
        &[255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 2],
    ] {
        io::send_all(&theirs, &[head, b"hi"], &mut 0, watchdog()).unwrap();
        let got = Receiving::new(ours.as_fd(), None, 2).go_on(watchdog());
        assert_eq!(&*got.unwrap(), b"hi");
    }
    // What only relatives may say, and what is longer than it may be.
    for (head, most) in [([255, 255, 255, 254], usize::MAX), ([0, 0, 0, 3], 2)] {
        io::send_all(&theirs, &[&head], &mut 0, watchdog()).unwrap();
        let mut receiving = Receiving::new(ours.as_fd(), None, most);
        let error = receiving.go_on(watchdog()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert!(receiving.is_cut());
    }
}

#[test]
fn nothing_is_sent_or_received_at_a_deadline() {
    let _alone = alone();
    let (here, there) = pipe_ends();
    let (begin, time) = (Instant::now(), Duration::from_millis(20));
    let error = there.recv(Deadline::after(time)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(begin.elapsed() >= time);
    let mut sent = 0;
    let error = loop {
        match here.send(&[&message(sent, LARGE)], Deadline::after(time)) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    for i in 0..sent {
        assert_eq!(recv(&there), i);
    }
    assert!(!there.is_readable());
    send(&here, sent, LARGE);
    assert_eq!(recv(&there), sent);
}

#[test]
fn a_sender_that_waits_for_room_learns_that_the_receiver_has_gone() {
    let _alone = alone();
    let before = procession_engine::family().unwrap().usage();
    let (here, there) = pipe_ends();
    let ready = words();
    let receiver = fork(move || {
        assert_eq!(recv(&there), 0);
        word(&ready, 0).store(1, Ordering::Release);
        std::thread::park();
    });
    // In the child alone is the other end now: it was moved into the closure.
    let sender = fork(|| {
        let mut i = 0;
        let error = loop {
            match here.send(&[&message(i, LARGE)], watchdog()) {
                Ok(()) => i += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::Closed);
    });
    sender.await_parked(true);
    receiver.reclaim();
    sender.join();
    drop(here);
    assert_eq!(procession_engine::family().unwrap().usage(), before);
}

#[test]
fn messages_of_several_senders_never_mix() {
    let _alone = alone();
    let (receiver, sender) = pipe_ends();
    let senders: Vec<_> = (0..3)
        .map(|who| {
            let sender = &sender;
            fork(move || (0..60).for_each(|i| send(sender, who << 32 | i, MEDIUM)))
        })
        .collect();
    let mut next = [0; 3];
    for _ in 0..180 {
        let number = recv(&receiver);
        let who = (number >> 32) as usize;
        assert_eq!(number & 0xffff_ffff, next[who]);
        next[who] += 1;
    }
    senders.into_iter().for_each(|sender| sender.join());
}

#[test]
fn a_message_cut_by_a_kill_is_an_error_though_others_hold_the_end() {
    let _alone = alone();
    let before = procession_engine::family().unwrap().usage();
    let mut random = Random(0xc0ffee);
    let mut cuts = 0;
    for _ in 0..60 {
        // The sending end is open here all the time.
        let (receiver, sender) = pipe_ends();
        let victim = fork(|| (0..u64::MAX).for_each(|i| send(&sender, i, MEDIUM)));
        let mut next = 0;
        while next < random.below(8) {
            assert_eq!(recv(&receiver), next);
            next += 1;
        }
        for _ in 0..random.below(50_000) {
            std::hint::spin_loop();
        }
        victim.kill();
        let unreclaimed = Some(victim).filter(|_| random.below(2) == 0);
        let late = fork(|| {
            if let Err(error) = sender.send(&[&message(u64::MAX, MEDIUM)], watchdog()) {
                assert_eq!(error.kind(), ErrorKind::Closed);
            }
        });
        let end = loop {
            match receiver.recv(watchdog()) {
                Ok(message) if number(&message) == u64::MAX => break None,
                Ok(message) => assert_eq!(number(&message), next),
                Err(error) => break Some(error.kind()),
            }
            next += 1;
        };
        cuts += u64::from(end.is_some());
        assert!(
            matches!(end, None | Some(ErrorKind::Dead | ErrorKind::Closed)),
            "{end:?}"
        );
        if end.is_some() {
            let again = receiver.recv(watchdog()).unwrap_err();
            assert_eq!(again.kind(), ErrorKind::Closed);
        }
        late.join();
        drop(unreclaimed);
    }
    assert!(cuts > 0, "no message was ever cut");
    assert_eq!(procession_engine::family().unwrap().usage(), before);
}

#[test]
fn a_sender_killed_at_any_instruction_leaves_no_block_behind() {
    let _alone = alone();
    let before = procession_engine::family().unwrap().usage();
    let mut random = Random(0xabcd);
    let mut total = 0;
    for round in 0..6 {
        let (receiver, sender) = pipe_ends();
        let count = if round == 0 {
            u64::MAX
        } else {
            random.below(total)
        };
        let bytes = message(7, 128 << 10);
        // In small parts, as the copy of a large one is one step per byte.
        let parts: Vec<&[u8]> = bytes.chunks(1024).collect();
        let (_, count, dead) = stopped_after(count, || sender.send(&parts, watchdog()).unwrap());
        total = total.max(count);
        if random.below(2) == 0 {
            dead.reclaim();
        }
        if receiver.is_readable() {
            assert_eq!(recv(&receiver), 7);
        }
        // Others are not kept from sending, even large messages.
        let next = fork(|| (0..20).for_each(|i| send(&sender, i, LARGE)));
        (0..20).for_each(|i| assert_eq!(recv(&receiver), i));
        next.join();
    }
    procession_engine::family().unwrap().reclaim_all();
    assert_eq!(procession_engine::family().unwrap().usage(), before);
}

#[test]
fn blocks_that_nobody_receives_go_with_the_pipe() {
    let _alone = alone();
    let before = procession_engine::family().unwrap().usage();
    let (receiver, sender) = pipe_ends();
    (0..5).for_each(|i| send(&sender, i, LARGE));
    // One takes its message with it into death.
    let dead = killed_after(|| std::mem::forget(receiver.recv(watchdog()).unwrap()));
    assert_eq!(recv(&receiver), 1);
    dead.reclaim();
    drop((receiver, sender));
    assert_eq!(procession_engine::family().unwrap().usage(), before);
}

#[test]
fn a_signal_ends_a_wait_at_either_end() {
    let _alone = alone();
    let (here, _there) = pipe_ends();
    for sends in [true, false] {
        let began = words();
        let child = fork(|| {
            listen_to_signals();
            word(&began, 0).store(1, Ordering::Release);
            let error = loop {
                let result = if sends {
                    here.send(&[&message(0, LARGE)], watchdog())
                } else {
                    here.recv(watchdog()).map(drop)
                };
                if let Err(error) = result {
                    break error;
                }
            };
            assert_eq!(error.kind(), ErrorKind::Interrupted);
        });
        until("the child", || word(&began, 0).load(Ordering::Acquire) == 1);
        child.signal_until_it_ends();
        child.join();
    }
}
