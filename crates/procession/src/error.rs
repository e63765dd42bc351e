//! The one error of the Rust face.
//!
//! It is opaque on purpose: what went wrong is asked by predicates, so that
//! new causes never break a caller's `match`. Operations that would lose a
//! value return it inside a small error of their own (`queue::SendError`).

use std::fmt;
use std::time::Duration;

use procession_engine::ErrorKind;

use crate::codec::{Fault, tuple_form};

/// Shorthand for a result with [`Error`].
///
/// # Examples
///
/// ```
/// fn doubled(numbers: Vec<u64>) -> procession::Result<Vec<u64>> {
///     procession::Pool::new(2)?.map(|n: u64| n * 2, numbers)
/// }
///
/// # procession::init();
/// assert_eq!(doubled(vec![1, 2])?, [2, 4]);
/// # Ok::<(), procession::Error>(())
/// ```
pub type Result<T> = std::result::Result<T, Error>;

/// Says what failed, in which process or object, and why.
///
/// # Examples
///
/// ```
/// let error = procession::StartMethod::from_name("teleport").unwrap_err();
/// assert!(error.is_invalid());
/// assert!(error.to_string().contains("teleport"));
/// ```
///
/// Its `Debug` form is for people too, because that is what a `main` prints
/// that returns it: the text, and the other process's backtrace if there is
/// one.
#[derive(Clone)]
pub struct Error(Box<Cause>);

#[derive(Clone, Debug)]
enum Cause {
    Engine(procession_engine::Error),
    Panic(PanicInfo),
    Died(Death),
    Overrun(Overrun),
    Cancelled { what: String },
    NodeLost { what: String, losses: u32 },
    Unavailable { message: String },
    Codec { what: String, source: Fault },
    Refused { message: String },
}

/// Everything that is known of a panic in another process.
///
/// # Examples
///
/// ```
/// use procession::Process;
///
/// # procession::init();
/// let child = Process::new(|| -> u8 { panic!("no luck") }).name("Ada").start()?;
/// let error = child.join().unwrap_err();
/// let info = error.panic_info().expect("it panicked");
/// assert_eq!((&*info.process, &*info.message), ("Ada", "no luck"));
/// println!("at {}", info.location.as_deref().unwrap_or("an unknown place"));
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PanicInfo {
    /// Name of the process that panicked.
    pub process: String,
    /// The panic's message.
    pub message: String,
    /// File, line and column, where known.
    pub location: Option<String>,
    /// The backtrace there, if `RUST_BACKTRACE` asks for one.
    pub backtrace: Option<String>,
    /// The texts of its sources, the nearest first, if it panicked with an error
    /// (`std::panic::panic_any` of a boxed [`std::error::Error`] or a
    /// [`RemoteError`](crate::RemoteError)), whose text is the message then.
    pub sources: Vec<String>,
}

tuple_form!(PanicInfo {
    process,
    message,
    location,
    backtrace,
    sources
});

/// How a process ended that left no result.
#[derive(Clone, Debug)]
pub(crate) struct Death {
    pub(crate) process: String,
    pub(crate) pid: u32,
    pub(crate) code: i32,
    pub(crate) doing: Option<String>,
    /// How many workers have died in the task, this one included.
    pub(crate) tries: u32,
    /// Its memory limit in bytes, if it died because it was refused more.
    pub(crate) memory_limit: Option<u64>,
}

/// A task that took longer than its limit.
#[derive(Clone, Debug)]
pub(crate) struct Overrun {
    pub(crate) what: String,
    pub(crate) pid: u32,
    pub(crate) limit: Duration,
}

