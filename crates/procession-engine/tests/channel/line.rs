//! Lines between threads, which are to a line what processes are.

use std::time::Duration;

use procession_engine::channel::{LINE_ROOM as ROOM, RpcChannel, RpcEnd, RpcReceived};
use procession_engine::sys::socket::io;
use procession_engine::sys::wait::time::Deadline;
use procession_engine::{ErrorKind, Result};

use crate::alone;
use crate::family::watchdog;

fn line() -> (RpcChannel, RpcChannel) {
    let (ours, theirs) = io::stream_pair().unwrap();
    let end = RpcEnd::create().unwrap();
    let other = RpcEnd::attach(end.handle()).unwrap();
    (end.open(ours).unwrap(), other.open(theirs).unwrap())
}

fn recv(line: &mut RpcChannel, deadline: Deadline) -> Result<Vec<u8>> {
    while !line.look() {
        match line.wait(deadline) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => result?,
        }
    }
    line.take().map(|received| match received {
        RpcReceived::Here(bytes) => bytes.to_vec(),
        RpcReceived::Elsewhere(message) => message.to_vec(),
    })
}

#[test]
fn questions_and_answers_of_all_sizes_arrive() {
    let _alone = alone();
    let (mut asking, mut answering) = line();
    let answerer = std::thread::spawn(move || {
        while let Ok(question) = recv(&mut answering, Deadline::NEVER) {
            answering.send(&[&question, b"!"]).unwrap();
        }
    });
    for len in [0, 1, ROOM - 1, ROOM, ROOM + 1, 100_000, 1 << 20, 3] {
        let question: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
        for _ in 0..20 {
            let (head, tail) = question.split_at(len / 3);
            asking.send(&[head, tail]).unwrap();
            let answer = recv(&mut asking, watchdog()).unwrap();
            assert!(answer.ends_with(b"!") && answer[..len] == question);
        }
    }
    drop(asking);
    answerer.join().unwrap();
}

#[test]
fn a_sleeper_is_woken_however_long_it_sleeps() {
    let _alone = alone();
    let (mut asking, mut answering) = line();
    for pause in [0, 1, 20, 80, 200].map(Duration::from_millis) {
        let early = recv(&mut answering, Deadline::after(pause));
        assert_eq!(early.unwrap_err().kind(), ErrorKind::TimedOut);
        let sleeper = std::thread::spawn(move || {
            let message = recv(&mut answering, watchdog()).unwrap();
            (answering, message)
        });
        asking.send(&[b"late"]).unwrap();
        let message;
        (answering, message) = sleeper.join().unwrap();
        assert_eq!(message, b"late");
        answering.send(&[b"answer"]).unwrap();
        assert_eq!(recv(&mut asking, watchdog()).unwrap(), b"answer");
    }
}

#[test]
fn one_that_sleeps_on_the_word_notices_the_end() {
    let _alone = alone();
    let (asking, mut answering) = line();
    let sleeper = std::thread::spawn(move || recv(&mut answering, watchdog()).unwrap_err());
    drop(asking);
    assert_eq!(sleeper.join().unwrap().kind(), ErrorKind::Closed);
}

#[test]
fn the_end_of_the_other_side_is_told_after_its_last_message() {
    let _alone = alone();
    let (mut asking, mut answering) = line();
    let early = recv(&mut answering, Deadline::after(Duration::from_millis(1)));
    assert!(early.is_err());
    asking.send(&[b"last"]).unwrap();
    drop(asking);
    assert_eq!(recv(&mut answering, watchdog()).unwrap(), b"last");
    let end = recv(&mut answering, watchdog()).unwrap_err();
    assert_eq!(end.kind(), ErrorKind::Closed);
}

#[test]
fn a_stranger_cannot_attach() {
    let _alone = alone();
    let end = RpcEnd::create().unwrap();
    let mut handle = end.handle();
    handle.family ^= 1;
    let error = RpcEnd::attach(handle).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}
