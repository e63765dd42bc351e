//! Pickles by value those objects that another process cannot find by their name: where
//! plain pickling has failed, or has written a name that means nothing to the reader.
//!
//! The Python module `_by_value` knows which functions and classes these are, and how
//! they are written. This file decides when to ask it: never for an object that plain
//! pickling can handle. Plain pickling refuses some functions with an error. It writes a
//! function of a main module without a file (a notebook, `python -c`, standard input) by
//! name all the same; so there, and only there, each pickle is searched for the name of
//! that module.
//!
//! Then the object is pickled a second time. The handles that the first pickle has lent are
//! given back, and its other effects are undone, if a reducer said how by
//! [`undo_unless_sent`]. One such effect is a descriptor that was duplicated for a child,
//! which would otherwise get two of them and close one.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU8, Ordering};

use procession_engine::shm::{self, Loans};
use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use crate::once::{PyOnce, intern};
use crate::pickle::{Pickled, Sink, is_replaced};
use crate::transfer;

impl Pickled {
    /// Pickles an object. The objects whose handles are in the pickle live until a process
    /// unpickles it, or as long as the family if none does.
    pub fn new(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let (pickled, loans) = Self::lending(object)?;
        loans.send_untracked();
        Ok(pickled)
    }

    /// Pickles an object; returns the pickle and the loans of its handles. If pickling fails, the
    /// loans are given back.
    pub fn lending(object: &Bound<'_, PyAny>) -> PyResult<(Self, Loans)> {
        Self::lending_to(Reader::Anybody, object)
    }

    /// As [`lending`](Self::lending), for a known reader.
    pub fn lending_to(reader: Reader, object: &Bound<'_, PyAny>) -> PyResult<(Self, Loans)> {
        make(object, reader).map(|(pickled, loans, _done)| (pickled, loans))
    }

    /// As [`lending`](Self::lending), for a process that starts.
    pub fn starting(object: &Bound<'_, PyAny>) -> PyResult<(Self, Loans)> {
        Self::lending_to(Reader::Child, object)
    }

    /// As [`starting`](Self::starting), for the part that a process reads before it can
    /// import anything: nothing in it is by value.
    pub fn preparing(object: &Bound<'_, PyAny>) -> PyResult<(Self, Loans)> {
        let (pickled, loans) =
            transfer::collecting(|| Self::plain(object, Reader::Child.function()));
        Ok((pickled?, loans))
    }

    /// Pickles an object into a block, which carries the loans of its handles; returns the block
    /// and how many of its bytes count.
    pub fn block(object: &Bound<'_, PyAny>) -> PyResult<(shm::Block, usize)> {
        let (pickled, loans) = Self::lending(object)?;
        pickled.ride(object.py(), loans)
    }
}

/// The reader of the pickle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The process that gets the message, which may be this one.
    Anybody,
    /// A worker of a pool.
    Worker,
    /// A reader that is sent nothing by value, as a pool may have been told.
    ByNameOnly,
    /// The process that is being started, which is a fresh interpreter.
    Child,
}

impl Reader {
    /// The word by which `_by_value` knows it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Anybody => "anybody",
            Self::Worker => "worker",
            Self::ByNameOnly => "by name only",
            Self::Child => "child",
        }
    }

    /// Returns a worker, or a reader that is sent nothing by value.
    pub fn of_pool(by_name_only: bool) -> Self {
        if by_name_only {
            Self::ByNameOnly
        } else {
            Self::Worker
        }
    }

    /// The function of `reduction` that calls a program's own pickler.
    fn function(self) -> &'static str {
        match self {
            Self::Anybody | Self::Worker | Self::ByNameOnly => "dumps",
            Self::Child => "dump_to_bytes",
        }
    }
}

/// Whether other processes can read the main module: not known yet, yes, no.
static MAIN: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = 0;
const READABLE: u8 = 1;
const OURS_ALONE: u8 = 2;

