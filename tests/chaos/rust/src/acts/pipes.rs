//! Pipes: what arrives is what was sent, in order; the death of one end is told.

use procession::{Pipe, Process, Result, pipe};

use crate::actors::{Until, WATCHDOG, any_method, leave};
use crate::chance::Chance;
use crate::ledger;
use crate::payload::Payload;

type Message = (u64, Payload);

pub fn play(tag: &str, chance: &mut Chance, until: Until) -> Result<()> {
    let until = until.or_after_tenths(1 + chance.below(9));
    let (here, there) = pipe::<(), Message>()?;
    let (seed, method) = (chance.next(), any_method(chance));
    // An end is one process's: it crosses once.
    let sender = Process::new(send).args((there, tag.to_owned(), seed, until));
    let sender = sender.start_method(method).start();
    let receiver = Process::new(receive).args((here, tag.to_owned()));
    let receiver = receiver.start_method(method).start();
    // Either may not have been started: its fork server was killed all the time.
    sender.into_iter().chain(receiver).for_each(leave);
    ledger::note("settled", tag, 0, "");
    Ok(())
}

fn send((end, tag, seed, until): (Pipe<Message, ()>, String, u64, Until)) {
    let mut chance = Chance::new(seed);
    let mut number = 0;
    while !until.has_come() {
        ledger::note("send?", &tag, number, "");
        let payload = Payload::make(number, &mut chance).expect("the arena is not full");
        if end.send((number, payload)).is_err() {
            return ledger::note("deaf", &tag, number, "");
        }
        ledger::note("sent", &tag, number, "");
        number += 1;
    }
    ledger::note("bye", &tag, number, "");
}

fn receive((end, tag): (Pipe<(), Message>, String)) {
    loop {
        ledger::note("recv?", &tag, 0, "");
        let (number, payload) = match end.recv_timeout(WATCHDOG) {
            Ok(message) => message,
            Err(error) if error.is_timeout() => return ledger::note("hung", &tag, 0, ""),
            Err(_) => return ledger::note("eof", &tag, 0, ""),
        };
        ledger::note("recv", &tag, number, "");
        if !payload.check(number) {
            ledger::note("wrong", &tag, number, "");
        }
    }
}
