//! The fork server: the object of its users, and that of the server itself.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use procession_engine::launch::LaunchSpec;
use procession_engine::launch::bootstrap::BootstrapArgument;
use procession_engine::standby::{self, Joined, join};
use procession_engine::sys::process::fork::Forked;
use procession_engine::sys::wait::time::Deadline;
use procession_engine::{Error, ErrorKind};
use pyo3::prelude::*;

use crate::blocking::detached;
use crate::child::Child;
use crate::error::{IntoPython, to_python, value_error};
use crate::fork::fork_plainly;
use crate::launch::started;
use crate::payload::{Payload, Task};
use crate::shared::HandleParts;
use crate::spawn::{calling, orders, program};

/// The fork server, as its users hold it. At first no server runs.
///
/// One call at a time: the class in Python has a lock that other threads can
/// wait for without the GIL.
#[pyclass(frozen, module = "procession._procession")]
pub struct ForkServer(Mutex<standby::ForkServer>);

impl ForkServer {
    fn lock(&self) -> PyResult<MutexGuard<'_, standby::ForkServer>> {
        match self.0.try_lock() {
            Ok(server) => Ok(server),
            Err(TryLockError::Poisoned(error)) => Ok(PoisonError::into_inner(error)),
            Err(TryLockError::WouldBlock) => Err(value_error(
                "another thread is in a call to the fork server",
            )),
        }
    }
}

#[pymethods]
impl ForkServer {
    /// How many servers in a row may be killed before a start fails.
    #[classattr]
    const ATTEMPTS: u32 = standby::ForkServer::ATTEMPTS;

    /// Finds the server that a relative has started; without a handle there is none yet.
    #[new]
    #[pyo3(signature = (handle=None))]
    fn new(handle: Option<HandleParts>) -> PyResult<Self> {
        let server = match handle {
            // A server that has ended is started anew when it is needed.
            Some(handle) => standby::ForkServer::attach(handle.into()).unwrap_or_default(),
            None => standby::ForkServer::new(),
        };
        Ok(Self(Mutex::new(server)))
    }

    /// Starts the server by a command line, with a payload, unless it runs; with `start`
    /// by that function, as in `spawn_by`.
    #[pyo3(signature = (exe, argv, payload, start=None))]
    fn ensure(
        &self,
        exe: Vec<u8>,
        argv: Vec<Vec<u8>>,
        payload: &Bound<'_, PyAny>,
        start: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let mut server = self.lock()?;
        if server.is_running() {
            return Ok(());
        }
        let payload = payload.call0()?;
        let orders = orders(
            "forkserver".into(),
            false,
            Some(payload.cast::<Payload>()?.get()),
            &[],
        )?;
        match start {
            Some(start) => calling(start, |start| server.ensure_by(start, || Ok(orders)))?,
            None => server
                .ensure(&program(exe, argv), || Ok(orders))
                .or_raise()?,
        };
        Ok(())
    }

    /// Starts a process by the server, which must have been started.
    fn start(
        &self,
        py: Python<'_>,
        name: String,
        daemon: bool,
        payload: &Payload,
        fds: Vec<i32>,
    ) -> PyResult<Py<Child>> {
        let server = self.lock()?;
        // Daemons are sent their lifeline.
        let with_fds = daemon || !fds.is_empty();
        let mut given = None;
        loop {
            let claim = match detached(py, || server.claim(with_fds, Deadline::NEVER)) {
                Ok(claim) => claim,
                Err(error) => {
                    // Put back for a start by the next server.
                    payload.put_back(given.and_then(|orders: LaunchSpec<'_>| orders.payload));
                    return Err(error);
                }
            };
            let orders = match &mut given {
                Some(orders) => orders,
                None => given.insert(orders(name.clone(), daemon, Some(payload), &fds)?),
            };
            match claim.hand_over(orders) {
                // This server was killed just now; the next one is started.
                Err(error) if error.kind() == ErrorKind::Dead => {}
                result => return started(py, result.or_raise()?),
            }
        }
    }

    /// Ends the server; processes that it has started live on.
    fn stop(&self) -> PyResult<()> {
        self.lock()?.stop().or_raise()
    }

    /// Returns whether a server runs that may do what this process may.
    fn is_running(&self) -> PyResult<bool> {
        Ok(self.lock()?.is_running())
    }

    /// Returns the server's process id, or None if it does not run.
    fn pid(&self) -> PyResult<Option<u32>> {
        Ok(self.lock()?.pid())
    }
}

/// The fork server as it sees itself.
#[pyclass(frozen, module = "procession._procession")]
pub struct Server {
    server: Mutex<Option<standby::Server>>,
    task: Task,
}

#[pymethods]
impl Server {
    /// Joins the family that a parent's argument names, as its fork server.
    #[new]
    fn new(argument: &str) -> PyResult<Self> {
        let introduction = BootstrapArgument::parse(argument).or_raise()?;
        let Joined::Server(mut server) = join(&introduction).or_raise()? else {
            return Err(value_error(
                "this process was started as a child, and not as a fork server",
            ));
        };
        let task = Task::new(server.take_received());
        Ok(Self {
            server: Mutex::new(Some(server)),
            task,
        })
    }

    /// Returns the numbers by which relatives find the server, before it serves.
    fn handle(&self) -> PyResult<HandleParts> {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        let server = server.as_ref();
        server
            .map(|server| HandleParts::from(server.handle()))
            .ok_or_else(|| {
                value_error("the fork server serves already: ask for its handle before that")
            })
    }

    /// Unpickles what the server was started with.
    fn load_preparation<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.task.load_preparation(py)
    }

    /// Serves until killed. Returns in the processes that it forks, with their task, or
    /// None when there is none. Without `ahead`, it forks a process only when a client
    /// waits for it, and then in spite of other threads.
    #[pyo3(signature = (ahead=true))]
    fn serve(&self, py: Python<'_>, ahead: bool) -> PyResult<Option<Task>> {
        let server = self
            .server
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let mut server = server.ok_or_else(|| {
            value_error("this fork server has served already: a server serves once")
        })?;
        if !ahead {
            server.be_watched();
            // Other threads may run in between.
            let mut fork = || Python::attach(fork_by_name);
            let adopted = py.detach(|| server.serve(&mut fork)).map_err(to_python)?;
            return Ok(adopted.map(Task::adopted));
        }
        let mut fork = || fork_plainly(py);
        // Attached to the interpreter all the time: a server has no other thread.
        let adopted = server.serve(&mut fork).map_err(to_python)?;
        Ok(adopted.map(Task::adopted))
    }
}

/// Forks by `os.fork`, which a debugger replaces.
fn fork_by_name(py: Python<'_>) -> procession_engine::Result<Forked> {
    let forked = py.import("os").and_then(|os| os.call_method0("fork"));
    match forked.and_then(|pid| pid.extract::<u32>()) {
        Ok(0) => Ok(Forked::Child),
        Ok(pid) => Ok(Forked::Parent(pid)),
        Err(error) => Err(Error::new(ErrorKind::Limit, error.to_string())),
    }
}
