//! A process is killed at each step of each operation, and the others go on.
//!
//! A step is a write that others can see (`procession-sys/src/steps.rs`), so these are all the states in
//! which a death can leave what is shared. What follows each death: nobody hangs, items,
//! permits and blocks come back, and the arena holds what it held before.

#[path = "../family/mod.rs"]
mod family;
#[path = "../family/pipe_end.rs"]
mod pipe_end;
#[path = "../family/segments.rs"]
mod segments;

mod arena;
mod awaited;
mod lent;
mod pipe;
mod pool;
mod queue;
mod sync;
mod trace;

use std::sync::{Mutex, MutexGuard, PoisonError};

use procession_engine::sync::Event;
use procession_engine::sys::steps;

use family::{Relative, fork, watchdog};

/// When the dead one is reclaimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reclaim {
    /// By its parent, before anybody needs what it held.
    AtOnce,
    /// By whoever needs what it held.
    WhenNoticed,
}

/// Has a process do `work` on what `set_up` made, and kills it after 0, 1, 2... steps,
/// until it comes to its end. `go_on` is what others do then; it is told whether the
/// process was killed.
fn at_every_step<T>(
    what: &str,
    set_up: impl Fn() -> T,
    work: impl Fn(&T),
    go_on: impl Fn(&T, bool),
) {
    at_every_step_after(what, set_up, |_| (), work, go_on);
}

/// Does the same; `first` runs here when the process exists, before it does its work.
fn at_every_step_after<T>(
    what: &str,
    set_up: impl Fn() -> T,
    first: impl Fn(&T),
    work: impl Fn(&T),
    go_on: impl Fn(&T, bool),
) {
    let _alone = alone();
    let family = procession_engine::family().unwrap();
    let before = family.usage();
    for when in [Reclaim::AtOnce, Reclaim::WhenNoticed] {
        let mut count = 0;
        loop {
            let things = set_up();
            let go = Event::create().unwrap();
            let child = fork(|| {
                go.wait(watchdog()).unwrap();
                steps::kill_after(count);
                work(&things);
                steps::stop_counting();
            });
            first(&things);
            go.set();
            let was_killed = child.was_killed();
            drop(go);
            let unreclaimed = reclaim(child, when);
            go_on(&things, was_killed);
            drop(unreclaimed);
            drop(things);
            let after = family.usage();
            assert_eq!(
                after, before,
                "{what}: killed after {count} steps, {when:?}"
            );
            if !was_killed {
                break;
            }
            count += 1;
        }
        assert!(count > 0, "{what} has no steps");
        println!("{what}: {count} steps, reclaim {when:?}");
    }
}

/// Has a process do `work` on what `set_up` made, and stops it after 0, 1, 2... steps,
/// until it comes to its end. `meanwhile` is what others do while it is stopped, `check`
/// what holds after both.
fn stopped_at_every_step<T>(
    what: &str,
    set_up: impl Fn() -> T,
    work: impl Fn(&T),
    meanwhile: impl Fn(&T),
    check: impl Fn(&T),
) {
    let _alone = alone();
    let family = procession_engine::family().unwrap();
    let before = family.usage();
    let mut count = 0;
    loop {
        let things = set_up();
        let child = fork(|| {
            steps::stop_after(count);
            work(&things);
            steps::stop_counting();
        });
        let was_stopped = child.has_stopped();
        meanwhile(&things);
        if was_stopped {
            child.go_on();
        }
        child.join();
        check(&things);
        drop(things);
        assert_eq!(
            family.usage(),
            before,
            "{what}: stopped after {count} steps"
        );
        if !was_stopped {
            break;
        }
        count += 1;
    }
    assert!(count > 0, "{what} has no steps");
    println!("{what}: stopped at {count} steps");
}

/// Counts of the entire arena are compared: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn reclaim(child: Relative, reclaim: Reclaim) -> Option<Relative> {
    match reclaim {
        Reclaim::AtOnce => {
            child.reclaim();
            None
        }
        Reclaim::WhenNoticed => Some(child),
    }
}
