//! The owner's handle of a pool of worker processes.
//!
//! This file has the calls for users; [`event_loop`](super::event_loop) runs the pool,
//! [`scheduler`](super::scheduler) assigns tasks, [`supervisor`](super::supervisor) handles
//! deaths of workers.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::family;
use crate::pool::api::limits::SetupLimit;
use crate::pool::api::outcome::Sink;
use crate::pool::api::pool_end::PoolEnd;
use crate::pool::api::result_stream::StreamLimits;
use crate::pool::api::source::Source;
use crate::pool::api::starter::WorkerStarter;
use crate::pool::api::stats::PoolStats;
use crate::pool::api::task::Task;
use crate::pool::owner::cancel::RunningTasks;
use crate::pool::owner::core::PoolCore;
use crate::pool::owner::feed::{EmptyFeed, FedCall, Feed};
use crate::pool::owner::function_names::FunctionNames;
use crate::pool::owner::leadership::Leadership;
use crate::pool::owner::restart_budget::{RestartBudget, Restarts};
use crate::pool::owner::scheduler::{Phase, PoolState};
use crate::pool::owner::supervisor::Wanted;
use crate::pool::owner::watch::Watch;
use crate::pool::owner::worker_slot::WorkerSlot;
use crate::pool::shm::summary::PoolSummary;
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::sandbox::{Need, must_allow};
use procession_sys::wait::signal::Signal;
use procession_sys::wait::time::Deadline;

/// Configures a pool.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many workers, at least one.
    pub size: usize,
    /// After how many tasks a worker is replaced; `None` for never.
    pub tasks_per_worker: Option<u32>,
    /// How many workers may die without a task.
    pub restarts: Restarts,
    /// After how long without a task a worker ends; others are started when there is more to
    /// do. `None` for never.
    pub idle_timeout: Option<Duration>,
    /// How long a worker may take to set itself up.
    pub setup_limit: Option<SetupLimit>,
}

impl Config {
    /// Returns the configuration of a plain pool of `size` workers.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self {
            size,
            tasks_per_worker: None,
            restarts: Restarts::default(),
            idle_timeout: None,
            setup_limit: None,
        }
    }
}

/// Runs tasks in worker processes.
///
/// Dropping it terminates it. In a forked copy of its process, all calls are refused and
/// dropping it has no effect.
pub struct Pool<S: Sink> {
    shared: Arc<PoolCore<S>>,
}

/// Describes one worker, for views of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerView {
    /// Its place in the pool.
    pub index: u32,
    /// Its process id.
    pub pid: u32,
    /// How many tasks it has done.
    pub done: u64,
    /// How many tasks it has now, the running one included.
    pub load: u32,
    /// Whether it takes no more tasks and has none: it ends, or has ended.
    pub is_ending: bool,
}

impl<S: Sink> Pool<S> {
    /// Makes a pool and starts its workers.
    ///
    /// # Errors
    /// `Invalid` for a size of 0; otherwise the starter's error. Nothing is left
    /// behind then.
    pub fn new(config: Config, sink: S, starter: Box<dyn WorkerStarter>) -> Result<Self> {
        // An error drops the pool, which ends the workers that were started.
        let pool = Self::without_workers(config, sink, starter)?;
        pool.start()?;
        Ok(pool)
    }

    /// Makes a pool that has no workers until it is [started](Self::start) or driven.
    ///
    /// # Errors
    /// `Invalid` for a size of 0, and when no descriptor is left.
    pub fn without_workers(
        config: Config,
        sink: S,
        starter: Box<dyn WorkerStarter>,
    ) -> Result<Self> {
        if config.size == 0 || config.tasks_per_worker == Some(0) {
            return Err(Error::new(
                ErrorKind::Invalid,
                "a pool needs at least one worker, and a worker at least one task",
            ));
        }
        must_allow(Need::Bells)?;
        let family = family()?;
        let watch = Watch::new(family)?;
        let budget = RestartBudget::new(config.restarts);
        let summary = Arc::new(PoolSummary::create(family, watch.number)?);
        let names = Arc::new(FunctionNames::new(family, Arc::clone(&summary)));
        let mut state = PoolState::new(
            config.size,
            budget,
            watch,
            Arc::clone(&names),
            Arc::clone(&summary),
        );
        state.idle_timeout = config.idle_timeout;
        state.setup_limit = config.setup_limit;
        Ok(Self {
            shared: Arc::new(PoolCore {
                family,
                owner: family.me(),
                sink,
                starter,
                state: Mutex::new(state),
                lead: Leadership::default(),
                started: Signal::default(),
                tasks_per_worker: config.tasks_per_worker,
                names,
                summary,
                collector_wake: AtomicU32::new(0),
                collector: Mutex::new(None),
            }),
        })
    }

