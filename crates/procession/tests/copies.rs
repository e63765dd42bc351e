//! A child by fork of a process whose other threads were in the middle of something.

#![expect(unsafe_code, reason = "starts by fork")]

mod alone;
mod watchdog;

use std::backtrace::Backtrace;
use std::io::{stderr, stdout};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use alone::alone;
use procession::{Child, Error, Process, active_children, current_process};
use serde::de::DeserializeOwned;
use watchdog::watch;

/// Long enough for a slow machine, short enough for a watchdog.
const SOON: Duration = Duration::from_secs(60);

/// What a thread panics with that is not to be heard.
struct Quiet;

/// Enough for a fork to hit what other threads do most of the time.
const FORKS: usize = 60;

/// Runs `starts` while a thread does `work` again and again.
fn beside<T>(work: impl Fn() + Sync, starts: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                work();
            }
        });
        let result = starts();
        done.store(true, Ordering::Relaxed);
        result
    })
}

fn join<R: DeserializeOwned>(mut child: Child<R>) -> Result<R, Error> {
    let result = child.join_timeout(SOON);
    if result.as_ref().is_err_and(Error::is_timeout) {
        // Others would wait for it.
        child.kill().unwrap();
    }
    result
}

/// Starts a child by fork.
fn start<R: DeserializeOwned + serde::Serialize + Send + 'static>(
    work: impl Fn() -> R + Copy + Send + Sync + 'static,
) -> Child<R> {
    let process = Process::new(work).args(());
    // SAFETY: the children use nothing of what the other threads have.
    unsafe { process.start_by_fork() }.unwrap()
}

/// Starts children, each of which returns or panics.
fn children_return_and_panic() {
    for number in 0..FORKS {
        if number % 2 == 0 {
            assert_eq!(join(start(|| 7)).unwrap(), 7);
        } else {
            let error = join(start(|| -> u8 { panic!("no luck") })).unwrap_err();
            let info = error.panic_info().unwrap_or_else(|| panic!("{error}"));
            assert_eq!(info.message, "no luck");
            assert!(info.location.is_some());
        }
    }
}

#[procession::test]
fn a_child_ends_though_a_thread_was_panicking() {
    let (_watchdog, _alone) = (watch(), alone());
    // As the usual hook, but silent for the thread. It stays: to take it away in another
    // test would take away what watches the panics of children, if that was set before.
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| match info.payload().is::<Quiet>() {
        true => drop(Backtrace::force_capture()),
        false => before(info),
    }));
    let panics = || drop(panic::catch_unwind(|| panic::panic_any(Quiet)));
    beside(panics, children_return_and_panic);
}

#[procession::test]
fn a_child_returns_though_a_thread_was_setting_hooks() {
    let (_watchdog, _alone) = (watch(), alone());
    let before = panic::take_hook();
    let sets = || {
        panic::set_hook(Box::new(|_| {}));
        drop(panic::take_hook());
    };
    beside(sets, || {
        for _ in 0..FORKS {
            assert_eq!(join(start(|| 7)).unwrap(), 7);
        }
    });
    panic::set_hook(before);
}

#[procession::test]
fn a_child_ends_though_a_thread_was_looking_at_its_stack() {
    let (_watchdog, _alone) = (watch(), alone());
    beside(
        || drop(Backtrace::force_capture()),
        children_return_and_panic,
    );
}

#[procession::test]
fn a_child_ends_though_a_thread_was_printing() {
    let (_watchdog, _alone) = (watch(), alone());
    let prints = || {
        let _locks = (stdout().lock(), stderr().lock());
        std::thread::yield_now();
    };
    beside(prints, children_return_and_panic);
}

#[procession::test]
fn a_child_has_children_though_a_thread_was_at_the_list_of_them() {
    let (_watchdog, _alone) = (watch(), alone());
    let idle = start(|| current_process().wait_for_stop(SOON).unwrap());
    let looks = || assert!(!active_children().is_empty());
    beside(looks, || {
        for _ in 0..FORKS {
            let child = start(|| {
                let nobody = active_children().is_empty();
                let grandchild = Process::new(|| 7).start().unwrap();
                nobody && active_children().len() <= 1 && join(grandchild).unwrap() == 7
            });
            assert!(join(child).unwrap());
        }
    });
    idle.request_stop().unwrap();
    assert!(join(idle).unwrap());
}
