//! Tasks that a thread makes ahead of the workers, of inputs that only this thread may ask for.
//!
//! To ask for an input may take long, and its type may not be one that crosses threads. So no
//! leader makes these tasks. The thread that has the inputs puts tasks into a [`Feed`], a small
//! buffer; the pool takes them from there, by a [`Source`], as workers need them. If workers wait
//! when a task is put, one of them gets it at once, whether or not any thread leads.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::pool::api::outcome::Sink;
use crate::pool::api::pool_end::PoolEnd;
use crate::pool::api::source::{Source, SourceStatus};
use crate::pool::api::task::Task;
use crate::pool::owner::background;
use crate::pool::owner::core::PoolCore;
use crate::pool::owner::scheduler::{Phase, PoolState};
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::wait::signal::Signal;
use procession_sys::wait::time::Deadline;

/// How many tasks are in the buffer at the most.
const MOST: usize = 1024;

/// How many bytes of tasks are in the buffer at the most, the last task not counted.
const MOST_BYTES: usize = 1 << 20;

/// How long a thread that makes tasks goes on without reading replies: meanwhile workers may
/// need more tasks, or have died.
const ROUND: Duration = Duration::from_micros(200);

/// With so many tasks in the buffer the clock is only looked at once in as many puts.
const UNTIMED: usize = 8;

/// The call whose tasks a feed has.
pub trait FedCall: Send + Sync + 'static {
    /// Tells whether no more than so many tasks are to be made until results are fetched; the
    /// thread that fetches them then calls
    /// [`resume_sources`](crate::pool::Pool::resume_sources).
    fn is_full(&self, _tasks: usize) -> bool {
        false
    }

    /// Returns the priority of its tasks.
    fn priority(&self) -> i32 {
        0
    }

    /// Tells whether tasks that have not begun are not wanted. Must be quick, and must not
    /// call the pool.
    fn is_cancelled(&self) -> bool;

    /// Is called when the pool takes no more tasks from a feed that is not complete, after so
    /// many that were put.
    fn cut_off(&self, _tasks: usize, _why: CutOff<'_>) {}
}

/// Why a pool takes no more tasks from a feed.
#[derive(Clone, Copy, Debug)]
pub enum CutOff<'a> {
    /// The call was cancelled.
    Cancelled,
    /// The pool has ended.
    Ended(&'a PoolEnd),
}

/// What a feed is to its pool while it is empty and not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmptyFeed {
    /// A pool that is closed waits for it, and takes what comes. Meanwhile results are
    /// delivered in the background.
    IsAwaited,
    /// A pool that is closed ends without it, and refuses what comes.
    IsLeft,
}

/// What a thread that may lead does before it puts the next task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "workers may have nothing to do"]
pub enum AfterPut {
    /// Nothing.
    GoOn,
    /// It has not led for a while, and should [keep up](Feed::keep_up).
    KeepUp,
    /// The feed is full: it has to [make room](Feed::make_room), or to wait for it.
    MakeRoom,
}

/// The thread's side of a feed. Dropping it completes it.
pub struct Feed<S: Sink> {
    pool: Arc<PoolCore<S>>,
    shared: Arc<Shared<S::Token>>,
}

struct Shared<T> {
    call: Box<dyn FedCall>,
    empty: EmptyFeed,
    /// Locked before the pool's state, never after.
    buffer: Mutex<Buffer<T>>,
    /// Whether there is a task in it, or may be one later.
    is_open: AtomicBool,
    /// Tells the thread that there may be room.
    room: Signal,
}

struct Buffer<T> {
    tasks: VecDeque<Task<T>>,
    bytes: usize,
    /// How many tasks were put.
    put: usize,
    /// No more will be put.
    is_complete: bool,
    /// The pool has found it empty, and has no source to poll until a task is put.
    is_wanted: bool,
    /// The pool takes no more, or has refused a task.
    is_cut_off: bool,
    /// When the thread last led, or began.
    led: Instant,
}

impl<S: Sink> Feed<S> {
    /// Makes a feed; see [`Pool::feed`](crate::pool::Pool::feed).
    pub(crate) fn new(
        pool: &Arc<PoolCore<S>>,
        call: Box<dyn FedCall>,
        empty: EmptyFeed,
    ) -> Result<Self> {
        pool.check_owner()?;
        let shared = Arc::new(Shared {
            call,
            empty,
            buffer: Mutex::new(Buffer {
                tasks: VecDeque::new(),
                bytes: 0,
                put: 0,
                is_complete: false,
                is_wanted: true,
                is_cut_off: false,
                led: Instant::now(),
            }),
            is_open: AtomicBool::new(true),
            room: Signal::default(),
        });
        let mut state = pool.lock();
        state.check_running()?;
        if empty == EmptyFeed::IsAwaited {
            let source = FeedSource(Arc::clone(&shared));
            state.idle_sources.push(Box::new(source));
        }
        drop(state);
        Ok(Self {
            pool: Arc::clone(pool),
            shared,
        })
    }

