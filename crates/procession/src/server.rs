//! The fork server of this program: it keeps processes ready to be started.
//!
//! It is this program, started anew once, which stops in `init` and forks from
//! there. Processes that are started find the family's server by its handle.
//!
//! # Safety
//! The server forks with one thread, which the engine checks before each fork.

#![expect(unsafe_code, reason = "the server forks")]

use std::sync::{Mutex, MutexGuard, PoisonError};

use procession_engine::arena::Handle;
use procession_engine::os::fork::fork;
use procession_engine::process::Child;
use procession_engine::start::{ForkServer, Orders, Server};

use crate::child_side;
use crate::error::{Error, Result};
use crate::init;

/// The server that this process starts others by; none until it is needed.
static SERVER: Mutex<Option<ForkServer>> = Mutex::new(None);

/// A server's handle, as it crosses to a child.
pub type Numbers = (u64, u64);

/// Starts the server if it does not run; returns its handle.
pub fn ensure() -> Result<Option<Numbers>> {
    let mut slot = locked();
    let server = slot.get_or_insert_default();
    server.ensure(&init::program()?, server_orders)?;
    Ok(numbers_of(server))
}

/// Starts a process by the server.
pub fn start(orders: Orders<'static>) -> Result<Child> {
    let mut slot = locked();
    let server = slot.get_or_insert_default();
    Ok(server.start(&init::program()?, server_orders, orders)?)
}

/// Returns the handle of the server, if one runs.
pub fn numbers() -> Option<Numbers> {
    numbers_of(locked().as_ref()?)
}

/// Uses the server that the parent uses, as long as it lives.
pub fn inherit(numbers: Option<Numbers>) {
    let attached = numbers.map(|(offset, serial)| ForkServer::attach(Handle { offset, serial }));
    // Where it is gone already, this process starts one of its own.
    *locked() = attached.and_then(std::result::Result::ok);
}

/// Is the server: forks others until it is ended.
pub fn serve(server: Server) -> ! {
    // SAFETY: the engine has made sure that this is the only thread.
    let served = server.serve(&mut || unsafe { fork() });
    match served {
        Ok(Some(received)) => child_side::run_payload(received.payload.as_deref()),
        Ok(None) => std::process::exit(0),
        Err(error) => child_side::give_up(&Error::from(error)),
    }
}

fn server_orders() -> procession_engine::Result<Orders<'static>> {
    Ok(Orders {
        name: "ForkServer".to_owned(),
        daemon: true,
        ..Orders::default()
    })
}

fn numbers_of(server: &ForkServer) -> Option<Numbers> {
    let handle = server.handle()?;
    Some((handle.offset, handle.serial))
}

/// Locks what is sound after any panic: every change is one assignment.
fn locked() -> MutexGuard<'static, Option<ForkServer>> {
    SERVER.lock().unwrap_or_else(PoisonError::into_inner)
}
