//! What crosses from parent to child at the start, and how it gets there.

use std::sync::atomic::{AtomicU64, Ordering};

use procession_engine as engine;
use procession_engine::arena::Block;
use procession_engine::process::Payload;
use procession_engine::start::{Orders, spawn};
use serde::{Deserialize, Serialize};

use crate::codec;
use crate::context::StartMethod;
use crate::error::{Error, Result};
use crate::function::EntryRef;
use crate::{current, init, server};

/// Comes first in a child's payload; what its role needs follows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Launch {
    /// What the child is to be.
    pub role: Role,
    /// Its name.
    pub name: String,
    /// Whether it ends with its parent.
    pub daemon: bool,
    /// How it is started.
    pub method: StartMethod,
    /// The start method that it uses when it starts others.
    pub default_method: StartMethod,
    /// The fork server that it starts others by, if there is one.
    pub server: Option<server::Numbers>,
}

/// What a started process is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Runs one function; its arguments follow.
    Task(EntryRef),
    /// Works for a pool; where its rings lie follows.
    Worker,
}

/// Returns the name given, or the next of Process-1, Process-2 and so on.
pub fn process_name(given: Option<String>) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    given.unwrap_or_else(|| format!("Process-{}", COUNT.fetch_add(1, Ordering::Relaxed) + 1))
}

/// Starts a process; `input` follows the launch in its payload.
pub fn start(launch: &Launch, input: &[u8]) -> Result<engine::process::Child> {
    init::check()?;
    current::introduce_main()?;
    match launch.method {
        StartMethod::Spawn => {
            let orders = orders(launch, input, server::numbers())?;
            Ok(spawn(&init::program()?, orders)?)
        }
        StartMethod::ForkServer => server::start(|numbers| orders(launch, input, numbers)),
        StartMethod::Fork => Err(Error::invalid(
            "fork is unsafe in a process with threads, so it has a method of its own: \
             `unsafe { process.start_by_fork() }`",
        )),
    }
}

fn orders(
    launch: &Launch,
    input: &[u8],
    server: Option<server::Numbers>,
) -> Result<Orders<'static>> {
    let launch = Launch {
        server,
        ..launch.clone()
    };
    let bytes = codec::encode(&launch, "a launch")?;
    Ok(Orders {
        name: launch.name.clone(),
        daemon: launch.daemon,
        worker: launch.role == Role::Worker,
        payload: Some(payload(&[&bytes, input])?),
        fds: Vec::new(),
    })
}

/// Copies bytes in parts into a payload.
pub fn payload(parts: &[&[u8]]) -> Result<Payload> {
    let len = parts.iter().map(|part| part.len()).sum();
    let mut block = Block::new(len as u64)?;
    let mut at = 0;
    for part in parts {
        block[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    Ok(Payload::new(block, len))
}
