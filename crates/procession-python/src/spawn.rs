//! Starting a process with a fresh interpreter, and its first steps.
//!
//! # Safety
//! Python passes descriptors as plain numbers. They belong to objects that
//! outlive the start; one that is closed nevertheless makes the start fail, or
//! passes on whatever has the number by then, as in any Python program.

#![expect(unsafe_code, reason = "descriptors that are plain numbers")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStringExt;

use procession_engine::start::introduction::Introduction;
use procession_engine::start::{self, Joined, Orders, Program, spawn_spares};
use pyo3::prelude::*;

use crate::child::Child;
use crate::error::{IntoPython, value_error};
use crate::payload::{Payload, Task};

/// Starts a program that calls [`join`] with the last of its arguments; `env` is
/// what it has in its environment besides what is in ours.
#[pyfunction]
#[pyo3(signature = (exe, argv, name, daemon, payload, fds, env=None))]
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
) -> PyResult<Child> {
    // Looked at with the GIL, under which Python changes it.
    let ours = std::env::vars_os();
    let orders = orders(name, daemon, Some(payload), &fds)?;
    let program = |env| Program {
        env: Some(env),
        ..program(exe, argv)
    };
    let child = match env {
        None => {
            let program = program(ours.collect());
            py.detach(|| start::spawn_ahead(&program, orders))
        }
        Some(env) => {
            let mut all: BTreeMap<_, _> = ours.collect();
            let text = OsString::from_vec;
            all.extend(
                env.into_iter()
                    .map(|(name, value)| (text(name), text(value))),
            );
            // Nothing that was booted ahead has this environment.
            let program = program(all.into_iter().collect());
            py.detach(|| start::spawn(&program, orders))
        }
    };
    child.or_raise().map(Child::new)
}

/// Joins the family that a parent's argument names; returns what there is to
/// do, or None when this process was booted ahead and is not needed. In one that
/// was booted ahead, `ahead` is called before it waits.
#[pyfunction]
pub fn join(py: Python<'_>, argument: &str, ahead: &Bound<'_, PyAny>) -> PyResult<Option<Task>> {
    let introduction = Introduction::parse(argument).or_raise()?;
    let received = match start::join(&introduction).or_raise()? {
        Joined::Process(received) => Some(received),
        Joined::Spare(spare) => {
            ahead.call0()?;
            py.detach(|| spare.park()).or_raise()?
        }
        Joined::Server(_) => return Err(value_error("this process was started as a server")),
    };
    Ok(received.map(Task::new))
}

/// Ends the interpreters that were booted ahead.
#[pyfunction]
pub fn end_spares(py: Python<'_>) {
    py.detach(spawn_spares::clear);
}

/// Returns the process ids of the interpreters that were booted ahead.
#[pyfunction]
pub fn spare_pids() -> Vec<u32> {
    spawn_spares::pids()
}

/// Says that this process has got through its start.
#[pyfunction]
pub fn booted() {
    start::booted();
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
) -> PyResult<Orders<'a>> {
    let payload = payload.map(Payload::take).transpose()?;
    // SAFETY: the process object that holds the descriptors outlives the start.
    let borrow = |&fd: &i32| unsafe { BorrowedFd::borrow_raw(fd) };
    Ok(Orders {
        name,
        daemon,
        payload,
        fds: fds.iter().map(borrow).collect(),
    })
}
