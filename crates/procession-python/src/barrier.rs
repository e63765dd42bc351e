//! A place where processes wait for one another.

use std::sync::{Mutex, MutexGuard, PoisonError};

use procession_engine::shm::Handle;
use procession_engine::sync::{self, Follower, Leader, Role};
use procession_engine::sys::wait::time::Deadline;
use procession_engine::{Error, ErrorKind};
use pyo3::prelude::*;

use crate::awaited::{AwaitedFd, Watched};
use crate::blocking::{Breaks, deadline, detached};
use crate::error::{IntoPython, to_python};
use crate::interpreter::stay_when_ended;
use crate::transfer;

/// A place where processes wait for one another.
#[pyclass(frozen, weakref, module = "procession._procession")]
pub struct Barrier {
    barrier: sync::Barrier,
    awaited: AwaitedFd,
}

/// The place of a task that has come to a barrier.
#[pyclass(frozen, module = "procession._procession")]
pub struct BarrierPlace {
    /// `None` once the task has gone on; a task that was the last to come goes on at once.
    follower: Mutex<Option<Follower>>,
    index: u32,
}

impl BarrierPlace {
    fn follower(&self) -> MutexGuard<'_, Option<Follower>> {
        self.follower.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl BarrierPlace {
    /// How many had come before.
    #[getter]
    fn index(&self) -> u32 {
        self.index
    }

    /// Tells whether all have come and may go on.
    fn is_open(&self) -> PyResult<bool> {
        match &mut *self.follower() {
            None => Ok(true),
            Some(follower) => follower.try_wait().or_raise(),
        }
    }

    /// Gives up the place: the task has not come, unless all have come by now.
    fn leave(&self) {
        drop(self.follower().take());
    }
}

#[pymethods]
impl Barrier {
    #[new]
    fn new(parties: u32) -> PyResult<Self> {
        Ok(Self {
            barrier: sync::Barrier::create(parties).or_raise()?,
            awaited: AwaitedFd::default(),
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

    /// Comes without waiting; None while the action of the last round still runs.
    fn try_arrive(&self, action: Option<&Bound<'_, PyAny>>) -> PyResult<Option<BarrierPlace>> {
        let place = |follower, index| {
            Some(BarrierPlace {
                follower: Mutex::new(follower),
                index,
            })
        };
        Ok(match self.barrier.try_arrive().or_raise()? {
            None => None,
            Some(Role::Leader(leader)) => place(None, lead(leader, action)?),
            Some(Role::Follower(follower)) => {
                let index = follower.index();
                place(Some(follower), index)
            }
        })
    }

    /// Returns what to watch until the task may come, or until its place may have been let through.
    #[pyo3(signature = (place=None))]
    fn arm(&self, place: Option<&BarrierPlace>) -> PyResult<Watched> {
        let follower = place.map(BarrierPlace::follower);
        self.awaited.arm(
            || self.barrier.await_fd(),
            |fd| match &follower {
                None => self.barrier.arm(fd),
                Some(place) => place.as_ref().map_or(Ok(None), |place| place.arm(fd)),
            },
        )
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
    stay_when_ended();
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
        // The processes of the last round are still in the barrier, as its action goes on.
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
    Ok(Barrier {
        barrier,
        awaited: AwaitedFd::default(),
    })
}
