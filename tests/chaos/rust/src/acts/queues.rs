//! Queues: no item is lost or comes twice, but for one in the hands of the dead.

use std::time::Duration;

use procession::{Process, Queue, Result};

use crate::actors::{Actors, Role, Until, any_method, pass};
use crate::chance::Chance;
use crate::ledger;
use crate::payload::Payload;

/// For how long a consumer waits before it looks whether it is over.
const MOMENT: Duration = Duration::from_millis(50);

/// Who sent it, its number, and what belongs to that.
type Item = (u32, u64, Payload);

pub fn play(tag: &str, chance: &mut Chance, until: Until) -> Result<()> {
    let until = until.or_after_tenths(3 + chance.below(27));
    let queue = match chance.of(&[0, 0, 1, 7]) {
        0 => Queue::<Item>::new()?,
        capacity => Queue::bounded(capacity)?,
    };
    let method = any_method(chance);
    let mut roles: Vec<Role<'_>> = Vec::new();
    for _ in 0..1 + chance.below(3) {
        let (queue, tag) = (queue.clone(), tag.to_owned());
        roles.push(Box::new(move |seed| {
            let process = Process::new(produce).args((queue.clone(), tag.clone(), seed, until));
            process.daemon(seed % 5 != 0).start_method(method).start()
        }));
    }
    for _ in 0..1 + chance.below(3) {
        let (queue, tag) = (queue.clone(), tag.to_owned());
        roles.push(Box::new(move |seed| {
            let process = Process::new(consume).args((queue.clone(), tag.clone(), until));
            process.daemon(seed % 5 != 0).start_method(method).start()
        }));
    }
    let mut actors = Actors::new(roles, chance)?;
    actors.run(until, chance)?;
    // Makes room for producers whose consumers are gone.
    while !actors.have_ended() {
        drain(&queue, tag)?;
    }
    actors.bow();
    drain(&queue, tag)?;
    ledger::note("settled", tag, 0, "");
    Ok(())
}

/// Takes what is left.
fn drain(queue: &Queue<Item>, tag: &str) -> Result<()> {
    ledger::note("get?", tag, 0, "");
    loop {
        match queue.get_timeout(MOMENT / 10) {
            Ok(item) => receive(tag, &item),
            Err(error) if error.is_timeout() || error.is_empty() => break,
            Err(error) => return Err(error),
        }
        ledger::note("get?", tag, 0, "");
    }
    ledger::note("got", tag, 0, "");
    Ok(())
}

fn produce((queue, tag, seed, until): (Queue<Item>, String, u64, Until)) {
    let mut chance = Chance::new(seed);
    let mut number = 0;
    while !until.has_come() {
        let payload = Payload::make(number, &mut chance).expect("the arena is not full");
        let item = (std::process::id(), number, payload);
        ledger::note("put?", &tag, number, "");
        if !has_put(&queue, item, until) {
            return;
        }
        ledger::note("put", &tag, number, "");
        number += 1;
        if chance.one_in(5) {
            pass(Duration::from_millis(1));
        }
    }
}

/// Puts an item; gives up if nobody makes room: whoever had consumers come is dead.
fn has_put(queue: &Queue<Item>, mut item: Item, until: Until) -> bool {
    loop {
        match queue.put_timeout(item, MOMENT) {
            Ok(()) => return true,
            Err(_) if until.has_come() => return false,
            Err(refused) => item = refused.value,
        }
    }
}

fn receive(tag: &str, (sender, number, payload): &Item) {
    ledger::note("get", tag, *number, sender);
    if !payload.check(*number) {
        ledger::note("wrong", tag, *number, sender);
    }
}

fn consume((queue, tag, until): (Queue<Item>, String, Until)) {
    while !until.has_come() {
        ledger::note("get?", &tag, 0, "");
        while let Ok(item) = queue.get_timeout(MOMENT) {
            receive(&tag, &item);
            ledger::note("get?", &tag, 0, "");
        }
        ledger::note("got", &tag, 0, "");
    }
}
