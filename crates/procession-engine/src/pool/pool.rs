//! A pool of worker processes, as its owner sees it.
//!
//! This file has what callers use; [`drive`](super::drive) reads the results,
//! [`dispatch`](super::dispatch) deals the tasks, [`supervise`](super::supervise)
//! minds the workers.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::arena::{Family, Stamp};
use crate::error::{Error, ErrorKind, Result};
use crate::os::doorbell::{self, Doorbell};
use crate::os::epoll::Epoll;
use crate::os::time::Deadline;
use crate::pool::budget::{Budget, Restarts};
use crate::pool::cancel::Running;
use crate::pool::dispatch::{Phase, State};
use crate::pool::lead::Lead;
use crate::pool::outcome::{PoolEnd, Sink};
use crate::pool::starter::WorkerStarter;
use crate::pool::task::{Source, Task};

/// The doorbells of pools bear numbers from here on.
const FIRST_DOORBELL: u32 = 0x8000_0000;

/// The key of the doorbell in the set of descriptors; seats count from 1.
pub(super) const DOORBELL: u64 = 0;

/// How a pool is to be.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How many workers, at least one.
    pub size: usize,
    /// After so many tasks a worker is replaced; `None` never.
    pub tasks_per_worker: Option<u32>,
    /// How many restarts for nothing are too many.
    pub restarts: Restarts,
}

impl Config {
    /// Returns the configuration of a plain pool of `size` workers.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self {
            size,
            tasks_per_worker: None,
            restarts: Restarts::default(),
        }
    }
}

/// Runs tasks in worker processes.
///
/// Dropping it terminates it. In a forked copy of its process it is inert.
pub struct Pool<S: Sink> {
    shared: Arc<Shared<S>>,
}

/// What one worker is, for views of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerView {
    /// Its place in the pool.
    pub index: u32,
    /// Its process id.
    pub pid: u32,
    /// How many tasks it has done.
    pub done: u64,
    /// How many it has, the running one included.
    pub load: u32,
}

pub(super) struct Shared<S: Sink> {
    pub config: Config,
    pub family: &'static Family,
    pub owner: Stamp,
    pub sink: S,
    pub starter: Box<dyn WorkerStarter>,
    pub state: Mutex<State<S::Token>>,
    pub lead: Lead,
    pub epoll: Epoll,
    pub doorbell: Doorbell,
    pub number: u32,
    /// What the collector parks on between its turns.
    pub call: AtomicU32,
    pub collector: Mutex<Option<JoinHandle<()>>>,
}

