//! Describing a pool, and starting its workers.

use std::os::fd::BorrowedFd;

use procession_engine::arena::Stamp;
use procession_engine::os::exit_status::ExitStatus;
use procession_engine::pool as engine;
use procession_engine::process;

use crate::codec;
use crate::context::{self, StartMethod};
use crate::error::{Error, Result};
use crate::function::{Callable, EntryRef};
use crate::init;
use crate::launch::{self, Launch, Role};
use crate::pool::call::Deliver;
use crate::pool::pool::Pool;
use crate::pool::worker::Setup;

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
    initializer: Option<Result<(EntryRef, Vec<u8>)>>,
    terms: engine::Terms,
}

impl PoolBuilder {
    /// Begins with the defaults: as many workers as [`cpu_count`] says, the
    /// default start method, workers that live as long as the pool.
    ///
    /// [`cpu_count`]: crate::cpu_count
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the number of workers.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Sets how workers are started.
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.method = Some(method);
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

    /// Has every task run again so often when its worker has died in it, unless
    /// its call says otherwise; see [`Pool::retries`].
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
        let encoded = EntryRef::of(function).and_then(|entry| {
            codec::encode(&arguments, "the arguments of the initializer")
                .map(|bytes| (entry, bytes.to_vec()))
        });
        self.initializer = Some(encoded);
        self
    }

    /// Starts the pool.
    ///
    /// # Errors
    /// `is_uninitialised` when `procession::init()` was not called,
    /// `is_invalid` for no workers or [`StartMethod::Fork`], and the system's
    /// refusal when it has no room for the workers. Nothing is left behind.
    pub fn start(self) -> Result<Pool> {
        let initializer = self.initializer.transpose()?;
        let starter = Starter {
            method: self.method.unwrap_or_else(context::start_method),
            initializer,
        };
        let size = self.workers.unwrap_or_else(|| context::cpu_count().get());
        let config = engine::Config {
            tasks_per_worker: self.tasks_per_worker,
            ..engine::Config::new(size)
        };
        init::check()?;
        let pool = engine::Pool::new(config, Deliver, Box::new(starter))?;
        Ok(Pool::of(pool, self.terms))
    }
}

/// Starts workers for the engine's pool.
struct Starter {
    method: StartMethod,
    initializer: Option<(EntryRef, Vec<u8>)>,
}

impl engine::WorkerStarter for Starter {
    fn start(
        &self,
        opening: engine::Opening,
    ) -> procession_engine::Result<Box<dyn engine::WorkerProcess>> {
        let setup = Setup::new(opening.lane, self.initializer.clone());
        let launch = Launch {
            role: Role::Worker,
            name: format!("PoolWorker-{}", opening.index + 1),
            daemon: true,
            method: self.method,
            default_method: context::start_method(),
            server: None,
        };
        launch::start(&launch, &setup, "a worker's set-up")
            .map(|child| Box::new(Process(child)) as Box<dyn engine::WorkerProcess>)
            .map_err(Error::into_engine)
    }
}

/// A worker's process, as the engine's pool wants to see it.
struct Process(process::Child);

impl engine::WorkerProcess for Process {
    fn stamp(&self) -> Stamp {
        self.0.stamp()
    }

    fn pid(&self) -> u32 {
        self.0.pid()
    }

    fn sentinel(&self) -> BorrowedFd<'_> {
        self.0.sentinel()
    }

    fn try_wait(&self) -> procession_engine::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }

    fn signal(&self, signal: i32) -> procession_engine::Result<()> {
        self.0.signal(signal).map(drop)
    }
}
