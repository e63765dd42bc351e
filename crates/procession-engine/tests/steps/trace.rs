//! A trace, and those that tell it something.

use std::collections::HashSet;
use std::time::Duration;

use procession_engine::sync::Semaphore;
use procession_engine::sys::wait::time::Deadline;
use procession_engine::trace::{Tracer, What, forget_ring};

use crate::at_every_step;
use crate::family::fork;

/// What a trace calls what is waited for.
const KIND: &str = "semaphore";

/// Waits in vain, which is told.
fn wait(semaphore: &Semaphore) {
    let soon = Deadline::after(Duration::from_nanos(1));
    assert!(semaphore.acquire(soon).is_err());
}

/// How many waits for a semaphore were told by each process, begun and ended. It may have slept
/// for the event, too, that has it begin.
fn waits(tracer: &mut Tracer) -> Vec<(u32, usize, usize)> {
    let mut events = tracer.collect();
    // What the second look of a collection finds is for the next.
    events.extend(tracer.collect());
    let pids: HashSet<u32> = events.iter().map(|event| event.pid).collect();
    let count = |pid, is_it: fn(&What) -> bool| {
        let of = events.iter().filter(|event| event.pid == pid);
        of.filter(|event| is_it(&event.what)).count()
    };
    let each = pids.into_iter().map(|pid| {
        let begun = count(
            pid,
            |what| matches!(what, What::WaitBegins { kind, .. } if *kind == KIND),
        );
        let ended = count(
            pid,
            |what| matches!(what, What::WaitEnds { kind, .. } if *kind == KIND),
        );
        (pid, begun, ended)
    });
    each.collect()
}

#[test]
fn who_tells_a_trace_what_it_does() {
    at_every_step(
        "trace",
        || {
            (
                Tracer::begin().unwrap(),
                Semaphore::create(0, None).unwrap(),
            )
        },
        |(_, semaphore)| {
            wait(semaphore);
            wait(semaphore);
        },
        |(_, semaphore), killed| {
            // Rings go on, whatever the dead one has left.
            fork(|| wait(semaphore)).join();
            forget_ring();
            assert!(killed || semaphore.value() == 0);
        },
    );
}

#[test]
fn what_the_dead_have_told_is_read_once() {
    at_every_step(
        "trace that is read",
        || {
            let tracer = Tracer::begin().unwrap();
            (
                std::cell::RefCell::new(tracer),
                Semaphore::create(0, None).unwrap(),
            )
        },
        |(_, semaphore)| {
            wait(semaphore);
            wait(semaphore);
        },
        |(tracer, semaphore), killed| {
            let mut tracer = tracer.borrow_mut();
            let told = waits(&mut tracer);
            for (_, begun, ended) in &told {
                assert!(begun - ended <= 1 && *begun <= 2, "{told:?}");
            }
            if !killed {
                assert!(
                    told.iter()
                        .any(|(_, begun, ended)| (*begun, *ended) == (2, 2))
                );
            }
            fork(|| wait(semaphore)).join();
            let again = waits(&mut tracer);
            assert_eq!(again.iter().map(|(_, begun, _)| begun).sum::<usize>(), 1);
            forget_ring();
        },
    );
}

#[test]
fn who_traces() {
    at_every_step(
        "tracer",
        || Semaphore::create(0, None).unwrap(),
        |semaphore| {
            let mut tracer = Tracer::begin().unwrap();
            wait(semaphore);
            assert_eq!(waits(&mut tracer).len(), 1);
            tracer.end();
        },
        |semaphore, _| {
            // The next one takes over, or is the first.
            let mut tracer = Tracer::begin().unwrap();
            fork(|| wait(semaphore)).join();
            let told = waits(&mut tracer);
            assert!(
                told.iter()
                    .any(|(_, begun, ended)| (*begun, *ended) == (1, 1))
            );
            drop(tracer);
            forget_ring();
        },
    );
}
