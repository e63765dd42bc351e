//! The process that runs this code, and its parent.

use std::time::Duration;

use procession_engine::process::current;
use procession_engine::sys::fork_safe::once::ForkOnce;
use procession_engine::sys::wait::time::Deadline;

use crate::error::{Error, Result};

/// The process that runs this code.
///
/// # Examples
///
/// ```
/// use procession::{Process, current_process};
///
/// # procession::init();
/// let child = Process::new(|| current_process().name()).name("Ada").start()?;
/// assert_eq!(child.join()?, "Ada");
/// assert_eq!(current_process().name(), "MainProcess");
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CurrentProcess(());

/// The facts about itself that a started process was given.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) daemon: bool,
    /// A worker's place in its pool.
    pub(crate) worker: Option<u32>,
}

/// Name of a family's first process, as in `multiprocessing`.
const MAIN: &str = "MainProcess";

static IDENTITY: ForkOnce<Identity> = ForkOnce::new();

/// Returns the process that runs this code.
///
/// # Examples
///
/// ```
/// use procession::{Process, current_process};
///
/// # procession::init();
/// let child = Process::new(|| current_process().name()).name("Ada").start()?;
/// assert_eq!(child.join()?, "Ada");
/// # Ok::<(), procession::Error>(())
/// ```
#[must_use]
pub fn current_process() -> CurrentProcess {
    CurrentProcess(())
}

impl CurrentProcess {
    /// Returns the process's name: `MainProcess` for the first of a family.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::current_process;
    /// assert_eq!(current_process().name(), "MainProcess");
    /// ```
    #[must_use]
    pub fn name(self) -> String {
        IDENTITY
            .get()
            .map_or_else(|| MAIN.to_owned(), |own| own.name.clone())
    }

    /// Returns the process's id.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Process, current_process};
    /// # procession::init();
    /// let child = Process::new(|| current_process().pid()).start()?;
    /// assert_eq!(child.pid(), child.join()?);
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn pid(self) -> u32 {
        std::process::id()
    }

    /// Returns the place of a worker in its pool, from 0; `None` in other
    /// processes. No two workers of a pool have the same place at the same time; a
    /// worker that replaces another gets its place.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Pool, current_process};
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// assert_eq!(pool.apply(|| current_process().worker_index(), ())?, Some(0));
    /// assert_eq!(current_process().worker_index(), None);
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn worker_index(self) -> Option<u32> {
        IDENTITY.get().and_then(|own| own.worker)
    }

    /// Tells whether the process ends with its parent.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Pool, current_process};
    /// # procession::init();
    /// assert!(!current_process().is_daemon());
    /// assert!(Pool::new(1)?.apply(|| current_process().is_daemon(), ())?);
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn is_daemon(self) -> bool {
        IDENTITY.get().is_some_and(|own| own.daemon)
    }

    /// Tells whether the parent has asked this process to stop.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::current_process;
    /// assert!(!current_process().stop_requested());
    /// ```
    #[must_use]
    pub fn stop_requested(self) -> bool {
        current::stop_requested()
    }

    /// Blocks until the parent asks this process to stop, for at most
    /// `timeout`; tells whether it did.
    ///
    /// # Errors
    /// When the process belongs to no family.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use procession::{Process, current_process};
    /// # procession::init();
    /// let child = Process::new(|| {
    ///     let asked = current_process().wait_for_stop(Duration::from_secs(60));
    ///     asked.is_ok_and(|asked| asked)
    /// })
    /// .start()?;
    /// child.request_stop()?;
    /// assert!(child.join()?);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn wait_for_stop(self, timeout: Duration) -> Result<bool> {
        let deadline = Deadline::after(timeout);
        loop {
            match current::wait_stop(deadline).map_err(Error::from) {
                Err(error) if error.is_interrupted() => {}
                result => return result,
            }
        }
    }
}

/// The process that started this one.
///
/// # Examples
///
/// ```
/// use procession::{Process, parent_process};
///
/// fn who_asks() -> Option<(String, u32)> {
///     let parent = parent_process()?;
///     Some((parent.name().to_owned(), parent.pid()))
/// }
///
/// # procession::init();
/// let child = Process::new(who_asks).start()?;
/// assert_eq!(child.join()?, Some(("MainProcess".to_owned(), std::process::id())));
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentProcess {
    name: String,
    pid: u32,
}

/// Returns the process that started this one; `None` in a family's first, and
/// once the parent has ended and its place is another's.
///
/// Under `forkserver` that is the process which asked for this one, not the
/// server which forked it.
///
/// # Examples
///
/// ```
/// # use procession::{Process, parent_process};
/// # procession::init();
/// let child = Process::new(|| parent_process().map(|parent| parent.pid())).start()?;
/// assert_eq!(child.join()?, Some(std::process::id()));
/// assert_eq!(parent_process(), None);
/// # Ok::<(), procession::Error>(())
/// ```
#[must_use]
pub fn parent_process() -> Option<ParentProcess> {
    let parent = current::parent()?;
    Some(ParentProcess {
        name: parent.name,
        pid: parent.pid?,
    })
}

impl ParentProcess {
    /// Returns the parent's name.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Process, parent_process};
    /// # procession::init();
    /// let child = Process::new(|| parent_process().map(|parent| parent.name().to_owned())).start()?;
    /// assert_eq!(child.join()?.as_deref(), Some("MainProcess"));
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the parent's id.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Process, parent_process};
    /// # procession::init();
    /// let child = Process::new(|| parent_process().map(|parent| parent.pid())).start()?;
    /// assert_eq!(child.join()?, Some(std::process::id()));
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }
}

/// Writes the first process's name where its children find it.
pub(crate) fn introduce_main() -> Result<()> {
    if IDENTITY.get().is_none() {
        current::set_name(MAIN)?;
    }
    Ok(())
}

/// Tells whether this process was started by another one of the family.
pub(crate) fn is_started() -> bool {
    IDENTITY.get().is_some()
}

/// Tells a started process its name and its place.
pub(crate) fn become_process(identity: Identity) {
    if IDENTITY.set(identity).is_ok() {
        // Only the first call counts; a forked copy of a child keeps its name.
    }
}
