//! Processes that are copies of this one, forked as the interpreter forks.
//!
//! A handler of a signal may raise wherever code of Python runs. So no code of Python
//! runs between the fork and the moment from which the child has an owner. In the child,
//! nothing is raised into the parent's code: the child ends here.
//!
//! # Safety
//! The interpreter's own functions around a fork are called as `os.fork` calls them, in
//! the thread that has the GIL.

#![expect(unsafe_code, reason = "the interpreter's fork")]

use procession_engine::Result;
use procession_engine::launch::{LaunchSpec, PreparedFork, in_room};
use procession_engine::sys::process::fork::{Forked, fork as fork_process, refusal};
use procession_engine::sys::signals::BlockedSignals;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::child::Child;
use crate::error::{IntoPython, to_python, value_error};
use crate::launch::started;
use crate::once::{PyOnce, intern};
use crate::spawn::orders;

/// Starts a copy of this process, which calls `run` and ends.
#[pyfunction]
#[pyo3(signature = (name, daemon, run, *args))]
pub fn fork(
    py: Python<'_>,
    name: String,
    daemon: bool,
    run: &Bound<'_, PyAny>,
    args: &Bound<'_, PyTuple>,
) -> PyResult<Py<Child>> {
    let orders = orders(name, daemon, None, &[])?;
    let by_name = replaced(py)?;
    let hearing = Hearing::new(py)?;
    // A signal that comes meanwhile is handled after the start: functions registered
    // for forks would swallow its exception.
    let held_back = BlockedSignals::all();
    let parent = std::process::id();
    let forked = match by_name {
        None => Copier(py).fork_ordered(&orders),
        Some(fork) => fork_by(&fork, &orders),
    };
    if std::process::id() != parent {
        let heard = forked.and_then(|_| hearing.free_from_parent());
        drop(held_back);
        run_to_the_end(heard.and_then(|()| run.call1(args)), py)
    }
    let child = forked?.ok_or_else(|| {
        value_error(format!(
            "what the program has put in the place of os.fork returned 0 in process {parent}, which \
             called it: it has to return the pid of the child there"
        ))
    })?;
    started(py, child)
}

/// Raises the error of a fork that the interpreter has made, with words that say what to do.
#[pyfunction]
pub fn fork_failed(number: i32) -> PyResult<()> {
    let error = std::io::Error::from_raw_os_error(number);
    Err(to_python(refusal("fork", error)))
}

/// Copies this process as `os.fork` does, but does not tell the family.
pub fn fork_plainly(py: Python<'_>) -> Result<Forked> {
    let held_back = BlockedSignals::all();
    let forked = Copier(py).fork(|| Ok(()), |(), side| side);
    drop(held_back);
    forked
}

/// Copies the process; the caller has the GIL.
struct Copier<'py>(Python<'py>);

impl Copier<'_> {
    /// Returns the child in the parent, nothing in the child.
    fn fork_ordered(
        &self,
        orders: &LaunchSpec<'_>,
    ) -> PyResult<Option<procession_engine::process::Child>> {
        let forked = self.fork(
            || PreparedFork::new(orders),
            |prepared, side| match side {
                Forked::Parent(pid) => prepared.in_parent(pid).map(Some),
                Forked::Child => prepared.in_child().map(|()| None),
            },
        );
        forked.and_then(|taken| taken).or_raise()
    }

    /// Forks between the functions that the interpreter wants called; `prepare` and
    /// `take` are called right before and after.
    fn fork<P, T>(
        &self,
        prepare: impl FnOnce() -> Result<P>,
        take: impl FnOnce(P, Forked) -> T,
    ) -> Result<T> {
        // SAFETY: with the GIL, as it wants to be called; one of the others follows.
        unsafe { ffi::PyOS_BeforeFork() };
        let forked = prepare().and_then(|prepared| {
            // SAFETY: the interpreter renews its own locks in the child, the engine those
            // that it holds.
            let side = in_room(|| unsafe { fork_process() })?;
            Ok((prepared, side))
        });
        match forked {
            Ok((prepared, Forked::Child)) => {
                // SAFETY: as above, in the child.
                unsafe { ffi::PyOS_AfterFork_Child() };
                Ok(take(prepared, Forked::Child))
            }
            Ok((prepared, side)) => {
                let taken = take(prepared, side);
                // SAFETY: as above, in the parent.
                unsafe { ffi::PyOS_AfterFork_Parent() };
                Ok(taken)
            }
            Err(error) => {
                // SAFETY: as above; there is no child.
                unsafe { ffi::PyOS_AfterFork_Parent() };
                Err(error)
            }
        }
    }
}

