//! Locks and the rest to wait on: a holder's death is told once, permits come back.

use std::time::Duration;

use procession::{Barrier, Condition, Event, Lock, Process, RLock, Result, Semaphore};
use serde::{Deserialize, Serialize};

use crate::actors::{Actors, Role, Until, WATCHDOG, any_method, pass};
use crate::chance::Chance;
use crate::ledger;

/// For how long what may not happen is waited for.
const MOMENT: Duration = Duration::from_millis(20);

/// One of each.
#[derive(Clone, Serialize, Deserialize)]
struct Things {
    tag: String,
    lock: Lock,
    rlock: RLock,
    semaphore: Semaphore,
    bounded: Semaphore,
    guard: Lock,
    condition: Condition,
    event: Event,
    barrier: Barrier,
}

pub fn play(tag: &str, chance: &mut Chance, until: Until) -> Result<()> {
    let until = until.or_after_tenths(3 + chance.below(27));
    let things = Things {
        tag: tag.to_owned(),
        lock: Lock::new()?,
        rlock: RLock::new()?,
        semaphore: Semaphore::new(2)?,
        bounded: Semaphore::bounded(3)?,
        guard: Lock::new()?,
        condition: Condition::new()?,
        event: Event::new()?,
        barrier: Barrier::new(2)?,
    };
    let method = any_method(chance);
    let mut roles: Vec<Role<'_>> = Vec::new();
    for _ in 0..2 + chance.below(4) {
        let things = things.clone();
        roles.push(Box::new(move |seed| {
            let process = Process::new(act).args((things.clone(), seed, until));
            process.daemon(seed % 5 != 0).start_method(method).start()
        }));
    }
    let mut actors = Actors::new(roles, chance)?;
    actors.run(until, chance)?;
    actors.bow();
    // Whoever died holding one of them is told of here, at the latest.
    use_lock(&things, false, chance);
    use_lock(&things, true, chance);
    for (name, semaphore, value) in [
        ("semaphore", &things.semaphore, 2),
        ("bounded", &things.bounded, 3),
    ] {
        if semaphore.value() != value {
            let tag = format!("{tag}:{name}");
            ledger::note("wrong", &tag, u64::from(semaphore.value()), "");
        }
    }
    things.event.set();
    things.event.wait_timeout(WATCHDOG)?;
    things.condition.notify_all()?;
    ledger::note("settled", tag, 0, "");
    Ok(())
}

fn act((things, seed, until): (Things, u64, Until)) {
    let mut chance = Chance::new(seed);
    while !until.has_come() {
        match chance.below(6) {
            0 => use_lock(&things, false, &mut chance),
            1 => use_lock(&things, true, &mut chance),
            2 => use_semaphore(&things, &mut chance),
            3 => use_condition(&things, &mut chance),
            4 => use_event(&things, &mut chance),
            _ => use_barrier(&things),
        }
    }
}

fn use_lock(things: &Things, reentrant: bool, chance: &mut Chance) {
    let tag = format!(
        "{}:{}",
        things.tag,
        if reentrant { "rlock" } else { "lock" }
    );
    ledger::note("want", &tag, 0, "");
    let mut work = || {
        ledger::note("have", &tag, 0, "");
        if chance.one_in(10) {
            pass(Duration::from_millis(3));
        }
        ledger::note("free", &tag, 0, "");
    };
    let held = if reentrant {
        things.rlock.lock_timeout(WATCHDOG).map(|guard| {
            let again = things.rlock.try_lock();
            assert!(again.is_ok_and(|again| again.is_some() == guard.is_some()));
            guard.map(|_guard| work())
        })
    } else {
        let guard = things.lock.lock_timeout(WATCHDOG);
        guard.map(|guard| guard.map(|_guard| work()))
    };
    match held {
        Ok(Some(())) => ledger::note("freed", &tag, 0, ""),
        Ok(None) => ledger::note("hung", &tag, 0, ""),
        Err(error) if error.is_owner_died() => ledger::note("orphaned", &tag, 0, ""),
        Err(error) => panic!("{tag}: {error}"),
    }
}

fn use_semaphore(things: &Things, chance: &mut Chance) {
    let (name, semaphore) = chance.of(&[
        ("semaphore", &things.semaphore),
        ("bounded", &things.bounded),
    ]);
    let tag = format!("{}:{name}", things.tag);
    ledger::note("want", &tag, 0, "");
    let Ok(Some(permit)) = semaphore.permit_timeout(WATCHDOG) else {
        return ledger::note("hung", &tag, 0, "");
    };
    ledger::note("have", &tag, 0, "");
    if chance.one_in(10) {
        pass(Duration::from_millis(1));
    }
    ledger::note("free", &tag, 0, "");
    drop(permit);
    ledger::note("freed", &tag, 0, "");
}

fn use_condition(things: &Things, chance: &mut Chance) {
    // Whoever held it may have been killed.
    let Ok(guard) = things.guard.lock() else {
        return;
    };
    if chance.one_in(2) {
        drop(things.condition.wait_timeout(guard, MOMENT));
    } else {
        let _ = things.condition.notify(2);
    }
}

fn use_event(things: &Things, chance: &mut Chance) {
    match chance.below(3) {
        0 => things.event.set(),
        1 => things.event.clear(),
        _ => drop(things.event.wait_timeout(MOMENT)),
    }
}

fn use_barrier(things: &Things) {
    if things.barrier.wait_timeout(MOMENT).is_err() {
        let _ = things.barrier.reset();
    }
}
