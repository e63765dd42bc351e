//! A started process, seen from its parent.

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use procession_engine::process as engine;
use procession_engine::sys::process::exit_status::ExitStatus;
use procession_engine::sys::wait::time::Deadline;
use serde_core::de::DeserializeOwned;

use crate::children::{self, Started};
use crate::error::{Death, Error, Result};
use crate::launch::Launch;
use crate::start_method::StartMethod;
use crate::{handle, outcome};

/// A process that was started: to follow, to stop, and to get its result from.
///
/// Dropping it leaves the process running; a daemon ends with its parent.
///
/// # Examples
///
/// ```
/// use procession::{Process, State};
///
/// fn leave() {
///     std::process::exit(3);
/// }
///
/// # procession::init();
/// let child = Process::new(leave).start()?;
/// assert_eq!(child.wait()?, 3);
/// assert_eq!(child.state()?, State::Terminated(3));
/// assert!(child.join().unwrap_err().is_exit());
/// # Ok::<(), procession::Error>(())
/// ```
pub struct Child<R> {
    shared: Arc<Started>,
    method: StartMethod,
    result: PhantomData<fn() -> R>,
}

/// The state of a process.
///
/// # Examples
///
/// ```
/// use procession::{Process, State};
///
/// # procession::init();
/// let child = Process::new(|| 42).start()?;
/// match child.state()? {
///     State::Blocked(on) => println!("it waits for {on}"),
///     State::Terminated(code) => println!("it has ended with {code}"),
///     _ => println!("it is at work"),
/// }
/// child.wait()?;
/// assert_eq!(child.state()?, State::Terminated(0));
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It is being started.
    New,
    /// It runs, or could if a processor were free.
    Running,
    /// It waits; the text says for what, as far as the system tells.
    Blocked(String),
    /// It has ended, with this exit code (negative for a signal).
    Terminated(i32),
}

impl<R: DeserializeOwned> Child<R> {
    /// Blocks until the process has ended and returns its function's result.
    ///
    /// # Errors
    /// `is_panic` when the function panicked, `is_signal` when a signal ended
    /// the process, `is_exit` when it called `exit`, `is_codec` when the
    /// result could not cross.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Process;
    /// # procession::init();
    /// let child = Process::new(|n: u32| 100 / n).name("divider").args(0).start()?;
    /// let error = child.join().unwrap_err();
    /// let panic = error.panic_info().expect("it divided by zero");
    /// assert_eq!(panic.process, "divider");
    /// assert!(panic.message.contains("divide by zero"));
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn join(self) -> Result<R> {
        let code = self.wait()?;
        self.collect(code)
    }

    /// As [`join`](Self::join), for at most `timeout`; on a timeout, ask again.
    ///
    /// # Errors
    /// As [`join`](Self::join), and `is_timeout`; `is_invalid` when the result
    /// was fetched before.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use procession::{Event, Process};
    /// # procession::init();
    /// let go = Event::new()?;
    /// let mut child = Process::new(|go: Event| go.wait().is_ok()).args(go.clone()).start()?;
    /// assert!(child.join_timeout(Duration::ZERO).unwrap_err().is_timeout());
    /// go.set();
    /// assert!(child.join_timeout(Duration::from_secs(60))?);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn join_timeout(&mut self, timeout: Duration) -> Result<R> {
        let code = self.wait_timeout(timeout)?;
        self.collect(code)
    }

    fn collect(&self, code: i32) -> Result<R> {
        match self.shared.engine.take_outcome()? {
            Some(payload) => payload.read(|bytes, source| {
                handle::reading(source, || {
                    outcome::read(bytes, format_args!("the result of process {}", self.name()))
                })
            }),
            None => Err(Error::died(Death {
                process: self.shared.name.clone(),
                pid: self.pid(),
                code,
                doing: None,
                tries: 1,
                memory_limit: None,
            })),
        }
    }
}

impl<R> Child<R> {
    pub(crate) fn new(engine: engine::Child, launch: Launch) -> Self {
        let shared = Arc::new(Started {
            engine,
            name: launch.name,
            daemon: launch.daemon,
        });
        children::remember(&shared);
        Self {
            shared,
            method: launch.method,
            result: PhantomData,
        }
    }

