//! The program that is tormented, on the Rust face: acts that use procession, until it is
//! over.
//!
//! Usage: procession-chaos LEDGER UNTIL SEED ACT...
//!
//! It writes the same ledger as `tests/chaos/python`, and one audit judges both. This
//! process is the one that is never killed. Each act runs in a child and is started again
//! if it is killed.

mod actors;
mod acts;
mod chance;
mod ledger;
mod leftovers;
mod payload;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use procession::{Child, Process, Queue, Waitable, wait};

use actors::{Until, any_method, started};
use acts::Act;
use chance::Chance;
use leftovers::Leftovers;

fn main() -> procession::Result<()> {
    procession::init();
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().expect("LEDGER UNTIL SEED ACT...");
    let path = next();
    let until = Until::at(next().parse().expect("a time in seconds"));
    let seed = next().parse().expect("a number");
    let acts: Vec<Act> = arguments.map(|name| Act::named(&name)).collect();
    ledger::open(&path);
    let mut chance = Chance::new(seed);
    for method in actors::METHODS {
        Process::new(|| ()).start_method(method).start()?.join()?;
    }
    // So that this process has what it rings doorbells with, and keeps.
    wait(&[&Queue::<()>::new()?], Some(Duration::ZERO))?;
    let before = Leftovers::look();
    ledger::note("began", "root", 0, "");
    run(&acts, &mut chance, until)?;
    for (what, count) in Leftovers::since(&before) {
        ledger::note("left", &what, count, "");
    }
    ledger::note("over", "root", 0, "");
    Ok(())
}

/// Keeps each act running, then waits for all.
fn run(acts: &[Act], chance: &mut Chance, until: Until) -> procession::Result<()> {
    let mut running: BTreeMap<usize, Child<()>> = BTreeMap::new();
    let mut number = 0;
    while !until.has_come() {
        for (place, act) in acts.iter().enumerate() {
            if let Entry::Vacant(place) = running.entry(place) {
                number += 1;
                let arguments = (*act, number, chance.next(), until);
                let process = || Process::new(acts::play).args(arguments);
                let child = started(|| process().start_method(any_method(chance)).start())?;
                ledger::note("stage", act.name(), u64::from(child.pid()), "");
                place.insert(child);
            }
        }
        let (places, children): (Vec<usize>, Vec<&dyn Waitable>) = running
            .iter()
            .map(|(place, child)| (*place, child as &dyn Waitable))
            .unzip();
        let ready = wait(&children, Some(until.left().min(Duration::from_secs(1))))?;
        for place in ready.into_iter().map(|at| places[at]) {
            running.remove(&place).into_iter().for_each(actors::leave);
        }
    }
    running.into_values().for_each(actors::leave);
    Ok(())
}
