//! Processes as the Rust face promises them, under spawn and forkserver.

mod watchdog;

use std::time::Duration;

use procession::{
    Child, Event, Lock, Pool, Process, RemoteError, Result, Run, Shared, StartMethod, State,
    active_children, current_process, parent_process,
};
use serde::{Deserialize, Serialize};
use watchdog::watch;

const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::ForkServer];

/// Long enough for a slow machine, short enough for a watchdog.
const SOON: Duration = Duration::from_secs(60);

/// Starts a child and returns its result, failing the test if it hangs.
fn join<R: serde::de::DeserializeOwned>(mut child: Child<R>) -> Result<R> {
    child.join_timeout(SOON)
}

#[procession::test]
fn a_result_comes_home_by_every_start_method() {
    let _watchdog = watch();
    for method in METHODS {
        let process = Process::new(|a: u64, b: String| format!("{b}{a}"))
            .start_method(method)
            .args((7, "x".into()));
        assert_eq!(join(process.start().unwrap()).unwrap(), "x7");
    }
}

#[procession::test]
fn a_large_argument_and_result_cross_whole() {
    let _watchdog = watch();
    let sent: Vec<u8> = (0..2_000_000_u32).map(|n| (n % 251) as u8).collect();
    let process = Process::new(|mut bytes: Vec<u8>| {
        bytes.reverse();
        bytes
    });
    let mut back = join(process.args(sent.clone()).start().unwrap()).unwrap();
    back.reverse();
    assert!(back == sent);
}

#[procession::test]
fn a_child_has_the_name_of_its_program() {
    let _watchdog = watch();
    let name = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    for method in METHODS {
        let child = Process::new(|| std::fs::read_to_string("/proc/self/comm").unwrap())
            .start_method(method)
            .start()
            .unwrap();
        assert_eq!(join(child).unwrap(), name(std::process::id()));
    }
}

fn panics(code: u32) -> u32 {
    if code > 0 {
        panic!("code {code} is too much");
    }
    code
}

#[procession::test]
fn a_panic_arrives_with_message_place_and_name() {
    let _watchdog = watch();
    for method in METHODS {
        let child = Process::new(panics)
            .name("Cassandra")
            .start_method(method)
            .args(3)
            .start()
            .unwrap();
        let error = join(child).unwrap_err();
        assert!(error.is_panic() && !error.is_signal() && !error.is_exit());
        let info = error.panic_info().unwrap();
        assert_eq!(info.message, "code 3 is too much");
        assert_eq!(info.process, "Cassandra");
        assert!(info.location.as_ref().unwrap().contains("process.rs"));
        let text = error.to_string();
        assert!(
            text.contains("Cassandra") && text.contains("code 3"),
            "{text}"
        );
    }
}

#[inline(never)]
fn sinks() -> u8 {
    panic!("no petrol")
}

#[procession::test]
fn a_panic_has_its_backtrace_where_one_is_asked_for() {
    let _watchdog = watch();
    for (asked, has) in [("1", true), ("0", false)] {
        let builder = Pool::builder()
            .workers(1)
            .start_method(StartMethod::Spawn)
            .env(move |_| [("RUST_BACKTRACE", asked)]);
        let error = builder.start().unwrap().apply(sinks, ()).unwrap_err();
        let info = error.panic_info().unwrap();
        assert!(info.location.as_ref().unwrap().contains("process.rs"));
        let backtrace = info.backtrace.clone().unwrap_or_default();
        assert_eq!(backtrace.contains("sinks"), has, "{backtrace}");
        assert_eq!(format!("{error:?}").contains("sinks"), has);
    }
}

#[derive(Debug)]
struct NoSettings(std::num::ParseIntError);

impl std::fmt::Display for NoSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no settings")
    }
}