    /// Blocks until the process has ended, in whatever way.
    ///
    /// Unlike [`join`](Self::join) it may be called at any time and more than
    /// once, and leaves the result where it is.
    ///
    /// # Errors
    /// When the system does not say.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Process;
    /// # procession::init();
    /// let child = Process::new(|| 42).start()?;
    /// assert_eq!(child.wait()?, 0);
    /// assert_eq!(child.wait()?, 0);
    /// assert_eq!(child.join()?, 42);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn wait(&self) -> Result<i32> {
        self.wait_until(Deadline::NEVER)
    }

    /// As [`wait`](Self::wait), for at most `timeout`.
    ///
    /// # Errors
    /// `is_timeout` when the process runs on.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use procession::{Event, Process};
    /// # procession::init();
    /// let go = Event::new()?;
    /// let child = Process::new(|go: Event| go.wait().is_ok()).args(go.clone()).start()?;
    /// assert!(child.wait_timeout(Duration::ZERO).unwrap_err().is_timeout());
    /// go.set();
    /// assert_eq!(child.wait_timeout(Duration::from_secs(60))?, 0);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> Result<i32> {
        self.wait_until(Deadline::after(timeout))
    }

    fn wait_until(&self, deadline: Deadline) -> Result<i32> {
        loop {
            match self.shared.engine.wait(deadline).map_err(Error::from) {
                Ok(status) => return Ok(status.code()),
                Err(error) if error.is_interrupted() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Tells whether the process has not ended yet.
    ///
    /// # Errors
    /// When the system does not say.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Event, Process};
    /// # procession::init();
    /// let go = Event::new()?;
    /// let child = Process::new(|go: Event| go.wait().is_ok()).args(go.clone()).start()?;
    /// assert!(child.is_alive()?);
    /// go.set();
    /// child.wait()?;
    /// assert!(!child.is_alive()?);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn is_alive(&self) -> Result<bool> {
        Ok(self.exit_code()?.is_none())
    }

    /// Returns the exit code once the process has ended: 0 when its function
    /// returned, 1 when it panicked, negative for a signal.
    ///
    /// # Errors
    /// When the system does not say.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Process;
    /// # procession::init();
    /// let child = Process::new(|| -> u8 { std::process::exit(3) }).start()?;
    /// child.wait()?;
    /// assert_eq!(child.exit_code()?, Some(3));
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn exit_code(&self) -> Result<Option<i32>> {
        Ok(self.shared.engine.try_wait()?.map(ExitStatus::code))
    }

    /// Returns the state of the process.
    ///
    /// # Errors
    /// When the system does not say.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Event, Process, State};
    /// # procession::init();
    /// let go = Event::new()?;
    /// let child = Process::new(|go: Event| go.wait().is_ok()).args(go.clone()).start()?;
    /// while !matches!(child.state()?, State::Blocked(_)) {
    ///     std::thread::yield_now(); // It is on its way to the event.
    /// }
    /// go.set();
    /// child.wait()?;
    /// assert_eq!(child.state()?, State::Terminated(0));
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn state(&self) -> Result<State> {
        Ok(match self.shared.engine.state()? {
            engine::State::New => State::New,
            engine::State::Running => State::Running,
            engine::State::Blocked(on) => State::Blocked(on),
            engine::State::Terminated(status) => State::Terminated(status.code()),
        })
    }

    /// Raises the process's stop flag, which it sees in
    /// [`stop_requested`](crate::CurrentProcess::stop_requested).
    ///
    /// # Errors
    /// None today; a system that cannot carry the request would say so.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use procession::{Process, current_process};
    /// # procession::init();
    /// let work = || {
    ///     let mut rounds = 0;
    ///     while !current_process().stop_requested() {
    ///         rounds += 1;
    ///     }
    ///     rounds
    /// };
    /// let child = Process::new(work).start()?;
    /// child.request_stop()?;
    /// assert!(child.join()? >= 0);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn request_stop(&self) -> Result<()> {
        self.shared.engine.request_stop();
        Ok(())
    }

    /// Asks the process to stop, by SIGTERM.
    ///
    /// # Errors
    /// When the system refuses. A process that has ended is no error.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Event, Process};
    /// # procession::init();
    /// let child = Process::new(|go: Event| go.wait().is_ok()).args(Event::new()?).start()?;
    /// child.terminate()?;
    /// assert_eq!(child.wait()?, -15);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn terminate(&self) -> Result<()> {
        self.shared.engine.terminate()?;
        Ok(())
    }

    /// Ends the process at once, by SIGKILL.
    ///
    /// # Errors
    /// When the system refuses. A process that has ended is no error.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Event, Process};
    /// # procession::init();
    /// let child = Process::new(|go: Event| go.wait().is_ok()).args(Event::new()?).start()?;
    /// child.kill()?;
    /// let error = child.join().unwrap_err();
    /// assert_eq!(error.signal(), Some(9));
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn kill(&self) -> Result<()> {
        self.shared.engine.kill()?;
        Ok(())
    }

    /// Sends the process SIGINT, as Ctrl-C does: a program that handles it may tidy up, any
    /// other ends. One that ignores interrupts goes on, as do all that a shell has started in the
    /// background.
    ///
    /// # Errors
    /// When the system refuses. A process that has ended is no error.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use procession::{Event, Process};
    /// # procession::init();
    /// let child = Process::new(|go: Event| go.wait().is_ok()).args(Event::new()?).start()?;
    /// child.interrupt()?;
    /// if child.wait_timeout(Duration::from_secs(5)).is_err() {
    ///     child.kill()?;
    /// }
    /// let (interrupted, killed) = (-2, -9);
    /// assert!([interrupted, killed].contains(&child.wait()?));
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn interrupt(&self) -> Result<()> {
        self.shared.engine.interrupt()?;
        Ok(())
    }

    /// As [`terminate`](Self::terminate), for the process and all that it has started,
    /// directly or not and by whatever means.
    ///
    /// A process that is started meanwhile gets the signal, too. Descendants whose own
    /// parent had ended before are not found.
    ///
    /// # Errors
    /// When the system refuses. A process that has ended is no error.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Event, Process};
    /// # procession::init();
    /// fn starts_another(go: Event) -> bool {
    ///     let child = Process::new(|go: Event| go.wait().is_ok()).args(go).start();
    ///     child.is_ok_and(|child| child.join().is_ok())
    /// }
    ///
    /// let child = Process::new(starts_another).args(Event::new()?).start()?;
    /// child.terminate_tree()?;
    /// assert_eq!(child.wait()?, -15);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn terminate_tree(&self) -> Result<()> {
        self.shared.engine.terminate_tree()?;
        Ok(())
    }

    /// As [`kill`](Self::kill), for the process and all that it has started; see
    /// [`terminate_tree`](Self::terminate_tree).
    ///
    /// # Errors
    /// When the system refuses. A process that has ended is no error.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Event, Process};
    /// # procession::init();
    /// let child = Process::new(|go: Event| go.wait().is_ok()).args(Event::new()?).start()?;
    /// child.kill_tree()?;
    /// assert_eq!(child.wait()?, -9);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn kill_tree(&self) -> Result<()> {
        self.shared.engine.kill_tree()?;
        Ok(())
    }

    /// Returns the process's name.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Process;
    /// # procession::init();
    /// let child = Process::new(|| 1).name("Ada").start()?;
    /// assert_eq!(child.name(), "Ada");
    /// # child.wait()?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Returns the process's id.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Process;
    /// # procession::init();
    /// let child = Process::new(|| 1).name("Ada").start()?;
    /// assert_ne!(child.pid(), std::process::id());
    /// # child.wait()?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.shared.engine.pid()
    }

    /// Tells whether the process ends with its parent.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Process;
    /// # procession::init();
    /// let child = Process::new(|| 1).name("Ada").start()?;
    /// assert!(!child.is_daemon());
    /// # child.wait()?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        self.shared.daemon
    }

    /// Returns how the process was started.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Process;
    /// # procession::init();
    /// let child = Process::new(|| 1).name("Ada").start()?;
    /// assert_eq!(child.start_method(), procession::start_method());
    /// # child.wait()?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn start_method(&self) -> StartMethod {
        self.method
    }
}

