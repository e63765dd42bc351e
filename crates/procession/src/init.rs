//! The line at the top of `main` where a started process turns into its task.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;

use procession_engine::start::introduction::Introduction;
use procession_engine::start::{Joined, Program, join};
use procession_engine::{Error as EngineError, ErrorKind};

use crate::child_side;
use crate::error::{Error, Result};
use crate::server;

/// Arguments with which the program reaches `init` when it is started anew.
static ARGUMENTS: OnceLock<Vec<OsString>> = OnceLock::new();

/// Makes this program ready to start processes; to be called first in `main`.
///
/// In a process that procession started it does not return: the process does
/// its task there and ends. Whatever `main` does before it, every such process
/// does too. [`procession::main`](crate::main) puts the call there.
///
/// # Examples
///
/// ```
/// fn main() -> procession::Result<()> {
///     procession::init();
///     let child = procession::Process::new(|| 6 * 7).start()?;
///     assert_eq!(child.join()?, 42);
///     Ok(())
/// }
/// ```
pub fn init() {
    ready(vec![name_of_program()]);
}

/// Makes a `#[test]` ready to start processes; to be called first in it.
///
/// A child runs the test program again with arguments that select this very
/// test, and turns into its task in this call.
/// [`procession::test`](crate::test) puts the call there.
///
/// Here `module` is the test's `module_path!()` and `name` its function's name.
pub fn init_in_test(module: &str, name: &str) {
    // The test harness names tests without the crate.
    let inside = module.split_once("::").map_or("", |(_, inside)| inside);
    let path = match inside {
        "" => name.to_owned(),
        _ => format!("{inside}::{name}"),
    };
    let select = [
        path.as_str(),
        "--exact",
        "--include-ignored",
        "--nocapture",
        "--quiet",
        "--test-threads=1",
    ];
    let arguments = std::iter::once(name_of_program()).chain(select.map(OsString::from));
    ready(arguments.collect());
}

/// Tells whether processes can be started.
pub fn check() -> Result<()> {
    if ARGUMENTS.get().is_some() {
        return Ok(());
    }
    Err(EngineError::new(
        ErrorKind::Uninitialised,
        "procession::init() was not called: put it first in main, or write \
         #[procession::main] above main, so that a started process turns into its task there \
         instead of running the program again",
    )
    .into())
}

/// Returns how this program is started anew.
pub fn program() -> Result<Program> {
    check()?;
    Ok(Program {
        // The link leads to the very file that runs, even if it was replaced.
        exe: PathBuf::from("/proc/self/exe"),
        argv: ARGUMENTS.get().cloned().unwrap_or_default(),
        env: None,
        cwd: None,
    })
}

fn name_of_program() -> OsString {
    std::env::args_os()
        .next()
        .unwrap_or_else(|| "procession".into())
}

/// Notes how to start the program anew, then turns into what this process was
/// started for, if it was.
fn ready(arguments: Vec<OsString>) {
    // Several tests of one program each call this; any one of them will do.
    let _ = ARGUMENTS.set(arguments);
    let Some(introduction) = Introduction::find(std::env::args_os()) else {
        return;
    };
    match join(&introduction).map_err(Error::from) {
        Ok(Joined::Process(received)) => child_side::run_payload(received.payload.as_deref()),
        Ok(Joined::Server(server)) => server::serve(server),
        Ok(Joined::Spare(_)) => child_side::give_up(&Error::invalid(
            "this program keeps no spares of its own, and yet was started as one",
        )),
        Err(error) => child_side::give_up(&error),
    }
}
