//! This program, as it is started anew for a process of its own.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;

use procession_engine::launch::Program;
use procession_engine::{Error as EngineError, ErrorKind};

use procession_engine::sys::process::image::{Image, main_image};

use crate::error::Result;

/// Arguments with which the program reaches `init` when it is started anew.
static ARGUMENTS: OnceLock<Vec<OsString>> = OnceLock::new();

/// Notes by which arguments the program, started anew, reaches `init`.
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

/// Returns this program's image, which is looked at once.
pub fn image() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(main_image)
}
