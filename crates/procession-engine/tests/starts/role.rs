//! What the started processes do, by the words of their payload.
//!
//! # Safety
//! Servers fork while they have one thread.

#![expect(unsafe_code, reason = "fork, raise")]

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use procession_engine::launch::Inherited;
use procession_engine::launch::bootstrap::BootstrapArgument;
use procession_engine::process::{Payload, current};
use procession_engine::standby::{Joined, Server, WorkingSetLearner, join};
use procession_engine::sys::fork_safe::once::ForkOnce;
use procession_engine::sys::process::fork::{Forked, fork};
use procession_engine::sys::wait::time::Deadline;

use rustix::param::page_size;

use crate::harness;

/// Makes a payload of words.
pub fn payload(words: &str) -> Option<Payload> {
    Some(Payload::copy_of(words.as_bytes()).expect("the arena has room"))
}

/// Whether children of this process stop before they do anything.
static HALTS: AtomicBool = AtomicBool::new(false);

/// Has children stop if [`HALTS`] says so, before what the engine does in them: handlers are
/// called in the order in which they were registered.
pub fn register_halt() {
    extern "C" fn halt() {
        if HALTS.load(Ordering::Relaxed) {
            // SAFETY: there are no handlers.
            unsafe { libc::raise(libc::SIGSTOP) };
        }
    }
    // SAFETY: the handler makes one system call.
    assert_eq!(unsafe { libc::pthread_atfork(None, None, Some(halt)) }, 0);
}

/// How many whole pages the server has ready for its children.
pub const PAGES: usize = 16;

/// Memory with as many, which the server has written to.
static MEMORY: ForkOnce<Vec<AtomicU8>> = ForkOnce::new();

/// To be told of the start of this process.
static LEARNER: Mutex<Option<WorkingSetLearner>> = Mutex::new(None);

/// Writes to the server's memory, and says how many pages of it this process had for itself already.
fn touch_pages() -> usize {
    let memory = MEMORY.get().unwrap();
    let offset = memory.as_ptr().align_offset(page_size());
    let pages: Vec<_> = memory[offset..].chunks(page_size()).take(PAGES).collect();
    let first = pages[0].as_ptr().addr() / page_size();
    let mut entries = [0; PAGES * 8];
    let pagemap = File::open("/proc/self/pagemap").unwrap();
    pagemap
        .read_exact_at(&mut entries, first as u64 * 8)
        .unwrap();
    let is_own = |entry: &&[u8]| entry[7] & 1 != 0;
    let count = entries.chunks(8).filter(is_own).count();
    for page in pages {
        assert!(page.iter().all(|byte| byte.load(Ordering::Relaxed) == 1));
        page[0].store(1, Ordering::Relaxed);
    }
    if let Some(learner) = LEARNER.lock().unwrap().take() {
        learner.start_is_done();
    }
    count
}

/// Turns a fresh image into what it was started for; never returns.
pub fn play(introduction: &BootstrapArgument) -> ! {
    match join(introduction) {
        Ok(Joined::Process(received)) => std::process::exit(act(received)),
        Ok(Joined::Spare(spare)) => end(spare.park()),
        Ok(Joined::Server(server)) => serve(server),
        Ok(Joined::Unneeded) => std::process::exit(0),
        Err(error) => {
            eprintln!("cannot join: {error}");
            std::process::exit(99)
        }
    }
}

/// Serves, and acts in the processes forked by that; perhaps stopped after the first
/// fork, until it is told to go on.
fn serve(mut server: Server) -> ! {
    let received = server.take_received();
    match received.payload.as_deref() {
        Some(b"threads") => {
            std::thread::spawn(|| current::wait_stop(Deadline::NEVER));
        }
        Some(b"exit") => std::process::exit(4),
        Some(b"halt") => HALTS.store(true, Ordering::Relaxed),
        _ => {}
    }
    let mut stops = received.payload.as_deref() == Some(b"stop");
    let mut forks = || {
        // SAFETY: a server has one thread, or does not fork.
        let side = unsafe { fork() };
        if matches!(side, Ok(Forked::Parent(_))) && std::mem::take(&mut stops) {
            // SAFETY: there are no handlers.
            unsafe { libc::raise(libc::SIGSTOP) };
        }
        side
    };
    MEMORY.get_or_init(|| {
        let bytes = std::iter::repeat_with(|| AtomicU8::new(1));
        bytes.take((PAGES + 1) * page_size()).collect()
    });
    end(server.serve(&mut forks).map(|adopted| {
        let adopted = adopted?;
        *LEARNER.lock().unwrap() = adopted.learner;
        Some(adopted.inherited)
    }))
}

fn end(orders: procession_engine::Result<Option<Inherited>>) -> ! {
    match orders {
        Ok(Some(received)) => std::process::exit(act(received)),
        Ok(None) => std::process::exit(0),
        Err(error) => {
            eprintln!("no orders: {error}");
            std::process::exit(96)
        }
    }
}

/// Does what the payload says; returns the exit code.
pub fn act(received: Inherited) -> i32 {
    let payload = received.payload.as_deref().unwrap_or_default();
    let words = String::from_utf8_lossy(payload).into_owned();
    let mut files: Vec<File> = received.fds.into_iter().map(File::from).collect();
    match words.split_once(' ').unwrap_or((&words, "")) {
        ("exit", code) => code.parse().unwrap_or(98),
        ("report", what) => {
            let text = match what {
                "me" => format!("{:?}", current::current()),
                "descriptors" => {
                    drop(files);
                    drop(received.payload);
                    harness::descriptors().join("\n")
                }
                "pages" => touch_pages().to_string(),
                other => std::env::var(other).unwrap_or_else(|_| "unset".into()),
            };
            current::publish_outcome(Payload::copy_of(text.as_bytes()).unwrap()).unwrap();
            0
        }
        ("write", text) => {
            for (index, file) in files.iter_mut().enumerate() {
                write!(file, "{index}{text}").unwrap();
            }
            0
        }
        ("stop", _) => i32::from(!current::wait_stop(harness::soon()).unwrap()),
        // Says its number by the first descriptor, then works for ever.
        ("spin", _) => {
            files[0]
                .write_all(&std::process::id().to_ne_bytes())
                .unwrap();
            loop {
                std::hint::spin_loop();
            }
        }
        ("sleep", _) => {
            files[0]
                .write_all(&std::process::id().to_ne_bytes())
                .unwrap();
            let _ = current::wait_stop(Deadline::NEVER);
            0
        }
        (other, _) => {
            eprintln!("there is no role {other:?}");
            97
        }
    }
}