impl Error {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        procession_engine::Error::new(ErrorKind::Invalid, message).into()
    }

    pub(crate) fn closed(message: impl Into<String>) -> Self {
        procession_engine::Error::new(ErrorKind::Closed, message).into()
    }

    /// Hands an error down to the engine, which will hand it back.
    pub(crate) fn into_engine(self) -> procession_engine::Error {
        match *self.0 {
            Cause::Engine(error) => error,
            _ => procession_engine::Error::new(ErrorKind::Invalid, self.to_string()),
        }
    }

    pub(crate) fn panic(info: PanicInfo) -> Self {
        Self(Box::new(Cause::Panic(info)))
    }

    pub(crate) fn died(death: Death) -> Self {
        Self(Box::new(Cause::Died(death)))
    }

    pub(crate) fn overrun(overrun: Overrun) -> Self {
        Self(Box::new(Cause::Overrun(overrun)))
    }

    pub(crate) fn cancelled(what: impl Into<String>) -> Self {
        let what = what.into();
        Self(Box::new(Cause::Cancelled { what }))
    }

    pub(crate) fn node_lost(what: impl Into<String>, losses: u32) -> Self {
        let what = what.into();
        Self(Box::new(Cause::NodeLost { what, losses }))
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Cause::Unavailable { message }))
    }

    /// The other process could not read the arguments or write the result.
    pub(crate) fn refused(message: String) -> Self {
        Self(Box::new(Cause::Refused { message }))
    }

    /// Returns the kind of an error that is the engine's.
    pub(crate) fn engine_kind(&self) -> Option<ErrorKind> {
        match &*self.0 {
            Cause::Engine(error) => Some(error.kind()),
            _ => None,
        }
    }

    pub(crate) fn codec(what: impl Into<String>, source: Fault) -> Self {
        let what = what.into();
        Self(Box::new(Cause::Codec { what, source }))
    }

    /// Returns an error of a deadline with words that say what was late, and any other error as it
    /// is.
    pub(crate) fn or_late(self, what: impl fmt::Display) -> Self {
        match self.is_kind(ErrorKind::TimedOut) {
            true => procession_engine::Error::new(ErrorKind::TimedOut, what.to_string()).into(),
            false => self,
        }
    }

    fn is_kind(&self, kind: ErrorKind) -> bool {
        matches!(&*self.0, Cause::Engine(error) if error.kind() == kind)
    }

    /// Tells whether the function panicked in its process.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Process;
    /// # procession::init();
    /// let error = Process::new(|| -> u8 { panic!("no luck") }).start()?.join().unwrap_err();
    /// assert!(error.is_panic());
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn is_panic(&self) -> bool {
        self.panic_info().is_some()
    }

    /// Returns what is known of the panic, if it was one.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Process;
    /// # procession::init();
    /// let child = Process::new(|| -> u8 { panic!("no luck") }).start()?;
    /// let error = child.join().unwrap_err();
    /// assert_eq!(error.panic_info().expect("it panicked").message, "no luck");
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn panic_info(&self) -> Option<&PanicInfo> {
        match &*self.0 {
            Cause::Panic(info) => Some(info),
            _ => None,
        }
    }

    /// Tells whether a signal ended the process.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Process;
    /// # procession::init();
    /// let error = Process::new(|| -> u8 { std::process::abort() }).start()?.join().unwrap_err();
    /// assert!(error.is_signal());
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn is_signal(&self) -> bool {
        self.signal().is_some()
    }

    /// Returns the number of the signal that ended the process, if one did.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Process;
    /// # procession::init();
    /// let error = Process::new(|| -> u8 { std::process::abort() }).start()?.join().unwrap_err();
    /// assert_eq!(error.signal(), Some(6)); // SIGABRT
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        match &*self.0 {
            Cause::Died(death) if death.code < 0 => Some(-death.code),
            _ => None,
        }
    }

    /// Tells whether the process called `exit` before its function returned.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Process;
    /// # procession::init();
    /// let error = Process::new(|| -> u8 { std::process::exit(3) }).start()?.join().unwrap_err();
    /// assert!(error.is_exit() && !error.is_signal());
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn is_exit(&self) -> bool {
        matches!(&*self.0, Cause::Died(death) if death.code >= 0)
    }

    /// Returns the exit code of a process that died without a result: negative
    /// for a signal, as in Python's `multiprocessing`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Process;
    /// # procession::init();
    /// let child = Process::new(|| -> u8 { std::process::exit(7) }).start()?;
    /// assert_eq!(child.join().unwrap_err().exit_code(), Some(7));
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        match &*self.0 {
            Cause::Died(death) => Some(death.code),
            _ => None,
        }
    }

    /// Returns the id of the process that died, if one did, or was killed for
    /// a task that took too long.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Process;
    /// # procession::init();
    /// let child = Process::new(|| -> u8 { std::process::abort() }).start()?;
    /// let pid = child.pid();
    /// assert_eq!(child.join().unwrap_err().pid(), Some(pid));
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        match &*self.0 {
            Cause::Died(death) => Some(death.pid),
            Cause::Overrun(overrun) => Some(overrun.pid),
            _ => None,
        }
    }

    /// Returns how many workers of a pool have died in the task: more than one
    /// for a task with [`retries`](crate::Pool::retries).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// let abort = || -> u8 { std::process::abort() };
    /// let error = pool.retries(2).apply(abort, ()).unwrap_err();
    /// assert_eq!(error.tries(), Some(3));
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn tries(&self) -> Option<u32> {
        match &*self.0 {
            Cause::Died(death) if death.doing.is_some() => Some(death.tries),
            _ => None,
        }
    }

    /// Tells whether a worker or process died before it delivered.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// let error = pool.apply(|| -> u8 { std::process::abort() }, ()).unwrap_err();
    /// assert!(error.is_died());
    /// assert!(error.to_string().contains("SIGABRT"));
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn is_died(&self) -> bool {
        matches!(&*self.0, Cause::Died(_) | Cause::NodeLost { .. }) || self.is_kind(ErrorKind::Dead)
    }

    /// Tells whether the node that had the task is gone: a machine, or the program there. The task
    /// may have run. [`is_died`](Self::is_died) says so, too.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// // This was a worker of this machine.
    /// let error = pool.apply(|| -> u8 { std::process::abort() }, ()).unwrap_err();
    /// assert!(error.is_died() && !error.is_node_lost());
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn is_node_lost(&self) -> bool {
        matches!(&*self.0, Cause::NodeLost { .. })
    }

    /// Tells whether the engine that carries a pool's tasks to other machines cannot be reached.
    ///
    /// # Examples
    ///
    /// ```
    /// let error = procession::distributed::unavailable("no server at nats://hub:4222");
    /// assert!(error.is_unavailable());
    /// ```
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(&*self.0, Cause::Unavailable { .. })
    }

    /// Tells whether the deadline passed, of the call or of a pool's task.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use procession::Queue;
    /// let late = Queue::<u8>::new()?.get_timeout(Duration::from_millis(1));
    /// assert!(late.unwrap_err().is_timeout());
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.time_limit().is_some() || self.is_kind(ErrorKind::TimedOut)
    }

    /// Returns how long a pool's task might take, if it took longer and was
    /// killed; see [`Pool::timeout`](crate::Pool::timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use procession::{Event, Pool};
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// let limit = Duration::from_millis(50);
    /// let stuck = |never: Event| never.wait().is_ok();
    /// let error = pool.timeout(limit).apply(stuck, Event::new()?).unwrap_err();
    /// assert!(error.is_timeout());
    /// assert_eq!(error.time_limit(), Some(limit));
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn time_limit(&self) -> Option<Duration> {
        match &*self.0 {
            Cause::Overrun(overrun) => Some(overrun.limit),
            _ => None,
        }
    }

    /// Tells whether the task was cancelled; see
    /// [`AsyncResult::cancel`](crate::AsyncResult::cancel).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Event, Pool};
    /// # procession::init();
    /// let (pool, go) = (Pool::new(1)?, Event::new()?);
    /// let first = pool.apply_async(|go: Event| go.wait().is_ok(), go.clone())?;
    /// let second = pool.apply_async(|| 1, ())?;
    /// if second.cancel()? {
    ///     assert!(second.get().unwrap_err().is_cancelled());
    /// }
    /// go.set();
    /// assert!(first.get()?);
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(&*self.0, Cause::Cancelled { .. })
    }

    /// Returns how many bytes of memory its worker might have, if the task
    /// needed more and the worker died of it; see
    /// [`PoolBuilder::memory_limit`](crate::PoolBuilder::memory_limit).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// // This worker died of something else.
    /// let error = pool.apply(|| -> u8 { std::process::abort() }, ()).unwrap_err();
    /// assert_eq!(error.memory_limit(), None);
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn memory_limit(&self) -> Option<u64> {
        match &*self.0 {
            Cause::Died(death) => death.memory_limit,
            _ => None,
        }
    }

    /// Tells whether the holder of a lock died holding it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Lock, Process};
    /// # procession::init();
    /// let lock = Lock::new()?;
    /// let dies = |lock: Lock| -> u8 {
    ///     let _guard = lock.lock();
    ///     std::process::abort()
    /// };
    /// Process::new(dies).args(lock.clone()).start()?.wait()?;
    /// assert!(lock.lock().unwrap_err().is_owner_died());
    /// assert!(lock.lock().is_ok());
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn is_owner_died(&self) -> bool {
        self.is_kind(ErrorKind::OwnerDied)
    }

    /// Tells whether only the owner of the lock may do this.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::RLock;
    /// assert!(RLock::new()?.release().unwrap_err().is_not_owner());
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn is_not_owner(&self) -> bool {
        self.is_kind(ErrorKind::NotOwner)
    }

    /// Tells whether the queue, pipe or pool is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Queue;
    /// let queue = Queue::<u8>::new()?;
    /// queue.close()?;
    /// assert!(queue.get().unwrap_err().is_closed());
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.is_kind(ErrorKind::Closed)
    }

    /// Tells whether the queue is full.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Queue;
    /// let queue = Queue::bounded(1)?;
    /// queue.put(1)?;
    /// assert!(queue.try_put(2).unwrap_err().error.is_full());
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.is_kind(ErrorKind::Full)
    }

    /// Tells whether the queue is empty.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Queue;
    /// assert!(Queue::<u8>::new()?.try_get().unwrap_err().is_empty());
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.is_kind(ErrorKind::Empty)
    }

    /// Tells whether the barrier is broken.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Barrier;
    /// let barrier = Barrier::new(2)?;
    /// barrier.abort()?;
    /// assert!(barrier.wait().unwrap_err().is_broken());
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.is_kind(ErrorKind::Broken)
    }

    /// Tells whether memory, or the part of it that the family or a worker may
    /// have, is exhausted.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::SharedArray;
    /// let error = SharedArray::<u8>::zeroed(1 << 55).unwrap_err();
    /// assert!(error.is_out_of_memory());
    /// ```
    #[must_use]
    pub fn is_out_of_memory(&self) -> bool {
        self.memory_limit().is_some() || self.is_kind(ErrorKind::OutOfMemory)
    }

    /// Tells whether a limit was reached: of processes, of descriptors, of the
    /// family's members, or of a pool's new workers.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Process, Result};
    /// # procession::init();
    /// /// Starts a process, or does the work itself where the system has no room for one.
    /// fn square(number: u64) -> Result<u64> {
    ///     match Process::new(|n: u64| n * n).args(number).start() {
    ///         Ok(child) => child.join(),
    ///         Err(error) if error.is_limit() => Ok(number * number),
    ///         Err(error) => Err(error),
    ///     }
    /// }
    ///
    /// assert_eq!(square(7)?, 49);
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn is_limit(&self) -> bool {
        self.is_kind(ErrorKind::Limit)
    }

    /// Returns the system's number for the error, where the system refused.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::builder().workers(1).affinity(|_index| [100_000]).start()?;
    /// assert_eq!(pool.apply(|| 1, ()).unwrap_err().os_error(), Some(22)); // EINVAL
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn os_error(&self) -> Option<i32> {
        match &*self.0 {
            Cause::Engine(error) => error.errno(),
            _ => None,
        }
    }

    /// Tells whether the call or its arguments were wrong.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Queue;
    /// assert!(Queue::<u8>::bounded(0).unwrap_err().is_invalid());
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        self.is_kind(ErrorKind::Invalid)
    }

    /// Tells whether a handle named an object that is gone: one that was kept as bytes, which keep
    /// nothing alive, and not in a message.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Queue;
    /// # procession::init();
    /// let error = Queue::<Queue<u32>>::new()?.try_get().unwrap_err();
    /// assert!(error.is_empty() && !error.is_stale());
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.is_kind(ErrorKind::Stale)
    }

    /// Tells whether `procession::init()` was missing.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Process;
    /// // This program does not call `procession::init()`.
    /// let started = Process::new(|| 1).start();
    /// assert!(started.unwrap_err().is_uninitialised());
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn is_uninitialised(&self) -> bool {
        self.is_kind(ErrorKind::Uninitialised)
    }

    /// Tells whether a value could not be turned into bytes or back.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Queue;
    /// # #[derive(Debug, serde::Serialize, serde::Deserialize)]
    /// # #[serde(untagged)]
    /// # enum Untagged { Number(u64) }
    /// let untagged = Queue::new()?;
    /// untagged.put(Untagged::Number(7))?;
    /// assert!(untagged.get().unwrap_err().is_codec());
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn is_codec(&self) -> bool {
        matches!(&*self.0, Cause::Codec { .. } | Cause::Refused { .. })
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.is_kind(ErrorKind::Interrupted)
    }
}