    /// Puts a task into the feed, which does not wait for room. If workers wait for it, one of
    /// them gets it at once. Tells what is to be done before the next one is put.
    ///
    /// # Errors
    /// `Closed` when the pool takes no more tasks of this feed, `NotOwner` in a forked copy;
    /// the task is dropped.
    pub fn put(&self, task: Task<S::Token>) -> Result<AfterPut> {
        self.pool.check_owner()?;
        let must_be_timed = task.policy.timeout.is_some();
        let mut buffer = self.shared.lock();
        if buffer.is_wanted || buffer.is_cut_off {
            if let Some((task, error)) = self.give(&mut buffer, task) {
                // Dropped without the lock: what a task refers to belongs to the program, and its
                // destructor may do anything.
                drop(buffer);
                drop(task);
                return Err(error);
            }
        } else {
            buffer.push(task);
        }
        buffer.put += 1;
        let after = buffer.after_put();
        drop(buffer);
        if must_be_timed || self.shared.empty == EmptyFeed::IsAwaited {
            background::ensure_running(&self.pool)?;
        }
        Ok(after)
    }

    /// Counts a task that could not be made. Tells whether the pool would have taken it.
    pub fn skip(&self) -> bool {
        let mut buffer = self.shared.lock();
        // What comes after the end is not counted: the call's last result is the end itself.
        buffer.put += usize::from(!buffer.is_cut_off);
        !buffer.is_cut_off
    }

    /// Gives a task to a worker, or else puts it into the buffer and has the pool poll. Returns
    /// it, and why, if the pool takes no more.
    fn give(
        &self,
        buffer: &mut Buffer<S::Token>,
        task: Task<S::Token>,
    ) -> Option<(Task<S::Token>, Error)> {
        let is_full = self.shared.call.is_full(buffer.put);
        let mut state = self.pool.lock();
        let is_taken = match (&state.phase, self.shared.empty) {
            (Phase::Closed, EmptyFeed::IsAwaited) => Ok(()),
            _ => state.check_running(),
        };
        let is_taken = is_taken.and(match buffer.is_cut_off {
            true => Err(cut_off()),
            false => Ok(()),
        });
        if let Err(error) = is_taken {
            // A pool that ends tells the call so only when its workers have ended. A feed that is
            // completed before that, as its thread gives up, must not pass for one with all tasks.
            buffer.is_cut_off = true;
            return Some((task, error));
        }
        // A cancel looks for the call's tasks with the state locked, and before that the call is
        // marked: a task that comes after it goes the way on which it is found to be cancelled.
        let left = match is_full || self.shared.call.is_cancelled() {
            true => Some(task),
            false => state.try_assign(task).err(),
        };
        if let Some(task) = left {
            buffer.push(task);
            self.resume(buffer, &mut state);
        }
        None
    }

    /// Has the pool poll the feed again.
    fn resume(&self, buffer: &mut Buffer<S::Token>, state: &mut PoolState<S::Token>) {
        buffer.is_wanted = false;
        match self.shared.empty {
            // Its source is, or soon will be, among the sources that had no tasks for now.
            EmptyFeed::IsAwaited => {
                state.resume();
            }
            EmptyFeed::IsLeft => {
                state.submit_source(Box::new(FeedSource(Arc::clone(&self.shared))));
            }
        }
        self.pool.wake_leader(state);
    }

    /// Tells whether there is room in the buffer, or nothing is to be put any more.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.shared.lock().has_room(1)
    }

    /// Tells whether half of the buffer is free, or nothing is to be put any more.
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.shared.lock().has_room(2)
    }

    /// Waits until there is room, without leading; tells whether there is.
    ///
    /// # Errors
    /// `Interrupted` when a signal arrived.
    pub fn wait_for_room(&self, deadline: Deadline) -> Result<bool> {
        self.shared.room.wait(&|| self.has_room(), deadline)
    }

    /// Leads until half of the buffer is free.
    ///
    /// # Errors
    /// As [`drive`](crate::pool::Pool::drive).
    pub fn make_room(&self) -> Result<()> {
        self.pool.drive(&|| self.is_low(), Deadline::NEVER)?;
        self.note_led();
        Ok(())
    }

    /// Leads for one round. So workers get more, and are replaced if they have died, while
    /// inputs come slowly.
    ///
    /// # Errors
    /// As [`drive`](crate::pool::Pool::drive).
    pub fn keep_up(&self) -> Result<()> {
        self.pool.drive_once()?;
        self.note_led();
        Ok(())
    }

    /// Says that this thread has just led in another way.
    pub fn note_led(&self) {
        self.shared.lock().led = Instant::now();
    }

    /// Says that no more tasks will be put. Tells whether the pool has taken, or will take,
    /// all that were.
    pub fn complete(&self) -> bool {
        if self.pool.check_owner().is_err() {
            // In a forked copy, the buffer may be locked by a thread that the copy does not have.
            return false;
        }
        let mut buffer = self.shared.lock();
        if buffer.is_complete || buffer.is_cut_off {
            return !buffer.is_cut_off;
        }
        buffer.is_complete = true;
        self.shared.note_open(&buffer);
        let is_resumed = buffer.is_wanted && self.shared.empty == EmptyFeed::IsAwaited;
        if is_resumed {
            let mut state = self.pool.lock();
            self.resume(&mut buffer, &mut state);
        }
        drop(buffer);
        if is_resumed {
            // Without a thread for it, the next one that leads finds that the feed is done.
            let _ = background::ensure_running(&self.pool);
        }
        true
    }
}

