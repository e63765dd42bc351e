//! Describing a pool, and starting its workers.

use std::ffi::OsString;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use procession_engine::pool as engine;
use procession_engine::process;
use procession_engine::shm::{Loans, Stamp};
use procession_engine::sys::attributes::environment;
use procession_engine::sys::process::exit_status::ExitStatus;
use serde_core::Serialize;

use crate::codec;
use crate::cpu_count::cpu_count;
use crate::error::{Error, Result};
use crate::function::{Callable, EntryRef, must_be_bare};
use crate::launch::{self, Launch, Role};
use crate::pool::call::Deliver;
use crate::pool::pool::Pool;
#[cfg(feature = "seccomp")]
use crate::pool::syscall_filter::SyscallFilter;
use crate::pool::worker::Setup;
use crate::program;
use crate::start_method::{self, StartMethod};

/// Says how a pool is to be.
///
/// # Examples
///
/// ```
/// use procession::{Pool, StartMethod};
///
/// # procession::init();
/// let pool = Pool::builder()
///     .workers(1)
///     .start_method(StartMethod::Spawn)
///     .tasks_per_worker(10)
///     .initializer(|greeting: String| println!("{greeting}"), "ready".to_owned())
///     .start()?;
/// assert_eq!(pool.apply(|| 1, ())?, 1);
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Debug, Default)]
#[must_use = "a pool does nothing before it is started"]
pub struct PoolBuilder {
    workers: Option<usize>,
    method: Option<StartMethod>,
    tasks_per_worker: Option<u32>,
    initializer: Option<Result<Initializer>>,
    initializer_timeout: Option<Duration>,
    idle_timeout: Option<Duration>,
    terms: engine::TaskPolicy,
    bounds: engine::WorkerLimits,
    affinity: Option<PerWorker<usize>>,
    env: Option<PerWorker<(OsString, OsString)>>,
    #[cfg(feature = "seccomp")]
    filter: Option<SyscallFilter>,
}

/// Makes something for the worker at a place.
struct PerWorker<T>(Box<dyn Fn(u32) -> Vec<T> + Send + Sync>);

impl<T> PerWorker<T> {
    fn new<I: IntoIterator<Item = T>>(make: impl Fn(u32) -> I + Send + Sync + 'static) -> Self {
        Self(Box::new(move |index| make(index).into_iter().collect()))
    }
}

impl<T> fmt::Debug for PerWorker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a function of the worker's index")
    }
}

impl Pool {
    /// Starts a pool of `workers`.
    ///
    /// # Errors
    /// As [`PoolBuilder::start`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::new(2)?;
    /// assert_eq!(pool.map(|n: u32| n * 2, [1, 2, 3])?, [2, 4, 6]);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn new(workers: usize) -> Result<Self> {
        Self::builder().workers(workers).start()
    }

    /// Begins to describe a pool.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::builder().workers(1).start()?;
    /// assert_eq!(pool.apply(|| 6 * 7, ())?, 42);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }
}

