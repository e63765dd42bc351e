//! The launch: what a parent tells its child at the start, and how that gets there.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Display;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};

use procession_engine as engine;
use procession_engine::launch::{LaunchSpec, Program, spawn};
use serde_core::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec::{self, tuple_form};
use crate::error::{Error, Result};
use crate::function::EntryRef;
use crate::start_method::StartMethod;
use crate::{current, passed, program, server};

/// Comes first in a child's payload; what its role needs follows.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The role of the child.
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
    pub server: Option<server::ServerHandle>,
    /// The variables that are added to its environment.
    pub env: Vec<(OsString, OsString)>,
    /// The relay that handles its log records, if there is one.
    #[cfg(any(feature = "log", feature = "tracing"))]
    pub relay: Option<crate::relay::RelayForChild>,
}

tuple_form!(Launch { role, name, daemon, method, default_method, server, env }
    and with (any(feature = "log", feature = "tracing")) relay);

/// The role of a started process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs one function; its arguments follow.
    Task(EntryRef),
    /// Works for a pool, at this place in it; where its rings lie follows.
    Worker(u32),
}

/// As a `Result`, which has a form.
impl Serialize for Role {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::Task(entry) => Ok(entry),
            Self::Worker(place) => Err(place),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Role {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let role = std::result::Result::deserialize(deserializer)?;
        Ok(role.map_or_else(Self::Worker, Self::Task))
    }
}

/// Returns the name given, or the next of Process-1, Process-2 and so on.
pub fn process_name(given: Option<String>) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    given.unwrap_or_else(|| format!("Process-{}", COUNT.fetch_add(1, Ordering::Relaxed) + 1))
}

/// Starts a process; `input`, which `what` names, follows the launch in its
/// payload.
pub fn start<I: Serialize>(
    launch: &Launch,
    input: &I,
    what: impl Display,
) -> Result<engine::process::Child> {
    program::check()?;
    let server = match launch.method {
        StartMethod::Spawn => server::numbers(),
        StartMethod::ForkServer => server::ensure()?,
        StartMethod::Fork => {
            return Err(Error::invalid(
                "fork is unsafe in a process with threads, so it has a method of its own: \
                 `unsafe { process.start_by_fork() }`",
            ));
        }
    };
    current::introduce_main()?;
    let launch = Launch {
        server,
        ..launch.clone()
    };
    let encode = || codec::lending(|| codec::encode_after(&launch, input, what));
    let (encoded, fds) = passed::collecting(encode);
    let encoded = encoded?;
    let orders = LaunchSpec {
        name: launch.name.clone(),
        daemon: launch.daemon,
        payload: Some(encoded.into_payload()?),
        fds: fds.iter().map(AsFd::as_fd).collect(),
    };
    match launch.method {
        StartMethod::ForkServer => server::start(orders),
        _ => Ok(spawn(&program_for(&launch)?, orders)?),
    }
}

/// Returns this program, with what is in the child's environment besides.
fn program_for(launch: &Launch) -> Result<Program> {
    let mut program = program::program()?;
    if !launch.env.is_empty() {
        let mut env: BTreeMap<_, _> = std::env::vars_os().collect();
        env.extend(launch.env.iter().cloned());
        program.env = Some(env.into_iter().collect());
    }
    Ok(program)
}
