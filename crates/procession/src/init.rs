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
use crate::trace;

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
    ready(vec![program::name()]);
}

/// Makes a `#[test]` ready to start processes; to be called first in it.
///
/// A child is the test program again, but turns into its task before the test
/// harness starts. [`procession::test`](crate::test) puts the call there.
///
/// Where cargo has built the test program, in its folder `deps`, this is not needed: a plain
/// `#[test]` may start processes. It is for test programs that are run from elsewhere.
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
    init_in_library();
}

/// Makes the program ready to start processes, from a library that has no say in its `main`; to
/// be called before the library starts the first.
///
/// A child is the program again, but turns into its task when it is loaded, before `main`. So
/// nothing that `main` does is done there, and no variable of the environment or argument of the
/// program is looked at. Where the program itself has called [`init`], that stays so.
///
/// In a shared library (a `cdylib`) this does not help: its code is not in the program that would
/// be started again, and every start says so.
///
/// # Examples
///
/// ```
/// /// A function of a library, whose users know nothing of processes.
/// pub fn squares(numbers: Vec<u64>) -> procession::Result<Vec<u64>> {
///     procession::init_in_library();
///     procession::Pool::new(2)?.map(|n: u64| n * n, numbers)
/// }
///
/// fn main() {
///     assert_eq!(squares(vec![1, 2, 3]).unwrap(), [1, 4, 9]);
/// }
/// ```
pub fn init_in_library() {
    ready(program::arguments_at_load());
}

/// Notes how to start the program anew, then turns into what this process was
/// started for, if it was.
fn ready(arguments: Vec<OsString>) {
    program::reaches_init_by(arguments);
    if let Some(introduction) = BootstrapArgument::find(std::env::args_os()) {
        become_the_task(&introduction);
    }
    trace::begin_by_environment();
}

/// Runs when the program is loaded, before `main`: the harness of a test
/// program starts threads before any test runs, and a fork server must have one.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

extern "C" fn before_main() {
    let mut arguments = std::env::args_os();
    if arguments
        .nth(1)
        .is_some_and(|first| first == program::AT_LOAD)
    {
        init_in_library();
    }
}

fn become_the_task(introduction: &BootstrapArgument) -> ! {
    // The kernel has called it after the link that it was started by. That is only for
    // programs that look at it: a sandbox may forbid to change it.
    if let Some(name) = Path::new(&program::name()).file_name() {
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