impl From<procession_engine::Error> for Error {
    fn from(error: procession_engine::Error) -> Self {
        Self(Box::new(Cause::Engine(error)))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Cause::Engine(error) => error.fmt(f),
            Cause::Codec { what, source } => write!(f, "{what}: {source}"),
            Cause::Refused { message } | Cause::Unavailable { message } => f.write_str(message),
            Cause::Panic(info) => {
                write!(f, "process {} panicked", info.process)?;
                if let Some(location) = &info.location {
                    write!(f, " at {location}")?;
                }
                write!(f, ": {}", info.message)?;
                info.sources
                    .iter()
                    .try_for_each(|source| write!(f, ": {source}"))
            }
            Cause::Died(death) => {
                write!(f, "process {} (pid {}) ", death.process, death.pid)?;
                match death.code {
                    code if code < 0 => write!(f, "was ended by {}", signal_name(-code))?,
                    code => write!(f, "exited with code {code} before it had a result")?,
                }
                if let Some(doing) = &death.doing {
                    write!(f, " while it ran {doing}")?;
                }
                if let Some(limit) = death.memory_limit {
                    write!(
                        f,
                        ", for which it needed more than the {limit} bytes of memory that it may have"
                    )?;
                }
                match death.tries {
                    0 | 1 => Ok(()),
                    tries => write!(f, ", which was tried {tries} times"),
                }
            }
            Cause::Overrun(Overrun { what, pid, limit }) => write!(
                f,
                "{what} took longer than {limit:?}, and was killed with worker process {pid}"
            ),
            Cause::Cancelled { what } => write!(f, "{what} was cancelled"),
            Cause::NodeLost { what, losses } => {
                write!(f, "the node that had {what} is gone, and it may have run")?;
                match losses {
                    0 | 1 => Ok(()),
                    losses => write!(f, "; {losses} nodes were lost with it"),
                }
            }
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)?;
        match self.panic_info().and_then(|info| info.backtrace.as_deref()) {
            Some(backtrace) => write!(f, "\n\nbacktrace in its process:\n{backtrace}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// Returns a signal's name by its number on Linux (signal(7)).
fn signal_name(number: i32) -> String {
    const NAMES: [&str; 32] = [
        "",
        "SIGHUP",
        "SIGINT",
        "SIGQUIT",
        "SIGILL",
        "SIGTRAP",
        "SIGABRT",
        "SIGBUS",
        "SIGFPE",
        "SIGKILL",
        "SIGUSR1",
        "SIGSEGV",
        "SIGUSR2",
        "SIGPIPE",
        "SIGALRM",
        "SIGTERM",
        "SIGSTKFLT",
        "SIGCHLD",
        "SIGCONT",
        "SIGSTOP",
        "SIGTSTP",
        "SIGTTIN",
        "SIGTTOU",
        "SIGURG",
        "SIGXCPU",
        "SIGXFSZ",
        "SIGVTALRM",
        "SIGPROF",
        "SIGWINCH",
        "SIGIO",
        "SIGPWR",
        "SIGSYS",
    ];
    match usize::try_from(number).ok().and_then(|n| NAMES.get(n)) {
        Some(name) if !name.is_empty() => format!("{name} (signal {number})"),
        _ => format!("signal {number}"),
    }
}
