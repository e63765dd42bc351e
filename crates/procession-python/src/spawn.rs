//! Starting a process with a fresh interpreter, and its first steps.
//!
//! # Safety
//! Python passes descriptors as plain numbers. They belong to objects that outlive the
//! start. A descriptor that is closed nevertheless makes the start fail, or passes on
//! the file that has the number by then, as in any Python program.

#![expect(unsafe_code, reason = "descriptors that are plain numbers")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStringExt;

use procession_engine::launch;
use procession_engine::launch::bootstrap::BootstrapArgument;
use procession_engine::launch::{LaunchSpec, Program};
use procession_engine::standby::{self, Joined, prebooted};
use procession_engine::{Error, ErrorKind};
use pyo3::prelude::*;

use crate::child::Child;
use crate::error::{IntoPython, value_error};
use crate::interpreter::stay_when_ended;
use crate::launch::started;
use crate::payload::{Payload, Task};

/// Starts a program that calls [`join`] with the last of its arguments; `env` is added
/// to its environment. Only with `ahead` may a process be used that was booted before.
#[pyfunction]
#[pyo3(signature = (exe, argv, name, daemon, payload, fds, env=None, ahead=true))]
#[expect(clippy::too_many_arguments, reason = "they are what a start needs")]
pub fn spawn(
    py: Python<'_>,
    exe: Vec<u8>,
    argv: Vec<Vec<u8>>,
    name: String,
    daemon: bool,
    payload: &Payload,
    fds: Vec<i32>,
    env: Option<Vec<(Vec<u8>, Vec<u8>)>>,
    ahead: bool,
) -> PyResult<Py<Child>> {
    // Looked at while attached: with a GIL, nobody changes it from Python meanwhile.
    // Without a GIL it is as for any program: the C library keeps the strings that it
    // once pointed to.
    let ours = std::env::vars_os();
    let orders = orders(name, daemon, Some(payload), &fds)?;
    let program = |env| Program {
        env: Some(env),
        ..program(exe, argv)
    };
    let child = match env {
        None if ahead => {
            let program = program(ours.collect());
            py.detach(|| standby::spawn_ahead(&program, orders))
        }
        env => {
            let mut all: BTreeMap<_, _> = ours.collect();
            let text = OsString::from_vec;
            all.extend(
                env.into_iter()
                    .flatten()
                    .map(|(name, value)| (text(name), text(value))),
            );
            // No process that was booted ahead has this environment.
            let program = program(all.into_iter().collect());
            py.detach(|| launch::spawn(&program, orders))
        }
    };
    started(py, child.or_raise()?)
}

/// Starts a child by a function of Python: it is called with the last argument of the
/// child's command line and the descriptors that the child must have, and returns a pid.
#[pyfunction]
pub fn spawn_by(
    start: &Bound<'_, PyAny>,
    name: String,
    daemon: bool,
    payload: &Payload,
    fds: Vec<i32>,
) -> PyResult<Py<Child>> {
    let orders = orders(name, daemon, Some(payload), &fds)?;
    let child = calling(start, |start| launch::spawn_by(start, orders))?;
    started(start.py(), child)
}

/// Starts a child by a function of Python; if that function raises, its exception is raised.
pub fn calling<T>(
    start: &Bound<'_, PyAny>,
    spawn: impl FnOnce(&mut launch::Starter<'_>) -> procession_engine::Result<T>,
) -> PyResult<T> {
    stay_when_ended();
    let mut raised = None;
    let mut starter = |argument: &str, keep: &[BorrowedFd<'_>]| {
        let keep: Vec<i32> = keep.iter().map(|fd| fd.as_raw_fd()).collect();
        let called = start.call1((argument, keep));
        called.and_then(|pid| pid.extract()).map_err(|error| {
            raised = Some(error);
            Error::new(
                ErrorKind::Invalid,
                "the function that starts processes raised an exception",
            )
        })
    };
    let spawned = spawn(&mut starter);
    match raised {
        Some(error) => Err(error),
        None => spawned.or_raise(),
    }
}

/// Joins the family that a parent's argument names; returns the task, or None when this
/// process was booted ahead and is not needed. In one that was booted ahead, `ahead` is
/// called before it waits.
#[pyfunction]
pub fn join(py: Python<'_>, argument: &str, ahead: &Bound<'_, PyAny>) -> PyResult<Option<Task>> {
    let introduction = BootstrapArgument::parse(argument).or_raise()?;
    let received = match standby::join(&introduction).or_raise()? {
        Joined::Process(received) => Some(received),
        Joined::Spare(spare) => {
            ahead.call0()?;
            py.detach(|| spare.park()).or_raise()?
        }
        Joined::Unneeded => None,
        Joined::Server(_) => return Err(value_error("this process was started as a server")),
    };
    Ok(received.map(Task::new))
}

/// Ends the interpreters that were booted ahead.
#[pyfunction]
pub fn end_spares(py: Python<'_>) {
    py.detach(prebooted::clear);
}

/// Returns the process ids of the interpreters that were booted ahead.
#[pyfunction]
pub fn spare_pids() -> Vec<u32> {
    prebooted::pids()
}

/// Returns the program that a fresh interpreter is.
pub fn program(exe: Vec<u8>, argv: Vec<Vec<u8>>) -> Program {
    Program {
        exe: OsString::from_vec(exe).into(),
        argv: argv.into_iter().map(OsString::from_vec).collect(),
        ..Program::default()
    }
}

/// Returns the orders for a child.
pub fn orders<'a>(
    name: String,
    daemon: bool,
    payload: Option<&Payload>,
    fds: &'a [i32],
) -> PyResult<LaunchSpec<'a>> {
    let payload = payload.map(Payload::take).transpose()?;
    // SAFETY: the process object that holds the descriptors outlives the start.
    let borrow = |&fd: &i32| unsafe { BorrowedFd::borrow_raw(fd) };
    Ok(LaunchSpec {
        name,
        daemon,
        payload,
        fds: fds.iter().map(borrow).collect(),
    })
}
