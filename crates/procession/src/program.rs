//! This program, as it is started anew for a process of its own.

use std::ffi::OsString;
use std::path::PathBuf;

use procession_engine::launch::Program;
use procession_engine::{Error as EngineError, ErrorKind};

use procession_engine::sys::fork_safe::once::ForkOnce;
use procession_engine::sys::process::image::{Image, main_image};

use crate::error::Result;

/// Arguments with which the program reaches `init` when it is started anew.
static ARGUMENTS: ForkOnce<Vec<OsString>> = ForkOnce::new();

/// The first argument of a child that turns into its task when it is loaded, before `main`.
pub const AT_LOAD: &str = "--procession-child-at-load";

/// Returns the arguments of such a child.
pub fn arguments_at_load() -> Vec<OsString> {
    vec![name(), AT_LOAD.into()]
}

/// Returns the name that the program was started by.
pub fn name() -> OsString {
    let first = std::env::args_os().next();
    first.unwrap_or_else(|| "procession".into())
}

/// Returns the arguments with which the program reaches `init`, if it does. The harness of a test
/// program calls no `init`, and its children need not know it.
fn arguments() -> Option<&'static Vec<OsString>> {
    if ARGUMENTS.get().is_none() && is_test_program() {
        reaches_init_by(arguments_at_load());
    }
    ARGUMENTS.get()
}

/// Tells whether cargo has built this program to be run as a test or a benchmark: others are not
/// run from its folder `deps`.
fn is_test_program() -> bool {
    let program = std::env::current_exe();
    program.is_ok_and(|path| path.parent().is_some_and(|folder| folder.ends_with("deps")))
}

/// Notes the arguments with which the program, started anew, reaches `init`.
pub fn reaches_init_by(arguments: Vec<OsString>) {
    // Several tests of one program each call this; any one of them will do.
    let _ = ARGUMENTS.set(arguments);
}

/// Tells whether processes can be started.
pub fn check() -> Result<()> {
    if !image()
        .code
        .contains(&(check as fn() -> Result<()> as usize))
    {
        return Err(EngineError::new(
            ErrorKind::Unsupported,
            "procession is part of a shared library here: a process that it starts would be the \
             program that has loaded the library, which would run anew instead of turning into \
             its task; start processes from a program of its own (in Python, by the package \
             procession)",
        )
        .into());
    }
    if arguments().is_some() {
        return Ok(());
    }
    Err(EngineError::new(
        ErrorKind::Uninitialised,
        "procession::init() was not called: put it first in main, or write \
         #[procession::main] above main, so that a started process turns into its task there \
         instead of running the program again; a library that has no say in main calls \
         procession::init_in_library()",
    )
    .into())
}

/// Returns how this program is started anew.
pub fn program() -> Result<Program> {
    check()?;
    Ok(Program {
        // The link leads to the very file that runs, even if it was replaced.
        exe: PathBuf::from("/proc/self/exe"),
        argv: arguments().cloned().unwrap_or_default(),
        env: None,
        cwd: None,
    })
}

/// Returns this program's image, which is looked at once.
pub fn image() -> &'static Image {
    static IMAGE: ForkOnce<Image> = ForkOnce::new();
    IMAGE.get_or_init(main_image)
}
