//! A filter of system calls holds in the workers of a pool, and nowhere else.

#![expect(clippy::disallowed_types, reason = "no child is forked")]

mod watchdog;

use std::net::UdpSocket;

use linux_raw_sys::general::{__NR_socket, __NR_uname};
use procession::{Error, Pool, StartMethod};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use watchdog::watch;

const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::ForkServer];

/// Denies sockets and `uname`.
fn filter(action: SeccompAction) -> BpfProgram {
    let denied = [__NR_socket, __NR_uname].map(|number| (i64::from(number), Vec::new()));
    let target = std::env::consts::ARCH.try_into().unwrap();
    SeccompFilter::new(denied.into(), SeccompAction::Allow, action, target)
        .and_then(BpfProgram::try_from)
        .unwrap()
}

fn opens_a_socket() -> Result<(), String> {
    let bound = UdpSocket::bind("127.0.0.1:0");
    bound.map(drop).map_err(|error| error.to_string())
}

fn must_tell(error: &Error) {
    assert!(error.is_died() && error.signal() == Some(31), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("SIGSYS") && text.contains("opens_a_socket"),
        "{text}"
    );
}

#[procession::test]
fn worker_that_makes_a_denied_call_is_killed_and_told_of() {
    let _watchdog = watch();
    for method in METHODS {
        let builder = Pool::builder().workers(2).start_method(method);
        let pool = builder.syscall_filter(&filter(SeccompAction::KillProcess));
        let pool = pool.start().unwrap();
        assert_eq!(pool.map(|n: u32| n + 1, 0..100).unwrap().len(), 100);
        must_tell(&pool.apply(opens_a_socket, ()).unwrap_err());
        // Those that take their places have the filter, too.
        must_tell(&pool.apply(opens_a_socket, ()).unwrap_err());
        must_tell(&pool.apply(opens_a_socket, ()).unwrap_err());
        assert_eq!(pool.apply(|| 1, ()).unwrap(), 1);
    }
    assert_eq!(opens_a_socket(), Ok(()));
}

#[procession::test]
fn denied_call_can_fail_instead() {
    let _watchdog = watch();
    let (eperm, builder) = (1, Pool::builder().workers(1));
    let pool = builder.syscall_filter(&filter(SeccompAction::Errno(eperm)));
    let told = pool.start().unwrap().apply(opens_a_socket, ()).unwrap();
    assert!(told.unwrap_err().contains("Operation not permitted"));
}

#[procession::test]
fn initializer_runs_before_the_filter_and_its_threads_have_it() {
    use std::sync::mpsc::{Sender, channel};
    use std::sync::{Mutex, OnceLock};
    static ASK: OnceLock<Mutex<Sender<Sender<bool>>>> = OnceLock::new();
    let _watchdog = watch();
    let initializer = || {
        opens_a_socket().unwrap();
        let (ask, asked) = channel::<Sender<bool>>();
        std::thread::spawn(move || {
            for answer in asked {
                answer.send(opens_a_socket().is_ok()).unwrap();
            }
        });
        ASK.set(Mutex::new(ask)).unwrap();
    };
    let builder = Pool::builder().workers(1).initializer(initializer, ());
    let pool = builder.syscall_filter(&filter(SeccompAction::Errno(1)));
    let pool = pool.start().unwrap();
    let asks = || {
        let (answer, answered) = channel();
        ASK.get().unwrap().lock().unwrap().send(answer).unwrap();
        answered.recv().unwrap()
    };
    assert!(!pool.apply(asks, ()).unwrap());
}