impl std::error::Error for NoSettings {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

fn settings() -> std::result::Result<u8, NoSettings> {
    "x".parse().map_err(NoSettings)
}

const NO_NUMBER: &str = "invalid digit found in string";

#[procession::test]
fn an_error_arrives_with_the_texts_of_its_sources() {
    let _watchdog = watch();
    let returns = || -> std::result::Result<u8, RemoteError> { Ok(settings()?) };
    for method in METHODS {
        let child = Process::new(returns).start_method(method).start().unwrap();
        let error = join(child).unwrap().unwrap_err();
        assert_eq!(error.to_string(), "no settings");
        assert_eq!(error.sources(), [NO_NUMBER]);
        assert_eq!(
            format!("{error:?}"),
            format!("no settings\n  because of: {NO_NUMBER}")
        );
        let error: Box<dyn std::error::Error> = error.into();
        assert_eq!(error.source().unwrap().to_string(), NO_NUMBER);
        assert!(error.source().unwrap().source().is_none());
    }
}

#[procession::test]
fn a_panic_with_an_error_keeps_its_sources() {
    let _watchdog = watch();
    type Shared = Box<dyn std::error::Error + Send + Sync>;
    for place in 0..3 {
        let panics = |place: usize| -> u8 {
            let error = settings().unwrap_err();
            match place {
                0 => std::panic::panic_any(Shared::from(error)),
                1 => std::panic::panic_any(Box::new(error) as Box<dyn std::error::Error + Send>),
                _ => std::panic::panic_any(RemoteError::from(error)),
            }
        };
        let error = join(Process::new(panics).args(place).start().unwrap()).unwrap_err();
        let info = error.panic_info().unwrap();
        assert_eq!(info.message, "no settings");
        assert_eq!(info.sources, [NO_NUMBER]);
        assert!(
            error
                .to_string()
                .ends_with(&format!("no settings: {NO_NUMBER}")),
            "{error}"
        );
    }
}

fn waits_for_ever(ready: Event) {
    ready.set();
    Event::new().unwrap().wait().unwrap();
}

fn waiting_child(method: StartMethod) -> Child<()> {
    let ready = Event::new().unwrap();
    let process = Process::new(waits_for_ever).start_method(method);
    let child = process.daemon(true).args(ready.clone()).start().unwrap();
    assert!(ready.wait_timeout(SOON).unwrap());
    child
}

#[procession::test]
fn a_signal_is_told_by_number_and_name() {
    let _watchdog = watch();
    for method in METHODS {
        let child = waiting_child(method);
        child.terminate().unwrap();
        assert_eq!(child.wait_timeout(SOON).unwrap(), -15);
        let error = join(child).unwrap_err();
        assert_eq!(error.signal(), Some(15));
        assert!(error.to_string().contains("SIGTERM"), "{error}");

        let child = waiting_child(method);
        let pid = child.pid();
        child.kill().unwrap();
        let error = join(child).unwrap_err();
        assert_eq!((error.exit_code(), error.pid()), (Some(-9), Some(pid)));
        assert!(error.is_died() && error.is_signal());
    }
}

fn leaves() {
    std::process::exit(5);
}

#[procession::test]
fn an_exit_is_told_by_its_code() {
    let _watchdog = watch();
    for method in METHODS {
        let child = Process::new(leaves).start_method(method).start().unwrap();
        let error = join(child).unwrap_err();
        assert!(error.is_exit());
        assert_eq!(error.exit_code(), Some(5));
    }
}

#[procession::test]
fn a_process_is_followed_through_its_life() {
    let _watchdog = watch();
    for method in METHODS {
        let child = waiting_child(method);
        assert!(child.is_alive().unwrap());
        assert_eq!(child.exit_code().unwrap(), None);
        let blocked = loop {
            match child.state().unwrap() {
                State::Blocked(on) => break on,
                State::Terminated(code) => panic!("it ended with {code}"),
                _ => std::thread::yield_now(),
            }
        };
        assert!(blocked.contains("event"), "{blocked}");
        assert!(active_children().iter().any(|one| one.pid == child.pid()));
        child.kill().unwrap();
        child.wait_timeout(SOON).unwrap();
        assert_eq!(child.state().unwrap(), State::Terminated(-9));
        assert!(!active_children().iter().any(|one| one.pid == child.pid()));
    }
}

#[procession::test]
fn a_join_that_times_out_may_be_tried_again() {
    let _watchdog = watch();
    let ready = Event::new().unwrap();
    let go = Event::new().unwrap();
    let process = Process::new(|ready: Event, go: Event| {
        ready.set();
        go.wait().map_err(|error| error.to_string())?;
        Ok::<u32, String>(11)
    });
    let mut child = process.args((ready.clone(), go.clone())).start().unwrap();
    assert!(ready.wait_timeout(SOON).unwrap());
    let error = child.join_timeout(Duration::from_millis(1)).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    go.set();
    assert_eq!(child.join_timeout(SOON).unwrap(), Ok(11));
}

#[procession::test]
fn a_child_sees_a_request_to_stop() {
    let _watchdog = watch();
    let ready = Event::new().unwrap();
    let process = Process::new(|ready: Event| {
        ready.set();
        current_process().wait_for_stop(SOON).unwrap()
    });
    let child = process.args(ready.clone()).start().unwrap();
    assert!(ready.wait_timeout(SOON).unwrap());
    child.request_stop().unwrap();
    assert!(join(child).unwrap());
}

#[procession::test]
fn a_child_knows_its_name_and_its_parent() {
    let _watchdog = watch();
    for method in METHODS {
        let process = Process::new(|| {
            let parent = parent_process().unwrap();
            let own = current_process();
            (
                own.name(),
                own.is_daemon(),
                parent.pid(),
                parent.name().to_owned(),
            )
        });
        let process = process.name("Ada").daemon(true).start_method(method);
        let told = join(process.start().unwrap()).unwrap();
        let parent = ("Ada".into(), true, std::process::id(), "MainProcess".into());
        assert_eq!(told, parent);
    }
    assert_eq!(parent_process(), None);
}

#[derive(Serialize, Deserialize)]
struct Summer {
    numbers: Vec<i64>,
}

impl Run for Summer {
    type Output = i64;