/// For tasks of an executor: no thread waits. With the feature `async`.
#[cfg(feature = "async")]
impl<R> Child<R> {
    /// As [`wait`](Self::wait), awaited. Dropping the future leaves the process running.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Process;
    /// # procession::init();
    /// # futures_lite::future::block_on(async {
    /// let child = Process::new(|| 42).start()?;
    /// assert_eq!(child.wait_async().await?, 0);
    /// assert_eq!(child.join()?, 42);
    /// # Ok::<(), procession::Error>(())
    /// # })?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub async fn wait_async(&self) -> Result<i32> {
        loop {
            if let Some(code) = self.exit_code()? {
                return Ok(code);
            }
            crate::awaiting::readable(self).await?;
        }
    }
}

/// As [`join`](Child::join), awaited; with the feature `async`. Dropping the future leaves the
/// process running, as dropping the child does.
///
/// # Examples
///
/// ```
/// # use procession::Process;
/// # procession::init();
/// # futures_lite::future::block_on(async {
/// assert_eq!(Process::new(|| 6 * 7).start()?.await?, 42);
/// # Ok::<(), procession::Error>(())
/// # })?;
/// # Ok::<(), procession::Error>(())
/// ```
#[cfg(feature = "async")]
impl<R: DeserializeOwned + 'static> IntoFuture for Child<R> {
    type Output = Result<R>;
    type IntoFuture = std::pin::Pin<Box<dyn Future<Output = Result<R>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let code = self.wait_async().await?;
            self.collect(code)
        })
    }
}

impl<R> AsFd for Child<R> {
    /// Borrows a descriptor that turns readable when the process ends.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.engine.sentinel()
    }
}

impl<R> fmt::Debug for Child<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("name", &self.shared.name)
            .field("pid", &self.pid())
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}