/// Returns whether other processes can read the main module, from a file or by name.
///
/// They cannot in a notebook, at a prompt, and where Python was given the program by `-c` or on
/// standard input.
#[pyfunction]
pub fn main_has_file(py: Python<'_>) -> PyResult<bool> {
    static SYS: PyOnce<PyModule> = PyOnce::new();
    let sys = SYS.get_or_try_init(py, || py.import("sys"))?;
    let modules = sys.getattr(intern!(py, "modules"))?.cast_into::<PyDict>()?;
    let Some(main) = modules.get_item(intern!(py, "__main__"))? else {
        return Ok(false);
    };
    if let Some(spec) = attribute(&main, intern!(py, "__spec__"))?
        && attribute(&spec, intern!(py, "name"))?.is_some()
    {
        return Ok(true);
    }
    // The kernel of a marimo notebook makes a main module that has the notebook's file name, and
    // what the cells define, which is not there when the file is read.
    if attribute(&main, intern!(py, "__loader__"))?.is_none()
        && modules.contains(intern!(py, "marimo"))?
    {
        return Ok(false);
    }
    let Some(path) = attribute(&main, intern!(py, "__file__"))? else {
        return Ok(false);
    };
    // A main module from standard input has the file name "<stdin>".
    let path = path.str()?;
    let path = path.to_string_lossy();
    Ok(!(path.starts_with('<') && path.ends_with('>')))
}

/// Returns an attribute, if there is one and it is not None.
fn attribute<'py>(
    of: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let found = of.getattr_opt(name)?;
    Ok(found.filter(|found| !found.is_none()))
}

/// Notes, and returns, whether other processes can read the main module.
///
/// It is looked at before a process is started, too: programs that run others put another module in
/// its place.
#[pyfunction]
pub fn look_at_main(py: Python<'_>) -> PyResult<bool> {
    let is_readable = main_has_file(py)?;
    // Relaxed: it stands for itself, as in `main_is_ours_alone`.
    MAIN.store(
        if is_readable { READABLE } else { OURS_ALONE },
        Ordering::Relaxed,
    );
    Ok(is_readable)
}

fn main_is_ours_alone(py: Python<'_>) -> PyResult<bool> {
    match MAIN.load(Ordering::Relaxed) {
        UNKNOWN => Ok(!look_at_main(py)?),
        known => Ok(known == OURS_ALONE),
    }
}

thread_local! {
    /// The functions that undo the effects of the message which this thread pickles, if
    /// it pickles one.
    static DONE: RefCell<Option<Vec<Py<PyAny>>>> = const { RefCell::new(None) };
}

/// Notes a function to be called if the message that this thread is pickling is not sent as it is,
/// and the caller's preparations for it were in vain.
#[pyfunction]
pub fn undo_unless_sent(undo: Py<PyAny>) {
    DONE.with_borrow_mut(|done| {
        if let Some(done) = done {
            done.push(undo);
        }
    });
}

/// Pickles an object for a reader, by its word, and sends it to nobody.
#[pyfunction]
pub fn try_to_pickle(object: &Bound<'_, PyAny>, reader: &str) -> PyResult<()> {
    let reader = [Reader::Worker, Reader::ByNameOnly, Reader::Child]
        .into_iter()
        .find(|known| known.word() == reader)
        .unwrap_or(Reader::Anybody);
    let (_pickled, _loans, done) = make(object, reader)?;
    undo(object.py(), done);
    Ok(())
}

/// Calls a function of `_by_value` that adds a note to an error, saying what could not be pickled.
pub fn explain<'py>(
    py: Python<'py>,
    error: PyErr,
    function: &str,
    of_what: impl FnOnce(Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>>,
) -> PyErr {
    let noted = of_what(error.value(py).clone().into_any()).and_then(|arguments| {
        py.import("procession._by_value")?
            .call_method1(function, arguments)
    });
    match noted {
        Ok(_) => error,
        Err(other) => other,
    }
}

/// The functions that undo the effects of a message.
type Done = Vec<Py<PyAny>>;