/// Returns `os.fork`, if the program has replaced it, or if it will refuse. Audit hooks
/// are told of the fork in either case.
fn replaced(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    static OS: PyOnce<PyModule> = PyOnce::new();
    static ORIGINAL: PyOnce<PyAny> = PyOnce::new();
    static IS_FINALIZING: PyOnce<PyAny> = PyOnce::new();
    static AUDIT: PyOnce<PyAny> = PyOnce::new();
    let os = OS.get_or_try_init(py, || py.import("os"))?;
    let fork = os.getattr(intern!(py, "fork"))?;
    let is_finalizing = IS_FINALIZING.import(py, "sys", "is_finalizing")?;
    if is_finalizing.call0()?.is_truthy()? || !fork.is(ORIGINAL.import(py, "posix", "fork")?) {
        return Ok(Some(fork));
    }
    AUDIT
        .import(py, "sys", "audit")?
        .call1((intern!(py, "os.fork"),))?;
    Ok(None)
}

/// Forks by a function of Python. If it raises after the fork, the child is ended.
fn fork_by(
    fork: &Bound<'_, PyAny>,
    orders: &LaunchSpec<'_>,
) -> PyResult<Option<procession_engine::process::Child>> {
    let prepared = PreparedFork::new(orders).or_raise()?;
    match fork.call0()?.extract::<u32>()? {
        0 => prepared.in_child().map(|()| None).or_raise(),
        pid => prepared.in_parent(pid).map(Some).or_raise(),
    }
}

/// Lets a child receive signals itself. A child has a copy of its parent's `asyncio`
/// loop, which has signals written to a descriptor that the parent reads; nobody runs the
/// copy.
///
/// Everything is looked up before the fork: each page that a child writes to is copied,
/// and looking something up writes to many.
struct Hearing<'py> {
    modules: Bound<'py, PyDict>,
    loops: &'py Bound<'py, PyString>,
    /// `signal.set_wakeup_fd`, and what it is called with.
    silence: Option<(&'py Bound<'py, PyAny>, &'py Bound<'py, PyTuple>)>,
}

impl<'py> Hearing<'py> {
    fn new(py: Python<'py>) -> PyResult<Self> {
        static SYS: PyOnce<PyModule> = PyOnce::new();
        static SET_WAKEUP_FD: PyOnce<PyAny> = PyOnce::new();
        static NONE: PyOnce<PyTuple> = PyOnce::new();
        // From 3.12 on a fork does it.
        let silence = match py.version_info() >= (3, 12) {
            true => None,
            false => Some((
                SET_WAKEUP_FD.import(py, "_signal", "set_wakeup_fd")?,
                NONE.get_or_try_init(py, || PyTuple::new(py, [-1]))?,
            )),
        };
        let sys = SYS.get_or_try_init(py, || py.import("sys"))?;
        let modules = sys.getattr(intern!(py, "modules"))?;
        Ok(Self {
            modules: modules.cast_into()?,
            loops: intern!(py, "asyncio.unix_events"),
            silence,
        })
    }

    /// Lets this child receive signals.
    fn free_from_parent(&self) -> PyResult<()> {
        if let Some((set_wakeup_fd, none)) = self.silence {
            set_wakeup_fd.call1(none)?;
        }
        // By `get_item`, as an exception would write to more pages.
        let Some(events) = self.modules.get_item(self.loops)? else {
            return Ok(());
        };
        let signal = events.py().import("_signal")?;
        let deaf = events.getattr("_sighandler_noop")?;
        for number in signal.call_method0("valid_signals")?.try_iter()? {
            let number = number?;
            if signal.call_method1("getsignal", (&number,))?.is(&deaf) {
                signal.call_method1("signal", (&number, signal.getattr("SIG_DFL")?))?;
            }
        }
        Ok(())
    }
}

/// Ends a child, which ends by itself unless it was interrupted.
fn run_to_the_end(result: PyResult<Bound<'_, PyAny>>, py: Python<'_>) -> ! {
    if let Err(error) = result {
        error.display(py);
    }
    loop {
        // This call returns only if a handler raises in it.
        let _ = py
            .import("os")
            .and_then(|os| os.call_method1("_exit", (1,)));
    }
}
