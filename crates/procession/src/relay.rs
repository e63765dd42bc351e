//! The relay of logs: what children log and trace is handled by a process above them.
//!
//! A child puts each record into a queue in shared memory before the call of its logger or
//! subscriber returns, so none is lost however the child ends. A thread of the process that relays
//! takes them out, and hands them to that process's logger and subscriber. The queue is bounded: a
//! child that logs faster than that thread handles records waits for it, as long as the process
//! lives.

#[cfg(feature = "log")]
mod logger;
mod record;
mod sender;
#[cfg(feature = "tracing")]
mod spans;
#[cfg(feature = "tracing")]
mod subscriber;
mod value;

use std::collections::HashMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use procession_engine::shm::Stamp;
use procession_engine::sys::fd::stderr;

use crate::error::{Error, Result};
use crate::queue::Queue;
use crate::sync::Lock;
use record::{Letter, Record};

pub(crate) use sender::{RelayForChild, begin, given, renew_by_fork};

/// How many records may wait to be handled.
const CAPACITY: usize = 1024;

/// How often the thread looks whether a process with open spans has ended.
const PERIOD: Duration = Duration::from_secs(1);

/// Relays what children log and trace to this process's logger and subscriber, until it is stopped
/// or dropped; see [`relay_logs`]. With the features `log` and `tracing`.
///
/// # Examples
///
/// ```no_run
/// use procession::{LogRelay, relay_logs};
///
/// /// Sets the program's logger, and has it handle what children log as well.
/// fn begin_to_log(logger: &'static dyn log::Log) -> procession::Result<LogRelay> {
///     log::set_logger(logger).expect("no other logger was set");
///     log::set_max_level(log::LevelFilter::Info);
///     relay_logs()
/// }
/// ```
#[derive(Debug)]
#[must_use = "the relay ends when this is dropped"]
pub struct LogRelay {
    queue: Queue<Letter>,
    /// Held as long as this process relays. A child that waits learns from it that the relay has
    /// ended.
    alive: Lock,
    progress: Arc<Progress>,
    /// `None` once the thread has ended.
    thread: Option<JoinHandle<()>>,
    /// What children were given before this relay.
    before: Option<RelayForChild>,
}

/// How far the thread of a relay is.
#[derive(Debug, Default)]
struct Progress {
    state: Mutex<Marks>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Marks {
    /// The latest mark that was put into the queue, and the latest that the thread has passed.
    put: u64,
    passed: u64,
    has_ended: bool,
}

impl Progress {
    fn locked(&self) -> MutexGuard<'_, Marks> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Marks)) {
        change(&mut self.locked());
        self.changed.notify_all();
    }
}

