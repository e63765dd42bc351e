//! A place where processes wait for one another.

use procession_engine::shm::Handle;
use procession_engine::sync::{self, Follower, Leader, Role};
use procession_engine::sys::wait::time::Deadline;
use procession_engine::{Error, ErrorKind};
use pyo3::prelude::*;

use crate::blocking::{Breaks, deadline, detached};
use crate::error::{IntoPython, to_python};
use crate::transfer;

/// A place where processes wait for one another.
#[pyclass(frozen, weakref, module = "procession._procession")]
pub struct Barrier {
    barrier: sync::Barrier,
}

#[pymethods]
impl Barrier {
    #[new]
    fn new(parties: u32) -> PyResult<Self> {
        Ok(Self {
            barrier: sync::Barrier::create(parties).or_raise()?,
        })
    }

    #[pyo3(signature = (action=None, timeout=None))]
    fn wait(
        &self,
        py: Python<'_>,
        action: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
    ) -> PyResult<u32> {
        let end = deadline(timeout)?;
        let late = |error| broken_when_late(error, timeout);
        match detached(py, || self.barrier.arrive(end).map_err(late))? {
            Role::Leader(leader) => lead(leader, action),
            Role::Follower(mut follower) => {
                let mut breaks = Breaks::new();
                loop {
                    let pause = breaks.next(Deadline::NEVER);
                    match py.detach(|| follower.wait_with_break(end, pause)) {
                        Ok(()) => return Ok(Follower::index(&follower)),
                        Err(error) if error.kind() == ErrorKind::Interrupted => {
                            py.check_signals()?;
                        }
                        Err(error) => return Err(to_python(late(error))),
                    }
                }
            }
        }
    }

    fn reset(&self) -> PyResult<()> {
        self.barrier.reset().or_raise()
    }

    fn abort(&self) -> PyResult<()> {
        self.barrier.abort().or_raise()
    }

    #[getter]
    fn parties(&self) -> u32 {
        self.barrier.parties()
    }

    #[getter]
    fn n_waiting(&self) -> u32 {
        self.barrier.n_waiting()
    }

    #[getter]
    fn broken(&self) -> bool {
        self.barrier.broken()
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (u64, u64))> {
        let Handle { offset, serial } = transfer::lend(|loans| self.barrier.lend(loans));
        Ok((crate::rebuilder(py, "rebuild_barrier")?, (offset, serial)))
    }
}

/// Runs the action, and then lets the others go on.
fn lead(leader: Leader<'_>, action: Option<&Bound<'_, PyAny>>) -> PyResult<u32> {
    let index = leader.index();
    if let Some(action) = action
        && let Err(error) = action.call0()
    {
        leader.fail();
        return Err(error);
    }
    leader.open().or_raise()?;
    Ok(index)
}

/// Python's barriers say that they are broken when the time is over.
fn broken_when_late(error: Error, timeout: Option<f64>) -> Error {
    match error.kind() {
        // Those that came before are in the barrier, whose action goes on.
        ErrorKind::TimedOut => {
            let seconds = timeout.unwrap_or_default().max(0.0);
            let message = format!("{error}, after {seconds} s: its action is still running");
            Error::new(ErrorKind::Broken, message)
        }
        _ => error,
    }
}

/// Attaches to a barrier that another process has lent.
#[pyfunction]
pub fn rebuild_barrier(offset: u64, serial: u64) -> PyResult<Barrier> {
    let handle = Handle { offset, serial };
    let barrier = transfer::attach(|source| sync::Barrier::attach(handle, source)).or_raise()?;
    Ok(Barrier { barrier })
}