fn make(object: &Bound<'_, PyAny>, reader: Reader) -> PyResult<(Pickled, Loans, Done)> {
    let py = object.py();
    let plainly = || noting(|| transfer::collecting(|| Pickled::plain(object, reader.function())));
    let ((plain, lent), done) = plainly();
    let stands = match &plain {
        // A program with a pickler of its own takes care of this itself.
        _ if is_replaced() || reader == Reader::ByNameOnly => true,
        Ok(pickled) => !main_is_ours_alone(py)? || !pickled.names(py, b"__main__"),
        Err(error) => !is_of_a_name(py, error)?,
    };
    if stands {
        return settle(py, plain, lent, done);
    }
    let refusal = plain.as_ref().err().map(|error| error.value(py).clone());
    // The descriptors for a child are numbered in the order in which they are found, so
    // those of the first attempt are closed before the second begins.
    let first = match plain {
        Ok(pickled) if reader != Reader::Child => Ok(Some((pickled, lent, done))),
        other => {
            drop(lent);
            undo(py, done);
            other.map(|_| None)
        }
    };
    let ((anew, lent), done) =
        noting(|| transfer::collecting(|| write(object, reader, refusal.as_ref())));
    if let Ok(Some(by_value)) = anew {
        if let Ok(Some((_, _lent, done))) = first {
            undo(py, done);
        }
        return Ok((by_value, lent, done));
    }
    drop(lent);
    undo(py, done);
    match (anew, first) {
        (Ok(_), Ok(Some(first))) => Ok(first),
        (Ok(_), Ok(None)) => {
            let ((plain, lent), done) = plainly();
            settle(py, plain, lent, done)
        }
        (Ok(_), Err(refusal)) => Err(refusal),
        (Err(error), first) => {
            if let Ok(Some((_, _lent, done))) = first {
                undo(py, done);
            }
            Err(error)
        }
    }
}

/// Returns the result, or undoes the effects of the attempt that failed.
fn settle(
    py: Python<'_>,
    made: PyResult<Pickled>,
    loans: Loans,
    done: Done,
) -> PyResult<(Pickled, Loans, Done)> {
    match made {
        Ok(pickled) => Ok((pickled, loans, done)),
        Err(error) => {
            drop(loans);
            undo(py, done);
            Err(error)
        }
    }
}

/// Has `_by_value` write an object; None if the plain pickle stands.
fn write(
    object: &Bound<'_, PyAny>,
    reader: Reader,
    refusal: Option<&Bound<'_, pyo3::exceptions::PyBaseException>>,
) -> PyResult<Option<Pickled>> {
    let py = object.py();
    let sink = Bound::new(py, Sink::default())?;
    let take = sink.getattr("take")?;
    let is_written = py
        .import("procession._by_value")?
        .call_method1("write", (object, &sink, take, reader.word(), refusal))?;
    if !is_written.extract::<bool>()? {
        return Ok(None);
    }
    let pickled = Pickled::of_sink(py, &mut sink.borrow_mut());
    Ok(Some(pickled))
}

/// Tells whether plain pickling has found no name for an object. The pickler itself
/// raised that error, and not the program's code: it has no traceback.
fn is_of_a_name(py: Python<'_>, error: &PyErr) -> PyResult<bool> {
    static REFUSAL: PyOnce<PyType> = PyOnce::new();
    if error.traceback(py).is_some() {
        return Ok(false);
    }
    let refusal = REFUSAL.import(py, "_pickle", "PicklingError")?;
    Ok(error.is_instance(py, refusal) || error.is_instance_of::<PyAttributeError>(py))
}

/// Runs `work`, and returns the functions that undo its effects, too.
fn noting<T>(work: impl FnOnce() -> T) -> (T, Done) {
    let outer = DONE.replace(Some(Vec::new()));
    let made = work();
    let done = DONE.replace(outer).unwrap_or_default();
    (made, done)
}

/// Calls the functions, the latest first.
fn undo(py: Python<'_>, done: Done) {
    for each in done.into_iter().rev() {
        if let Err(error) = each.call0(py) {
            error.write_unraisable(py, Some(each.bind(py)));
        }
    }
}