/// Has records of the crate `log` (with the feature `log`) and spans and events of `tracing`
/// (with the feature `tracing`) that children make handled by this process's logger and
/// subscriber, as if they were its own.
///
/// Set logger and subscriber before, and after [`init`](crate::init): what `main` sets before
/// `init` each child sets, too, and keeps. All processes that are started from now on are relayed,
/// workers of pools and children of children included; only what the level that logger or
/// subscriber asks for lets through crosses, and filters are asked here. A record is in shared
/// memory when the call that made it returns, so none is lost when a process ends or is killed.
/// At most 1,024 wait to be handled: a child that logs faster than they are handled waits. So do
/// not wait for a child while you hold a lock that your logger or subscriber needs.
///
/// Spans and events are inside of a span `process` (of level ERROR and target `procession`) that has
/// the `name` and `pid` of their process; a record of `log` has the pairs `process` and `pid`.
/// Fields keep their types; those that only have a `Debug` form cross as that text, an error with
/// the texts of its sources. Times are those of the handling, and the spans of a process that has
/// died are closed.
///
/// A copy by [`start_by_fork`](crate::Process::start_by_fork) has the logger and subscriber of its
/// original in itself, so nothing is relayed.
///
/// # Errors
/// `is_invalid` when this process has neither a logger nor a subscriber, or relays already; when
/// memory or threads are exhausted.
///
/// # Examples
///
/// ```
/// use procession::{Pool, relay_logs};
///
/// struct ToStdout;
///
/// impl log::Log for ToStdout {
///     fn enabled(&self, _: &log::Metadata<'_>) -> bool {
///         true
///     }
///
///     fn log(&self, record: &log::Record<'_>) {
///         println!("{} {}", record.level(), record.args());
///     }
///
///     fn flush(&self) {}
/// }
///
/// # procession::init();
/// log::set_logger(&ToStdout).unwrap();
/// log::set_max_level(log::LevelFilter::Info);
/// let relay = relay_logs()?;
/// let pool = Pool::new(2)?;
/// pool.map(|n: u32| log::info!("task {n}"), [1, 2])?;
/// // Both were printed by this process.
/// relay.stop()?;
/// # Ok::<(), procession::Error>(())
/// ```
pub fn relay_logs() -> Result<LogRelay> {
    crate::program::check()?;
    let queue = Queue::bounded(CAPACITY)?;
    let alive = Lock::new()?;
    alive.acquire()?;
    let progress = Arc::new(Progress::default());
    let receiver = Receiver::new();
    let before = sender::relay_here(RelayForChild::new(&queue, &alive), receiver.levels())?;
    let begun = {
        let (queue, progress) = (queue.clone(), Arc::clone(&progress));
        thread::Builder::new()
            .name("procession-log-relay".to_owned())
            .spawn(move || run(&queue, receiver, &progress))
    };
    match begun {
        Ok(thread) => Ok(LogRelay {
            queue,
            alive,
            progress,
            thread: Some(thread),
            before,
        }),
        Err(error) => {
            sender::relay_no_more(before);
            Err(Error::invalid(format!(
                "cannot start the thread that relays logs: {error}"
            )))
        }
    }
}

impl LogRelay {
    /// Blocks until all that children have logged and traced so far is handled.
    ///
    /// # Errors
    /// `is_closed` when the relay has ended because of an error.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use procession::{Process, relay_logs};
    /// # procession::init();
    /// let relay = relay_logs()?;
    /// Process::new(|| log::warn!("no petrol")).start()?.join()?;
    /// relay.flush()?;
    /// // Now the warning was handled.
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn flush(&self) -> Result<()> {
        let mark = {
            let mut marks = self.progress.locked();
            marks.put += 1;
            marks.put
        };
        self.queue.put(Letter {
            from: 0,
            record: Record::Mark(mark),
        })?;
        let mut marks = self.progress.locked();
        while marks.passed < mark {
            if marks.has_ended {
                return Err(Error::closed("the relay of logs has ended"));
            }
            marks = self
                .progress
                .changed
                .wait(marks)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    /// Handles all records that are there, and ends the relay. Children that live go on; what they
    /// log from then on goes nowhere, as in a program without a logger.
    ///
    /// Dropping the relay does the same.
    ///
    /// # Errors
    /// When this process belongs to no family.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use procession::{Process, relay_logs};
    /// # procession::init();
    /// let relay = relay_logs()?;
    /// Process::new(|| log::warn!("no petrol")).start()?.join()?;
    /// relay.stop()?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        sender::relay_no_more(self.before.take());
        // From here on the queue refuses records; those that are in it can still be taken out.
        let closed = self.queue.close();
        // The thread does not panic: it catches panics of what it calls.
        let _ = thread.join();
        closed.and(self.alive.release())
    }
}

impl Drop for LogRelay {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            say(&format!("cannot stop: {error}"));
        }
    }
}

