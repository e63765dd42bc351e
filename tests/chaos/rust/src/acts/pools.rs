//! Pools: every task is done once, or fails with the death of its worker.

use procession::{Error, Pool, Result};

use crate::actors::{Until, WATCHDOG, any_method};
use crate::chance::Chance;
use crate::ledger;
use crate::payload::Payload;

/// Out of how many tasks one ends its own worker.
const SUICIDES: u64 = 300;

type Task = (String, u64, Payload);

pub fn play(tag: &str, chance: &mut Chance, until: Until) -> Result<()> {
    let until = until.or_after_tenths(2 + chance.below(28));
    let mut builder = Pool::builder()
        .workers(1 + chance.below(4) as usize)
        .start_method(any_method(chance));
    if chance.one_in(3) {
        builder = builder.tasks_per_worker(5);
    }
    let pool = match builder.start() {
        Ok(pool) => pool,
        // The fork server was killed ten times in a row.
        Err(_) => return Ok(()),
    };
    let mut number = 0;
    while !until.has_come() {
        let count = chance.of(&[1, 10, 60]);
        let tasks: Vec<Task> = (number..number + count)
            .map(|number| Ok((tag.to_owned(), number, Payload::make(number, chance)?)))
            .collect::<Result<_>>()?;
        number += count;
        let goes_on = match chance.below(3) {
            0 => apply_each(&pool, &tasks),
            1 => imap_each(&pool, &tasks),
            _ => map_all(&pool, &tasks),
        };
        if !goes_on {
            // The pool gave up, because too many of its workers were killed.
            ledger::note("gave_up", tag, 0, "");
            break;
        }
    }
    if chance.one_in(2) {
        pool.close();
    } else {
        pool.terminate();
    }
    pool.join_timeout(WATCHDOG)?;
    ledger::note("settled", tag, 0, "");
    Ok(())
}

/// What a task does; it may be its worker's last.
fn work((tag, number, payload): Task) -> (u64, Payload) {
    ledger::note("begin", &tag, number, "");
    if !payload.check(number) {
        ledger::note("wrong", &tag, number, "");
    }
    if number % SUICIDES == SUICIDES - 1 {
        ledger::note("suicide", &tag, number, 3);
        std::process::exit(3);
    }
    ledger::note("end", &tag, number, "");
    (payload.digest(number), payload)
}

/// Notes what became of a task; tells whether the pool goes on.
fn receive(task: &Task, got: Result<(u64, Payload)>) -> bool {
    let (tag, number, payload) = task;
    match got {
        Ok((digest, back)) if digest == payload.digest(*number) && back.is_like(payload) => {
            ledger::note("done", tag, *number, "");
        }
        Ok(_) => ledger::note("wrong", tag, *number, ""),
        Err(error) => return refuse(task, &error, "died"),
    }
    true
}

fn refuse((tag, number, _): &Task, error: &Error, what: &str) -> bool {
    match (death(error), error.is_timeout()) {
        (Some(death), _) => ledger::note(what, tag, *number, death),
        (None, true) => ledger::note("hung", tag, *number, ""),
        (None, false) => {
            ledger::note("gone", tag, *number, "");
            return false;
        }
    }
    true
}

/// Returns who died and of what, as the ledger tells it.
pub fn death(error: &Error) -> Option<String> {
    let pid = error.pid().filter(|_| error.is_died())?;
    let code = error
        .signal()
        .map(|signal| -signal)
        .or_else(|| error.exit_code())?;
    Some(format!("{pid} {code}"))
}

fn submit(tasks: &[Task]) {
    for (tag, number, _) in tasks {
        ledger::note("submit", tag, *number, "");
    }
}

fn apply_each(pool: &Pool, tasks: &[Task]) -> bool {
    submit(tasks);
    let results: Vec<_> = tasks
        .iter()
        .map(|task| pool.apply_async(work, task.clone()))
        .collect();
    let get = |(task, result): (&Task, Result<procession::AsyncResult<_>>)| {
        receive(task, result.and_then(|result| result.get_timeout(WATCHDOG)))
    };
    tasks
        .iter()
        .zip(results)
        .map(get)
        .fold(true, |all, one| all & one)
}

fn imap_each(pool: &Pool, tasks: &[Task]) -> bool {
    submit(tasks);
    let mut results = pool.imap(work, tasks.to_vec());
    let mut goes_on = true;
    for task in tasks {
        match results.next() {
            Some(got) => goes_on &= receive(task, got),
            // The pool gave up, as the task before was told.
            None => ledger::note(if goes_on { "wrong" } else { "gone" }, &task.0, task.1, ""),
        }
    }
    goes_on
}

/// One result for all: if it fails, each of them was done once or not at all.
fn map_all(pool: &Pool, tasks: &[Task]) -> bool {
    submit(tasks);
    match pool.map(work, tasks.to_vec()) {
        Ok(results) => tasks
            .iter()
            .zip(results)
            .map(|(task, got)| receive(task, Ok(got)))
            .fold(true, |all, one| all & one),
        Err(error) => tasks
            .iter()
            .map(|task| refuse(task, &error, "mapped"))
            .fold(true, |all, one| all & one),
    }
}