impl<S: Sink> std::fmt::Debug for Feed<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed")
            .field("empty", &self.shared.empty)
            .finish_non_exhaustive()
    }
}

impl<S: Sink> Drop for Feed<S> {
    fn drop(&mut self) {
        self.complete();
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Buffer<T>> {
        // No face is called while it is locked, but to ask whether the call is full.
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_open(&self, buffer: &Buffer<T>) {
        let is_open = !(buffer.is_complete && buffer.tasks.is_empty());
        // Relaxed: a cancel counts what is left at any moment of its work.
        self.is_open.store(is_open, Ordering::Relaxed);
    }
}

impl<T> Buffer<T> {
    fn push(&mut self, task: Task<T>) {
        self.bytes += task.payload.len();
        self.tasks.push_back(task);
    }

    fn after_put(&self) -> AfterPut {
        // Where there are several tasks in the buffer, all workers had enough to do a moment
        // ago, and the clock, which costs as much as the rest of a put, can wait.
        let is_looked_at = self.tasks.len() < UNTIMED || self.put.is_multiple_of(UNTIMED);
        match self.has_room(1) {
            false => AfterPut::MakeRoom,
            true if is_looked_at && self.led.elapsed() >= ROUND => AfterPut::KeepUp,
            true => AfterPut::GoOn,
        }
    }

    /// Tells whether `1 / part` of the buffer is free.
    fn has_room(&self, part: usize) -> bool {
        let has_room = self.tasks.len() < MOST / part && self.bytes < MOST_BYTES / part;
        has_room || self.is_cut_off
    }
}

/// The feed as the pool has it.
struct FeedSource<T>(Arc<Shared<T>>);

impl<T: Send> Source<T> for FeedSource<T> {
    fn fill(&mut self, tasks: &mut Vec<Task<T>>, most: usize) -> SourceStatus {
        let shared = &self.0;
        let mut buffer = shared.lock();
        if shared.call.is_full(buffer.put - buffer.tasks.len()) {
            return SourceStatus::Later;
        }
        let count = most.min(buffer.tasks.len());
        if count == 0 && !buffer.is_complete {
            // Wanted only now, when none of its tasks is on the way to the workers: so the next
            // task that is put overtakes none.
            buffer.is_wanted = true;
            return match shared.empty {
                EmptyFeed::IsAwaited => SourceStatus::Later,
                EmptyFeed::IsLeft => SourceStatus::Done,
            };
        }
        let before = tasks.len();
        tasks.extend(buffer.tasks.drain(..count));
        let taken = tasks[before..].iter().map(|task| task.payload.len());
        buffer.bytes -= taken.sum::<usize>();
        shared.note_open(&buffer);
        let is_done = buffer.is_complete && buffer.tasks.is_empty();
        drop(buffer);
        shared.room.notify();
        match is_done {
            true => SourceStatus::Done,
            false => SourceStatus::More,
        }
    }

    fn give_up(&mut self) -> Vec<Task<T>> {
        let mut buffer = self.0.lock();
        buffer.is_cut_off = true;
        buffer.bytes = 0;
        let left = std::mem::take(&mut buffer.tasks);
        drop(buffer);
        self.0.room.notify();
        left.into()
    }

    fn end(self: Box<Self>, end: &PoolEnd) {
        self.cut_off(CutOff::Ended(end));
    }

    fn priority(&self) -> i32 {
        self.0.call.priority()
    }

    fn is_cancelled(&self) -> bool {
        // Relaxed: see `note_open`.
        self.0.is_open.load(Ordering::Relaxed) && self.0.call.is_cancelled()
    }

    fn is_call_cancelled(&self) -> bool {
        self.0.call.is_cancelled()
    }

    fn cancel(self: Box<Self>) {
        self.cut_off(CutOff::Cancelled);
    }
}

impl<T> FeedSource<T> {
    fn cut_off(&self, why: CutOff<'_>) {
        let buffer = self.0.lock();
        let (is_complete, put) = (buffer.is_complete, buffer.put);
        drop(buffer);
        if !is_complete {
            self.0.call.cut_off(put, why);
        }
    }
}

fn cut_off() -> Error {
    Error::new(
        ErrorKind::Closed,
        "the call was cancelled: the pool takes no more of its tasks",
    )
}