/// Handles records until there are no more.
fn run(queue: &Queue<Letter>, mut receiver: Receiver, progress: &Progress) {
    #[cfg(feature = "tracing")]
    let _default = receiver.spans.become_default();
    loop {
        let next = match receiver.has_open_spans() {
            true => queue.get_timeout(PERIOD),
            false => queue.get(),
        };
        match next {
            Ok(Letter {
                record: Record::Mark(mark),
                ..
            }) => progress.change(|marks| marks.passed = mark),
            Ok(letter) => {
                // If the program's logger or subscriber panics, its panic was printed, and only
                // this record is lost.
                let _ = panic::catch_unwind(AssertUnwindSafe(|| receiver.handle(letter, queue)));
            }
            Err(error) if error.is_timeout() => receiver.bury(&receiver.ended()),
            Err(error) if error.is_closed() => break,
            Err(error) if error.is_codec() => say(&format!("lost a record: {error}")),
            Err(error) => {
                say(&format!("has ended: {error}"));
                // Closed, so that nobody waits for this thread.
                let _ = queue.close_now();
                break;
            }
        }
    }
    let all: Vec<u32> = receiver.origins.keys().copied().collect();
    receiver.bury(&all);
    progress.change(|marks| marks.has_ended = true);
}

fn say(text: &str) {
    stderr::write(format!("procession: the relay of logs {text}\n").as_bytes());
}

/// Handles the records that arrive.
struct Receiver {
    origins: HashMap<u32, Origin>,
    /// Processes that have ended, and after how many more records all that they have put is
    /// handled.
    ended: Option<(Vec<u32>, usize)>,
    #[cfg(feature = "tracing")]
    spans: spans::Spans,
}

/// A process whose records are relayed.
#[derive(Clone, Debug)]
struct Origin {
    name: String,
    pid: u32,
}

impl Receiver {
    fn new() -> Self {
        Self {
            origins: HashMap::new(),
            ended: None,
            #[cfg(feature = "tracing")]
            spans: spans::Spans::of_caller(),
        }
    }

    /// Returns the levels that this process's logger and subscriber want.
    fn levels(&self) -> sender::Levels {
        sender::Levels {
            #[cfg(feature = "tracing")]
            dispatch: self.spans.dispatch(),
        }
    }

    fn handle(&mut self, Letter { from, record }: Letter, queue: &Queue<Letter>) {
        match record {
            Record::Hello { name, pid } => {
                let origin = Origin { name, pid };
                #[cfg(feature = "tracing")]
                self.spans.meet(from, &origin);
                self.origins.insert(from, origin);
                if self.ended.is_none() {
                    self.ended = Some((self.ended(), queue.len()));
                }
            }
            #[cfg(feature = "log")]
            Record::Log(record) => {
                if let Some(origin) = self.origins.get(&from) {
                    logger::handle(&record, origin);
                }
            }
            #[cfg(feature = "tracing")]
            Record::Trace(step) => self.spans.replay(from, step),
            Record::Mark(_) => {}
        }
        self.ended = match self.ended.take() {
            Some((ended, 0)) => {
                self.bury(&ended);
                None
            }
            Some((ended, left)) => Some((ended, left - 1)),
            None => None,
        };
    }

    fn has_open_spans(&self) -> bool {
        #[cfg(feature = "tracing")]
        return self.spans.any_open();
        #[cfg(not(feature = "tracing"))]
        false
    }

    /// Returns which processes have ended.
    fn ended(&self) -> Vec<u32> {
        let Ok(family) = procession_engine::family() else {
            return Vec::new();
        };
        let stamps = self.origins.keys().copied();
        stamps
            .filter(|&it| family.is_dead(Stamp::from_raw(it)))
            .collect()
    }

    /// Forgets processes whose records were all handled, and closes their spans.
    fn bury(&mut self, ended: &[u32]) {
        for stamp in ended {
            self.origins.remove(stamp);
            #[cfg(feature = "tracing")]
            {
                let part = || self.spans.part(*stamp);
                let _ = panic::catch_unwind(AssertUnwindSafe(part));
            }
        }
    }
}
