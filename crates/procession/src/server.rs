//! The fork server of this program: it keeps processes ready to be started.
//!
//! It is this program, started anew once, which stops in `init` and forks from
//! there. Processes that are started find the family's server by its handle.
//!
//! # Safety
//! A copy by fork has one thread when it comes to know the server anew.

#![expect(unsafe_code, reason = "the server is known to copies by fork")]

use procession_engine::launch::LaunchSpec;
use procession_engine::process::Child;
use procession_engine::shm::Handle;
use procession_engine::standby::ForkServer;
use procession_engine::sys::fork_safe::mutex::{ForkGuard, ForkMutex};

use crate::error::Result;
use crate::program::program;

/// The server that this process starts others by.
static SERVER: ForkMutex<Known> = ForkMutex::new(Known {
    told: None,
    found: None,
});

/// A server's handle, as it crosses to a child.
pub type ServerHandle = (u64, u64);

/// The state of the server, as this process knows it.
struct Known {
    /// The handle that the parent gave. Most children start no process: they look for
    /// the server when they need it.
    told: Option<ServerHandle>,
    found: Option<ForkServer>,
}

impl Known {
    fn server(&mut self) -> &mut ForkServer {
        let told = self.told.take();
        self.found.get_or_insert_with(|| {
            let attached =
                told.map(|(offset, serial)| ForkServer::attach(Handle { offset, serial }));
            // If the server is gone already, this process starts one of its own.
            attached
                .and_then(std::result::Result::ok)
                .unwrap_or_default()
        })
    }
}

/// Starts the server if none runs; returns its handle. Whether the server has the privileges of
/// this process is checked by [`start`], as the check takes longer than all else here.
pub fn ensure() -> Result<Option<ServerHandle>> {
    let mut known = locked();
    let server = known.server();
    if let Some(numbers) = numbers_of(server) {
        return Ok(Some(numbers));
    }
    server.ensure(&program()?, server_orders)?;
    Ok(numbers_of(server))
}

/// Starts a process by the server.
pub fn start(orders: LaunchSpec<'_>) -> Result<Child> {
    let mut known = locked();
    let server = known.server();
    Ok(server.start(&program()?, server_orders, orders)?)
}

/// Returns the handle of the server, if one runs.
pub fn numbers() -> Option<ServerHandle> {
    let known = locked();
    known.found.as_ref().map_or(known.told, numbers_of)
}

/// Uses the server that the parent uses, as long as it lives.
pub fn inherit(numbers: Option<ServerHandle>) {
    *locked() = Known {
        told: numbers,
        found: None,
    };
}

/// As [`inherit`], in a copy by fork, whose original may have been starting the server.
///
/// # Safety
/// This is the only thread, right after the fork.
pub unsafe fn inherit_by_fork(numbers: Option<ServerHandle>) {
    // SAFETY: no other thread uses it, the caller says.
    unsafe {
        SERVER.renew(Known {
            told: numbers,
            found: None,
        });
    }
}

fn server_orders() -> procession_engine::Result<LaunchSpec<'static>> {
    Ok(LaunchSpec {
        name: "ForkServer".to_owned(),
        daemon: true,
        ..LaunchSpec::default()
    })
}

fn numbers_of(server: &ForkServer) -> Option<ServerHandle> {
    let handle = server.handle()?;
    Some((handle.offset, handle.serial))
}

/// Locks the state, which is sound after any panic, as every change of it is one assignment.
fn locked() -> ForkGuard<'static, Known> {
    SERVER.lock()
}