impl<S: Sink> Pool<S> {
    /// Makes a pool and starts its workers.
    ///
    /// # Errors
    /// `Invalid` for a size of 0; whatever the starter reports. Nothing is left
    /// behind then.
    pub fn new(config: Config, sink: S, starter: Box<dyn WorkerStarter>) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(FIRST_DOORBELL);
        if config.size == 0 || config.tasks_per_worker == Some(0) {
            return Err(Error::new(
                ErrorKind::Invalid,
                "a pool needs at least one worker, and a worker at least one task",
            ));
        }
        let family = Family::get()?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let doorbell = Doorbell::bind(family.id(), family.me().raw(), number)?;
        let epoll = Epoll::new()?;
        epoll.add(&doorbell, DOORBELL)?;
        let pool = Self {
            shared: Arc::new(Shared {
                config,
                family,
                owner: family.me(),
                sink,
                starter,
                state: Mutex::new(State::new(config.size, Budget::new(config.restarts))),
                lead: Lead::default(),
                epoll,
                doorbell,
                number,
                call: AtomicU32::new(0),
                collector: Mutex::new(None),
            }),
        };
        // An error drops the pool, which ends those that were started.
        pool.shared.start_missing()?;
        Ok(pool)
    }

    /// Hands in a task.
    ///
    /// Somebody has to [`drive`](Self::drive) the pool for its outcome, or
    /// [`attend`](Self::attend) has to be called.
    ///
    /// # Errors
    /// `Closed` when the pool takes no more tasks, `NotOwner` in a forked copy;
    /// the task is dropped.
    pub fn submit(&self, task: Task<S::Token>) -> Result<()> {
        self.shared.check_owner()?;
        let mut state = self.shared.lock();
        state.check_running()?;
        state.submit(task);
        if state.is_waiting() {
            self.shared.wake_leader();
        }
        Ok(())
    }

    /// Hands in a source of tasks, which take their turn after those that were
    /// handed in before.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn submit_source(&self, source: Box<dyn Source<S::Token>>) -> Result<()> {
        self.shared.check_owner()?;
        let mut state = self.shared.lock();
        state.check_running()?;
        state.submit_source(source);
        self.shared.wake_leader();
        Ok(())
    }

    /// Asks those sources again that had nothing for a while. If nobody drives
    /// the pool, [`attend`](Self::attend) has to be called again.
    ///
    /// # Errors
    /// `NotOwner` in a forked copy.
    pub fn resume_sources(&self) -> Result<()> {
        self.shared.check_owner()?;
        if self.shared.lock().resume() {
            self.shared.wake_leader();
        }
        Ok(())
    }

    /// Leads or follows until `done`: results are delivered and tasks handed
    /// out meanwhile. `done` is asked often and must be quick.
    ///
    /// # Errors
    /// `TimedOut` at the deadline. `Interrupted` when a signal arrived, and now
    /// and then without one when there is much to do: the caller looks for
    /// signals and calls again. `Closed` when the pool has ended and `done`
    /// will not come true.
    pub fn drive(&self, done: &dyn Fn() -> bool, deadline: Deadline) -> Result<()> {
        self.shared.check_owner()?;
        self.shared.drive(done, deadline)
    }

    /// Sees to it that results are delivered though nobody waits for them.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn attend(&self) -> Result<()> {
        self.shared.check_owner()?;
        super::collector::attend(&self.shared)
    }

    /// Cancels the tasks that `which` picks, and the sources that are
    /// [cancelled](Source::is_cancelled); those that run are killed with their
    /// workers, or spared. Returns how many tasks and sources it was. `which`
    /// is asked under a lock of the pool: it must be quick and not call it.
    ///
    /// # Errors
    /// `NotOwner` in a forked copy.
    pub fn cancel(&self, which: &dyn Fn(&S::Token) -> bool, running: Running) -> Result<usize> {
        self.shared.check_owner()?;
        self.shared.cancel(which, running)
    }

    /// Takes no more tasks; the workers end when they have done what they have.
    pub fn close(&self) {
        if self.shared.check_owner().is_err() {
            return;
        }
        let mut state = self.shared.lock();
        if matches!(state.phase, Phase::Running) {
            state.phase = Phase::Closed;
        }
        state.dismiss();
        self.shared.wake_leader();
    }

    /// Waits until all workers have ended, after [`close`](Self::close) or
    /// [`terminate`](Self::terminate).
    ///
    /// # Errors
    /// As [`drive`](Self::drive); `Invalid` when the pool is still running.
    pub fn join(&self, deadline: Deadline) -> Result<()> {
        self.shared.check_owner()?;
        if matches!(self.shared.lock().phase, Phase::Running) {
            return Err(Error::new(ErrorKind::Invalid, "the pool is still running"));
        }
        let gone = || {
            let state = self.shared.lock();
            state.seats.is_empty() && state.mourned.is_empty() && state.starting == 0
        };
        match self.shared.drive(&gone, deadline) {
            Err(error) if error.kind() != ErrorKind::Closed => return Err(error),
            _ => {}
        }
        // Frees what only a pool at work needs; does nothing the second time.
        self.shared.finish(PoolEnd::Closed);
        Ok(())
    }

    /// Ends the workers, busy or not, and fails what they have not done. All
    /// are gone when it returns.
    pub fn terminate(&self) {
        if self.shared.check_owner().is_ok() {
            self.shared.finish(PoolEnd::Terminated);
        }
    }

    /// Changes the number of workers: missing ones are started when the pool is
    /// next driven, surplus ones end when they are idle.
    ///
    /// # Errors
    /// `Invalid` for a size of 0, `NotOwner` in a forked copy.
    pub fn resize(&self, size: usize) -> Result<()> {
        self.shared.check_owner()?;
        if size == 0 {
            return Err(Error::new(
                ErrorKind::Invalid,
                "a pool needs at least one worker",
            ));
        }
        let mut state = self.shared.lock();
        state.size = size;
        state.dismiss();
        self.shared.wake_leader();
        Ok(())
    }

    /// Returns why the pool has ended, if it has.
    #[must_use]
    pub fn end(&self) -> Option<Arc<PoolEnd>> {
        match &self.shared.lock().phase {
            Phase::Ended(end) => Some(Arc::clone(end)),
            _ => None,
        }
    }

    /// Returns what the workers are at.
    #[must_use]
    pub fn workers(&self) -> Vec<WorkerView> {
        if self.shared.check_owner().is_err() {
            return Vec::new();
        }
        let state = self.shared.lock();
        let view = |seat: &super::seat::Seat<S::Token>| WorkerView {
            index: seat.lane.index.load(Ordering::Relaxed),
            pid: seat.process.pid(),
            done: seat.done,
            load: seat.load(),
        };
        state.seats.iter().map(view).collect()
    }

    /// Returns how many tasks were handed in and have no outcome yet.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.shared.lock().tally.outstanding
    }

    /// Returns the sink.
    pub fn sink(&self) -> &S {
        &self.shared.sink
    }
}

impl<S: Sink> std::fmt::Debug for Pool<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("workers", &self.workers())
            .finish_non_exhaustive()
    }
}

impl<S: Sink> Drop for Pool<S> {
    fn drop(&mut self) {
        if self.shared.check_owner().is_err() {
            // A forked copy: what it holds belongs to another process.
            std::mem::forget(Arc::clone(&self.shared));
            return;
        }
        self.shared.finish(PoolEnd::Terminated);
    }
}

impl<T> State<T> {
    fn check_running(&self) -> Result<()> {
        match &self.phase {
            Phase::Running => Ok(()),
            Phase::Closed => Err(Error::new(
                ErrorKind::Closed,
                "the pool is closed and takes no more tasks",
            )),
            Phase::Ended(end) => Err(Error::new(ErrorKind::Closed, end.to_string())),
        }
    }
}

impl<S: Sink> Shared<S> {
    pub(super) fn lock(&self) -> MutexGuard<'_, State<S::Token>> {
        // No face is called under the mutex; a panic of our own leaves state
        // that is as good as any.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_owner(&self) -> Result<()> {
        if self.family.me() == self.owner {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::NotOwner,
            "the pool belongs to the process that made it, not to this forked copy",
        ))
    }

    /// Has the leader look at the state again if it sleeps. To be called with
    /// the mutex held, or it could fall asleep in between.
    pub(super) fn wake_leader(&self) {
        if self.lead.is_asleep() {
            // It fails for lack of memory only; the leader's slice ends soon.
            let _ = doorbell::ring(self.family.id(), self.owner.raw(), self.number);
        }
    }
}
