//! Starting a process with a fresh interpreter, and its first steps.
//!
//! # Safety
//! Python passes descriptors as plain numbers. They belong to objects that
//! outlive the start; one that is closed nevertheless makes the start fail, or
//! passes on whatever has the number by then, as in any Python program.

#![expect(unsafe_code, reason = "descriptors that are plain numbers")]

use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStringExt;

use procession_engine::start::introduction::Introduction;
use procession_engine::start::{self, Joined, Orders, Program};
use pyo3::prelude::*;

use crate::child::Child;
use crate::error::IntoPython;
use crate::payload::{Payload, Task};

/// Starts a program that calls [`join`] with the last of its arguments.
#[pyfunction]
pub fn spawn(
    py: Python<'_>,
    exe: Vec<u8>,
    argv: Vec<Vec<u8>>,
    name: String,
    daemon: bool,
    payload: &Payload,
    fds: Vec<i32>,
) -> PyResult<Child> {
    let program = Program {
        exe: OsString::from_vec(exe).into(),
        argv: argv.into_iter().map(OsString::from_vec).collect(),
        ..Program::default()
    };
    let orders = orders(name, daemon, Some(payload), &fds)?;
    py.detach(|| start::spawn(&program, orders))
        .or_raise()
        .map(Child::new)
}

/// Joins the family that a parent's argument names; returns what there is to do.
#[pyfunction]
pub fn join(argument: &str) -> PyResult<Task> {
    let introduction = Introduction::parse(argument).or_raise()?;
    let Joined::Process(received) = start::join(&introduction).or_raise()?;
    Task::new(received).or_raise()
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
        worker: false,
        payload,
        fds: fds.iter().map(borrow).collect(),
    })
}