impl PoolBuilder {
    /// Begins with the defaults: as many workers as [`cpu_count`] says, the
    /// default start method, workers that live as long as the pool.
    ///
    /// [`cpu_count`]: crate::cpu_count
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{PoolBuilder, cpu_count};
    /// # procession::init();
    /// let pool = PoolBuilder::new().start()?;
    /// assert_eq!(pool.workers().len(), cpu_count().get());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the number of workers.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::builder().workers(3).start()?;
    /// assert_eq!(pool.workers().len(), 3);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Starts the pool.
    ///
    /// # Errors
    /// `is_uninitialised` when `procession::init()` was not called,
    /// `is_invalid` for no workers, [`StartMethod::Fork`] or a variable that no
    /// environment can have, and the system's
    /// refusal when it has no room for the workers. Nothing is left behind.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let refused = Pool::builder().workers(0).start().unwrap_err();
    /// assert!(refused.is_invalid());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn start(self) -> Result<Pool> {
        let (pool, terms) = self.start_with(Deliver)?;
        Ok(Pool::of(pool.into(), terms))
    }

    /// Starts the engine's pool, whose outcomes go to `sink`.
    pub(crate) fn start_with<S: engine::Sink>(
        self,
        sink: S,
    ) -> Result<(engine::Pool<S>, engine::TaskPolicy)> {
        let initializer = self.initializer.transpose()?;
        let starter = Starter {
            method: self.method.unwrap_or_else(start_method::start_method),
            initializer,
            bounds: self.bounds,
            affinity: self.affinity,
            env: self.env,
            #[cfg(feature = "seccomp")]
            filter: self.filter,
        };
        let size = self.workers.unwrap_or_else(|| cpu_count().get());
        let config = engine::Config {
            tasks_per_worker: self.tasks_per_worker,
            idle_timeout: self.idle_timeout,
            setup_limit: self.initializer_timeout.map(|time| engine::SetupLimit {
                time,
                name: "the initializer".into(),
            }),
            ..engine::Config::new(size)
        };
        program::check()?;
        let pool = engine::Pool::new(config, sink, Box::new(starter))?;
        Ok((pool, self.terms))
    }

    /// Sets how workers are started.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Pool, StartMethod};
    /// # procession::init();
    /// let pool = Pool::builder().workers(1).start_method(StartMethod::Spawn).start()?;
    /// assert_eq!(pool.apply(|| 1, ())?, 1);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.method = Some(method);
        self
    }

    /// Calls a function in each worker before its first task. A worker whose
    /// initializer panics fails the pool: every task gets that error.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Pool, Queue};
    /// # procession::init();
    /// let ready = Queue::new()?;
    /// let pool = Pool::builder()
    ///     .workers(2)
    ///     .initializer(|ready: Queue<u32>| ready.put(std::process::id()).unwrap(), ready.clone())
    ///     .start()?;
    /// let pids = [ready.get()?, ready.get()?];
    /// assert_ne!(pids[0], pids[1]);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn initializer<F: Callable<M>, M>(mut self, function: F, arguments: F::Input) -> Self {
        const { must_be_bare::<F>() };
        let what = "the initializer";
        let initializer = EntryRef::of(function);
        self.initializer =
            Some(initializer.and_then(|entry| Initializer::new(entry, what, &arguments)));
        self
    }

    /// Makes `entry` set each worker up; `what` names it in errors.
    pub(crate) fn set_up_by(
        mut self,
        entry: EntryRef,
        what: &str,
        arguments: &impl Serialize,
    ) -> Self {
        self.initializer = Some(Initializer::new(entry, what, arguments));
        self
    }

    /// Tells whether there may be more workers than one, at a time or one after another, or
    /// something sets them up.
    pub(crate) fn replaces_workers(&self) -> bool {
        self.workers.is_some_and(|workers| workers != 1)
            || self.initializer.is_some()
            || self.tasks_per_worker.is_some()
            || self.idle_timeout.is_some()
            || self.bounds.resident.is_some()
    }

    /// Gives each worker so much time for its initializer. One that takes longer ends the pool:
    /// every task gets an error that says so, and names the worker.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # use std::time::Duration;
    /// # procession::init();
    /// let pool = Pool::builder()
    ///     .workers(1)
    ///     .initializer(|| std::thread::park(), ())
    ///     .initializer_timeout(Duration::from_millis(50))
    ///     .start()?;
    /// let error = pool.apply(std::process::id, ()).unwrap_err();
    /// assert!(error.to_string().contains("took longer than 0.05 s to set up worker 0"));
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn initializer_timeout(mut self, time: Duration) -> Self {
        self.initializer_timeout = Some(time);
        self
    }

    /// Has every task run again up to `times` times when its worker has died in it, unless the call
    /// says otherwise; see [`Pool::retries`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::builder().workers(1).retries(1).start()?;
    /// let error = pool.apply(|| -> u8 { std::process::abort() }, ()).unwrap_err();
    /// assert_eq!(error.tries(), Some(2));
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn retries(mut self, times: u32) -> Self {
        self.terms.retries = times;
        self
    }

    /// Replaces each worker when it has done so many tasks.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::builder().workers(1).tasks_per_worker(1).start()?;
    /// let first = pool.apply(std::process::id, ())?;
    /// assert_ne!(pool.apply(std::process::id, ())?, first);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn tasks_per_worker(mut self, tasks: u32) -> Self {
        self.tasks_per_worker = Some(tasks);
        self
    }

    /// Ends each worker that has had no task for so long. Others are started when there are
    /// tasks.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # use std::time::Duration;
    /// # procession::init();
    /// let pool = Pool::builder().idle_timeout(Duration::from_millis(50)).start()?;
    /// pool.apply(std::process::id, ())?;
    /// while !pool.workers().is_empty() {
    ///     std::thread::yield_now();
    /// }
    /// pool.apply(std::process::id, ())?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn idle_timeout(mut self, time: Duration) -> Self {
        self.idle_timeout = Some(time);
        self
    }

    /// Refuses each worker more than so many bytes of private memory. A task that needs more dies
    /// with its worker, as Rust programs do, and fails with `is_out_of_memory`; the pool goes on.
    /// Shared memory is not counted.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::builder().workers(1).memory_limit(256 << 20).start()?;
    /// let error = pool.apply(|| vec![1_u8; 1 << 30].len(), ()).unwrap_err();
    /// assert!(error.is_out_of_memory());
    /// assert_eq!(error.memory_limit(), Some(256 << 20));
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.bounds.memory = Some(bytes);
        self
    }

    /// Replaces a worker that has more than so many bytes in RAM when its task is done; shared
    /// memory is not counted.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::builder().workers(1).max_memory_per_worker(256 << 20).start()?;
    /// assert_eq!(pool.apply(|| vec![1_u8; 1 << 20].len(), ())?, 1 << 20);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn max_memory_per_worker(mut self, bytes: u64) -> Self {
        self.bounds.resident = Some(bytes);
        self
    }

    /// Sets variables in each worker's environment, besides those of this process: a function of
    /// the worker's index returns names and values.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let env = |index: u32| [("DEVICE", index.to_string())];
    /// let pool = Pool::builder().workers(1).env(env).start()?;
    /// let device = pool.apply(|| std::env::var("DEVICE").ok(), ())?;
    /// assert_eq!(device.as_deref(), Some("0"));
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn env<I, N, V>(mut self, variables: impl Fn(u32) -> I + Send + Sync + 'static) -> Self
    where
        I: IntoIterator<Item = (N, V)>,
        N: Into<OsString>,
        V: Into<OsString>,
    {
        self.env = Some(PerWorker::new(move |index| {
            let pairs = variables(index).into_iter();
            let owned: Vec<_> = pairs
                .map(|(name, value)| (name.into(), value.into()))
                .collect();
            owned
        }));
        self
    }

    /// Runs each worker on certain processors: a function of the worker's index returns their
    /// numbers.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let pool = Pool::builder().workers(2).affinity(|_index| [0]).start()?;
    /// assert_eq!(pool.apply(procession::cpu_count, ())?.get(), 1);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn affinity<I: IntoIterator<Item = usize>>(
        mut self,
        cpus: impl Fn(u32) -> I + Send + Sync + 'static,
    ) -> Self {
        self.affinity = Some(PerWorker::new(cpus));
        self
    }

    /// Has the kernel ask a filter about each system call of a worker, from its first task on; with
    /// the feature `seccomp`, for code that may do what it should not.
    ///
    /// The filter is a program of the crate `seccompiler`. It holds for the worker's life, and for
    /// all that the worker starts; the initializer runs before. A worker itself needs memory, futexes, clocks,
    /// descriptors and sockets that are open, and to end, and what these are made of changes
    /// with the standard library: so say what is denied and allow the rest. Where the filter kills
    /// the process, the task fails with [`is_died`](crate::Error::is_died) and
    /// [`signal`](crate::Error::signal) 31 (SIGSYS); where it answers with an error, the task gets that.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
    ///
    /// # procession::init();
    /// let denied = [linux_raw_sys::general::__NR_socket];
    /// let filter: BpfProgram = SeccompFilter::new(
    ///     denied.map(|number| (number.into(), Vec::new())).into(),
    ///     SeccompAction::Allow,
    ///     SeccompAction::KillProcess,
    ///     std::env::consts::ARCH.try_into().unwrap(),
    /// )
    /// .and_then(BpfProgram::try_from)
    /// .unwrap();
    /// let pool = Pool::builder().workers(1).syscall_filter(&filter).start()?;
    /// let error = pool.apply(|| std::net::UdpSocket::bind("127.0.0.1:0").is_ok(), ()).unwrap_err();
    /// assert!(error.to_string().contains("SIGSYS"));
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[cfg(feature = "seccomp")]
    pub fn syscall_filter(mut self, program: &seccompiler::BpfProgram) -> Self {
        self.filter = Some(SyscallFilter::of(program));
        self
    }
}

