//! The line at the top of `main` where a started process turns into its task.
//!
//! # Safety
//! The code that runs before `main` does nothing in a program that is not the child of
//! a test, and the standard library has the arguments by then: glibc gives them to the
//! functions of this section, of which the library's own comes first.

#![expect(unsafe_code, reason = "a function that runs before main")]

use std::ffi::OsString;
use std::path::Path;

use procession_engine::launch::bootstrap::BootstrapArgument;
use procession_engine::standby::{Joined, join};
use procession_engine::sys::attributes::prctl::set_name;

use crate::child_side;
use crate::error::Error;
use crate::program;

/// The first argument of a child of a test.
const IN_TEST: &str = "--procession-child-of-a-test";

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
/// A child is the test program again, but turns into its task before the test
/// harness starts. [`procession::test`](crate::test) puts the call there.
///
/// # Examples
///
/// ```
/// #[procession::test]
/// fn a_child_doubles() {
///     let child = procession::Process::new(|n: u32| n * 2).args(2).start().unwrap();
///     assert_eq!(child.join().unwrap(), 4);
/// }
/// ```
pub fn init_in_test() {
    ready(vec![name_of_program(), IN_TEST.into()]);
}

fn name_of_program() -> OsString {
    std::env::args_os()
        .next()
        .unwrap_or_else(|| "procession".into())
}

/// Notes how to start the program anew, then turns into what this process was
/// started for, if it was.
fn ready(arguments: Vec<OsString>) {
    program::reaches_init_by(arguments);
    if let Some(introduction) = BootstrapArgument::find(std::env::args_os()) {
        become_the_task(&introduction);
    }
}

/// Runs when the program is loaded, before `main`: the harness of a test
/// program starts threads before any test runs, and a fork server must have one.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

extern "C" fn before_main() {
    let mut arguments = std::env::args_os();
    if arguments.nth(1).is_some_and(|first| first == IN_TEST) {
        init_in_test();
    }
}

fn become_the_task(introduction: &BootstrapArgument) -> ! {
    // The kernel has called it after the link that it was started by. That is only for
    // programs that look at it: a sandbox may forbid to change it.
    if let Some(name) = Path::new(&name_of_program()).file_name() {
        let _ = set_name(&name.to_string_lossy());
    }
    match join(introduction).map_err(Error::from) {
        Ok(Joined::Process(received)) => child_side::run_received(received),
        Ok(Joined::Server(server)) => child_side::serve(server),
        Ok(Joined::Spare(_) | Joined::Unneeded) => child_side::give_up(&Error::invalid(
            "this program keeps no spares of its own, and yet was started as one",
        )),
        Err(error) => child_side::give_up(&error),
    }
}