    /// Starts the workers that are missing. Those that other threads are starting are there, too,
    /// when it returns.
    ///
    /// # Errors
    /// The starter's error, if no worker runs; the pool has ended then.
    /// `Interrupted` when the starter was interrupted; the running workers go on.
    pub fn start(&self) -> Result<()> {
        self.shared.check_owner()?;
        self.shared.start_missing(Wanted::All)?;
        self.shared.await_starts()?;
        self.look_after_idle();
        Ok(())
    }

    /// Submits a task.
    ///
    /// For its outcome, the caller has to [`drive`](Self::drive) the pool or to call
    /// [`deliver_in_background`](Self::deliver_in_background).
    ///
    /// # Errors
    /// `Closed` when the pool takes no more tasks, `NotOwner` in a forked copy;
    /// the task is dropped.
    pub fn submit(&self, task: Task<S::Token>) -> Result<()> {
        self.shared.check_owner()?;
        let mut state = self.shared.lock();
        state.check_running()?;
        state.submit(task);
        if state.is_waiting() || !state.turns.is_empty() {
            self.shared.wake_leader(&state);
        }
        Ok(())
    }

    /// Submits a source of tasks, which are queued behind all tasks submitted before.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn submit_source(&self, source: Box<dyn Source<S::Token>>) -> Result<()> {
        self.shared.check_owner()?;
        let mut state = self.shared.lock();
        state.check_running()?;
        state.submit_source(source);
        self.shared.wake_leader(&state);
        Ok(())
    }

    /// Makes a feed of the tasks of a call, which one thread makes ahead of the workers. The
    /// pool runs them after those submitted before.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn feed(&self, call: Box<dyn FedCall>, empty: EmptyFeed) -> Result<Feed<S>> {
        Feed::new(&self.shared, call, empty)
    }

    /// Returns how many tasks of so many inputs each may be ahead of whoever fetches their
    /// results.
    #[must_use]
    pub fn stream_limits(&self, inputs: usize) -> StreamLimits {
        StreamLimits::new(self.shared.lock().size, inputs)
    }

    /// Polls the sources again that had nothing for now. If no thread drives the pool, the
    /// caller has to call [`deliver_in_background`](Self::deliver_in_background) again.
    ///
    /// # Errors
    /// `NotOwner` in a forked copy.
    pub fn resume_sources(&self) -> Result<()> {
        self.shared.check_owner()?;
        let mut state = self.shared.lock();
        if state.resume() {
            self.shared.wake_leader(&state);
        }
        Ok(())
    }

    /// Leads or follows until `done`; meanwhile results are delivered and tasks assigned.
    /// `done` is called often and must be quick.
    ///
    /// # Errors
    /// `TimedOut` at the deadline. `Interrupted` when a signal arrived, and from time
    /// to time without a signal when there is much to do: the caller checks for
    /// signals and calls again. `Closed` when the pool has ended before `done`.
    pub fn drive(&self, done: &dyn Fn() -> bool, deadline: Deadline) -> Result<()> {
        self.shared.check_owner()?;
        let driven = self.shared.drive(done, deadline);
        self.look_after_idle();
        driven
    }

    /// Makes a background thread deliver results while no caller drives the pool.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn deliver_in_background(&self) -> Result<()> {
        self.shared.check_owner()?;
        super::background::ensure_running(&self.shared)
    }

    /// Cancels the tasks that `which` selects, and the sources that are
    /// [cancelled](Source::is_cancelled); tasks that run are killed with their
    /// workers, or spared, as `running` says. Returns the number of cancelled tasks and
    /// sources. `which` is called under a lock of the pool: it must be quick and must not call
    /// the pool.
    ///
    /// # Errors
    /// `NotOwner` in a forked copy.
    pub fn cancel(
        &self,
        which: &dyn Fn(&S::Token) -> bool,
        running: RunningTasks,
    ) -> Result<usize> {
        self.shared.check_owner()?;
        self.shared.cancel(which, running)
    }

    /// Tells whether a worker runs a task that `which` selects, as of now. `which` is called
    /// under a lock of the pool, as in [`cancel`](Self::cancel).
    #[must_use]
    pub fn is_running(&self, which: &dyn Fn(&S::Token) -> bool) -> bool {
        self.shared.check_owner().is_ok()
            && self.shared.lock().slots.iter().any(|slot| slot.runs(which))
    }

    /// Has the threads that [`drive`](Self::drive) look whether what they wait for is done. A
    /// face calls it within a delivery that may still take long.
    pub fn notify(&self) {
        self.shared.lead.notify_followers();
    }

    /// Closes the pool: it takes no more tasks, and the workers end after the last one.
    pub fn close(&self) {
        if self.shared.check_owner().is_err() {
            return;
        }
        let mut state = self.shared.lock();
        if matches!(state.phase, Phase::Running) {
            state.phase = Phase::Closed;
        }
        state.retire_surplus();
        self.shared.wake_leader(&state);
    }

    /// Waits until all workers have ended, after [`close`](Self::close) or
    /// [`terminate`](Self::terminate).
    ///
    /// # Errors
    /// As [`drive`](Self::drive); `Invalid` when the pool is still running.
    pub fn join(&self, deadline: Deadline) -> Result<()> {
        self.shared.check_owner()?;
        if matches!(self.shared.lock().phase, Phase::Running) {
            return Err(Error::new(
                ErrorKind::Invalid,
                "the pool still takes tasks: close or terminate it before it is joined",
            ));
        }
        let all_ended = || {
            let state = self.shared.lock();
            // A pool may have no workers, and tasks for which some are about to be started.
            state.is_drained() && state.slots.is_empty() && state.starting.is_empty()
        };
        match self.shared.drive(&all_ended, deadline) {
            Err(error) if error.kind() != ErrorKind::Closed => return Err(error),
            _ => {}
        }
        // Frees what only a running pool needs; does nothing the second time.
        self.shared.finish(PoolEnd::Closed);
        Ok(())
    }

    /// Ends all workers, busy or not, and fails the tasks without an outcome. No worker is
    /// left when it returns.
    pub fn terminate(&self) {
        if self.shared.check_owner().is_ok() {
            self.shared.finish(PoolEnd::Terminated);
        }
    }

    /// Changes the number of workers. Missing ones are started by [`start`](Self::start), or
    /// when the pool is next driven. Of surplus ones those end that are idle, or else
    /// when they have done the task that they run. Calls nobody back.
    ///
    /// # Errors
    /// `Invalid` for a size of 0, `Closed` when the pool takes no more tasks, `NotOwner`
    /// in a forked copy.
    pub fn resize(&self, size: usize) -> Result<()> {
        self.shared.check_owner()?;
        if size == 0 {
            return Err(Error::new(
                ErrorKind::Invalid,
                "a pool needs at least one worker",
            ));
        }
        let mut state = self.shared.lock();
        state.check_running()?;
        state.size = size;
        state.renumber_turns();
        state.retire_surplus();
        // It has tasks to assign that were taken back.
        self.shared.wake_leader(&state);
        let has_retiring = state.has_retiring();
        drop(state);
        if has_retiring {
            self.reap_in_background();
        }
        Ok(())
    }

    /// Has the collector run if workers are to end while nobody drives the pool.
    fn look_after_idle(&self) {
        if self.shared.lock().is_to_be_looked_after() {
            self.reap_in_background();
        }
    }

    /// Has the collector run until workers that were retired are reaped.
    fn reap_in_background(&self) {
        // Without a thread they end, or are reaped, when the pool is next driven.
        let _ = super::background::ensure_running(&self.shared);
    }

    /// Returns why the pool has ended, if it has.
    #[must_use]
    pub fn end(&self) -> Option<Arc<PoolEnd>> {
        match &self.shared.lock().phase {
            Phase::Ended(end) => Some(Arc::clone(end)),
            _ => None,
        }
    }

    /// Returns a view of each worker.
    #[must_use]
    pub fn workers(&self) -> Vec<WorkerView> {
        if self.shared.check_owner().is_err() {
            return Vec::new();
        }
        let state = self.shared.lock();
        let view = |slot: &WorkerSlot<S::Token>| WorkerView {
            index: slot.channel.index.load(Ordering::Relaxed),
            pid: slot.process.pid(),
            done: slot.done,
            load: slot.load(),
            is_ending: slot.is_ending(),
        };
        state.slots.iter().map(view).collect()
    }

    /// Returns the number under which tasks of a function are counted, by the name that
    /// [`stats`](Self::stats) shows. The faces remember it: looking it up takes longer than
    /// counting a task does.
    #[must_use]
    pub fn label(&self, name: &str) -> u32 {
        self.shared.names.label(name)
    }

    /// Returns what the pool has done since it was made, and what it does; of a pool that has
    /// ended, too.
    ///
    /// # Errors
    /// `NotOwner` in a forked copy of the process that has made it.
    pub fn stats(&self) -> Result<PoolStats> {
        self.shared.check_owner()?;
        let names = self.shared.names.all();
        Ok(self.shared.lock().stats(&names))
    }

    /// Returns how many tasks were submitted and have no outcome yet.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.shared.lock().outstanding.tasks
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
            // In a forked copy, the workers and channels belong to another process.
            std::mem::forget(Arc::clone(&self.shared));
            return;
        }
        self.shared.finish(PoolEnd::Terminated);
    }
}

impl<T> PoolState<T> {
    pub(crate) fn check_running(&self) -> Result<()> {
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