/// The initializer of each worker, and its arguments.
#[derive(Debug)]
struct Initializer {
    call: (EntryRef, Vec<u8>),
    /// Keeps the objects alive whose handles are in the arguments, for as long as workers are
    /// started.
    _loans: Loans,
}

impl Initializer {
    fn new(entry: EntryRef, what: &str, arguments: &impl Serialize) -> Result<Self> {
        let encode = || codec::encode(arguments, format_args!("the arguments of {what}"));
        let (bytes, loans) = codec::collecting(encode)?;
        Ok(Self {
            call: (entry, bytes.to_vec()),
            _loans: loans,
        })
    }
}

/// Starts workers for the engine's pool.
struct Starter {
    method: StartMethod,
    initializer: Option<Initializer>,
    bounds: engine::WorkerLimits,
    affinity: Option<PerWorker<usize>>,
    env: Option<PerWorker<(OsString, OsString)>>,
    #[cfg(feature = "seccomp")]
    filter: Option<SyscallFilter>,
}

impl engine::WorkerStarter for Starter {
    fn start(
        &self,
        spec: engine::WorkerSpec,
    ) -> procession_engine::Result<Box<dyn engine::WorkerProcess>> {
        let bounds = engine::WorkerLimits {
            cpus: self.affinity.as_ref().map(|cpus| (cpus.0)(spec.index)),
            ..self.bounds.clone()
        };
        let env = self
            .env
            .as_ref()
            .map_or_else(Vec::new, |env| (env.0)(spec.index));
        environment::check(&env)?;
        let initializer = self.initializer.as_ref().map(|it| it.call.clone());
        let setup = Setup::new(spec.channel, initializer, bounds);
        #[cfg(feature = "seccomp")]
        let setup = setup.with_filter(self.filter.clone());
        let launch = Launch {
            role: Role::Worker(spec.index),
            name: format!("PoolWorker-{}", spec.index + 1),
            daemon: true,
            method: self.method,
            default_method: start_method::start_method(),
            server: None,
            env,
            #[cfg(any(feature = "log", feature = "tracing"))]
            relay: crate::relay::given(),
        };
        launch::start(&launch, &setup, "a worker's set-up")
            .map(|child| Box::new(PoolProcess(child)) as Box<dyn engine::WorkerProcess>)
            .map_err(Error::into_engine)
    }
}

/// A worker's process, as the engine's pool uses it.
struct PoolProcess(process::Child);

impl engine::WorkerProcess for PoolProcess {
    fn stamp(&self) -> Stamp {
        self.0.stamp()
    }

    fn pid(&self) -> u32 {
        self.0.pid()
    }

    fn watch(&self) -> procession_engine::Result<BorrowedFd<'_>> {
        self.0.watch()
    }

    fn is_watched(&self) -> bool {
        self.0.is_watched()
    }

    fn is_dead(&self) -> bool {
        self.0.is_dead()
    }

    fn try_wait(&self) -> procession_engine::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }

    fn signal(&self, signal: i32) -> procession_engine::Result<()> {
        self.0.signal(signal).map(drop)
    }
}