    fn run(self) -> i64 {
        self.numbers.iter().sum()
    }
}

#[procession::test]
fn a_struct_with_a_run_is_a_process() {
    let _watchdog = watch();
    let child = Process::of(Summer {
        numbers: vec![1, 2, 3],
    })
    .start()
    .unwrap();
    assert_eq!(join(child).unwrap(), 6);
}

#[procession::test]
fn fork_needs_the_unsafe_method() {
    let _watchdog = watch();
    let error = Process::new(leaves)
        .start_method(StartMethod::Fork)
        .start()
        .unwrap_err();
    assert!(error.is_invalid() && error.to_string().contains("start_by_fork"));
    assert!(
        procession::set_start_method(StartMethod::Fork)
            .unwrap_err()
            .is_invalid()
    );
    assert!(
        procession::Context::new(StartMethod::Fork)
            .unwrap_err()
            .is_invalid()
    );
}

#[procession::test]
fn a_value_is_shared_by_many_children() {
    let _watchdog = watch();
    let total = Shared::new(0_u64).unwrap();
    let children: Vec<Child<()>> = (0..4)
        .map(|_| {
            let process = Process::new(|total: Shared<u64>| {
                for _ in 0..1000 {
                    total.update(|n| *n += 1).unwrap();
                }
            });
            process.args(total.clone()).start().unwrap()
        })
        .collect();
    for child in children {
        join(child).unwrap();
    }
    assert_eq!(total.get().unwrap(), 4000);
}

#[procession::test]
fn a_locks_dead_holder_is_told_to_one_waiter() {
    let _watchdog = watch();
    let (lock, ready) = (Lock::new().unwrap(), Event::new().unwrap());
    let process = Process::new(|lock: Lock, ready: Event| {
        lock.acquire().unwrap();
        ready.set();
        Event::new().unwrap().wait().unwrap();
    });
    let child = process.args((lock.clone(), ready.clone())).start().unwrap();
    assert!(ready.wait_timeout(SOON).unwrap());
    assert!(lock.try_lock().unwrap().is_none());
    child.kill().unwrap();
    let error = lock.lock().unwrap_err();
    assert!(error.is_owner_died(), "{error}");
    drop(lock.lock().unwrap());
    child.wait_timeout(SOON).unwrap();
}

#[procession::test]
fn a_child_starts_children_of_its_own() {
    let _watchdog = watch();
    for method in METHODS {
        procession::set_start_method(method).unwrap();
        let child = Process::new(|n: u32| {
            let inner = Process::new(|n: u32| n + 1).args(n).start();
            inner
                .and_then(Child::join)
                .map_err(|error| error.to_string())
        });
        let told = join(child.args(1).start().unwrap()).unwrap();
        assert_eq!(told, Ok(2));
    }
}
