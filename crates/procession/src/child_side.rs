//! What a started process does: its role, and then its end.
//!
//! # Safety
//! The fork server forks with one thread, which the engine checks before each fork.

#![expect(unsafe_code, reason = "the fork server forks")]

use procession_engine::launch::Inherited;
use procession_engine::process::current as process;
use procession_engine::standby::{Adopted, Server};
use procession_engine::sys::attributes::environment;
use procession_engine::sys::fd::stderr;
use procession_engine::sys::process::fork::fork;

use crate::codec::{self, Encoded};
use crate::current::{self, Identity};
use crate::error::{Error, Result};
use crate::function::{EntryRef, Input};
use crate::launch::{Launch, Role};
use crate::outcome::{self, Ending, PanicOutput};
use crate::start_method::{self, StartMethod};
use crate::{handle, passed, pool, program, server};

/// Exit code of a process whose function failed, as in `multiprocessing`.
const FAILED: i32 = 1;

/// Reads the role of this started process, and plays it until the process ends.
pub fn run_received(received: Inherited) -> ! {
    run_adopted(Adopted {
        inherited: received,
        learner: None,
    })
}

fn run_adopted(adopted: Adopted) -> ! {
    let received = adopted.inherited;
    passed::arrive(received.fds);
    let Some(payload) = received.payload else {
        give_up(&Error::invalid("the parent handed over nothing to do"))
    };
    let done = payload.read(|bytes, source| {
        let read = || codec::decode_first::<Launch>(bytes, "a launch");
        let (launch, bytes) = handle::reading(source, read)?;
        become_child(&launch);
        if let Some(learner) = adopted.learner {
            learner.start_is_done();
        }
        play(&launch, Input::new(bytes, source))
    });
    match done {
        Ok(never) => never,
        Err(error) => give_up(&error),
    }
}

/// Runs as the fork server, until the process is ended.
pub fn serve(server: Server) -> ! {
    // Looked up here, or every child would have to do so: also what the dynamic linker looks up at
    // the first call, as for thread-locals that have something to drop.
    program::image();
    codec::rehearse();
    // SAFETY: the engine has made sure that this is the only thread.
    let served = server.serve(&mut || unsafe { fork() });
    match served {
        Ok(Some(adopted)) => run_adopted(adopted),
        Ok(None) => std::process::exit(0),
        Err(error) => give_up(&Error::from(error)),
    }
}

/// Becomes the process that `launch` names, and plays its role until the process ends.
pub fn run(launch: &Launch, input: Input<'_>) -> ! {
    become_child(launch);
    play(launch, input)
}

fn become_child(launch: &Launch) {
    start_method::inherit(launch.default_method);
    if launch.method != StartMethod::Fork {
        // A forked copy knows the server already.
        server::inherit(launch.server);
    }
    current::become_process(Identity {
        name: launch.name.clone(),
        daemon: launch.daemon,
        worker: match launch.role {
            Role::Worker(index) => Some(index),
            Role::Task(_) => None,
        },
    });
    // A spawned process was started with these variables.
    if launch.method != StartMethod::Spawn
        && let Err(error) = environment::set(launch.env.iter().cloned())
    {
        give_up(&error.into());
    }
    #[cfg(any(feature = "log", feature = "tracing"))]
    if let Some(given) = &launch.relay {
        crate::relay::begin(given.clone(), &launch.name);
    }
}

fn play(launch: &Launch, input: Input<'_>) -> ! {
    match launch.role {
        Role::Task(entry) => run_task(entry, input, &launch.name),
        Role::Worker(_) => match pool::work(input.bytes, &launch.name) {
            Ok(()) => end(0),
            Err(error) => give_up(&error),
        },
    }
}

fn run_task(entry: EntryRef, input: Input<'_>, name: &str) -> ! {
    let (bytes, ending) = match entry.resolve() {
        Ok(entry) => outcome::run(|| entry(input), name, PanicOutput::Loud),
        Err(error) => (outcome::refuse(&error), Ending::Failed),
    };
    if let Err(error) = publish(bytes) {
        give_up(&error);
    }
    end(match ending {
        Ending::Returned => 0,
        Ending::Failed => FAILED,
    })
}

fn publish(outcome: Encoded) -> Result<()> {
    Ok(process::publish_outcome(outcome.into_payload()?)?)
}

/// Ends this process because it cannot run its role; only stderr can be told.
pub fn give_up(error: &Error) -> ! {
    let own = std::process::id();
    let text = format!("procession: process {own} cannot do what it was started for: {error}\n");
    stderr::write(text.as_bytes());
    end(FAILED)
}

fn end(code: i32) -> ! {
    // `exit` writes out what stdout has buffered, unless its lock may be taken for ever.
    std::process::exit(code)
}
