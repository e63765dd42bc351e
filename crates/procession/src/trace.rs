//! A trace of what this process and all its relatives do.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use procession_engine::sys::fork_safe::once::ForkOnce;
use procession_engine::sys::process::at_exit;

use crate::error::Result;

/// The variable that asks for a trace.
const VARIABLE: &str = "PROCESSION_TRACE";

/// The trace that the environment has asked for.
static OF_ENVIRONMENT: ForkOnce<Mutex<Trace>> = ForkOnce::new();

/// Writes a trace of this process and all its relatives, until it is ended or dropped; see
/// [`trace`].
///
/// # Examples
///
/// ```
/// use procession::trace;
///
/// let path = std::env::temp_dir().join("procession-trace-{pid}.json");
/// let trace = trace(path)?;
/// println!("what happens now is in {}", trace.path().display());
/// # let file = trace.path().to_owned();
/// trace.end()?;
/// # std::fs::remove_file(file).unwrap();
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "the trace ends when this is dropped"]
pub struct Trace(procession_trace::Trace);

/// Begins to write what this process and all its relatives do into a file.
///
/// The file is for `ui.perfetto.dev` and `chrome://tracing`: processes from start to end, how
/// they ended, tasks of pools by their functions, what threads wait for, and what goes through
/// queues. Processes that run already are in it, too. In its name, `{pid}` stands for the id of
/// this process. The environment variable `PROCESSION_TRACE` names a file for a whole run; then
/// [`init`](crate::init) begins it.
///
/// # Errors
/// When a process of the family writes a trace already, or the file cannot be made.
///
/// # Examples
///
/// ```
/// use procession::{Pool, trace};
///
/// # procession::init();
/// let path = std::env::temp_dir().join("procession-{pid}.json");
/// let trace = trace(path)?;
/// let file = trace.path().to_owned();
/// let pool = Pool::new(1)?;
/// assert_eq!(pool.map(|n: i32| n * 2, [1, 2])?, [2, 4]);
/// drop(pool);
/// trace.end()?;
/// assert!(std::fs::read_to_string(&file).unwrap().ends_with("\n]}\n"));
/// # std::fs::remove_file(file).unwrap();
/// # Ok::<(), procession::Error>(())
/// ```
pub fn trace(path: impl AsRef<Path>) -> Result<Trace> {
    Ok(Trace(procession_trace::Trace::begin(path.as_ref())?))
}

impl Trace {
    /// Ends the trace, and waits until the file has all of it. In a forked copy of the process
    /// it does nothing.
    ///
    /// # Errors
    /// When the file could not be written.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::trace;
    /// let trace = trace(std::env::temp_dir().join("procession-end-{pid}.json"))?;
    /// let file = trace.path().to_owned();
    /// trace.end()?;
    /// assert!(std::fs::read_to_string(&file).unwrap().contains("trace_complete"));
    /// # std::fs::remove_file(file).unwrap();
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn end(mut self) -> Result<()> {
        Ok(self.0.end()?)
    }

    /// Returns the full name of the file.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::trace;
    /// let trace = trace(std::env::temp_dir().join("procession-path-{pid}.json"))?;
    /// let name = format!("procession-path-{}.json", std::process::id());
    /// assert!(trace.path().ends_with(name));
    /// # let file = trace.path().to_owned();
    /// # trace.end()?;
    /// # std::fs::remove_file(file).unwrap();
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Begins the trace that the environment asks for, once; it ends when this process exits.
pub(crate) fn begin_by_environment() {
    let Some(path) = std::env::var_os(VARIABLE) else {
        return;
    };
    if OF_ENVIRONMENT.get().is_some() {
        return;
    }
    let begun = trace(&path).and_then(|trace| {
        // If another thread was first, this thread has found that a trace is being written.
        let _ = OF_ENVIRONMENT.set(Mutex::new(trace));
        Ok(at_exit::call(end_of_environment)?)
    });
    if let Err(error) = begun {
        // The program itself has not asked for the trace, so it must not fail if there is none.
        eprintln!("procession: {VARIABLE}: {error}");
    }
}

extern "C" fn end_of_environment() {
    let Some(trace) = OF_ENVIRONMENT.get() else {
        return;
    };
    let mut trace = trace.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(error) = trace.0.end() {
        eprintln!("procession: {VARIABLE}: {error}");
    }
}
