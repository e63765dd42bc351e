//! What a process gives its children of a relay, and how a child puts records into it.
//!
//! # Safety
//! A copy by fork has one thread when it forgets the part of its original.

#![expect(unsafe_code, reason = "the part is forgotten in copies by fork")]

use std::time::Duration;

use procession_engine::sys::fd::stderr;
use procession_engine::sys::fork_safe::mutex::{ForkGuard, ForkMutex};
use serde::{Deserialize, Serialize};

use super::record::{Letter, Record};
use crate::error::Result;
use crate::queue::Queue;
use crate::sync::Lock;

/// How long to wait for room in the queue before looking whether the process that relays lives.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a child needs to have its records handled elsewhere.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RelayForChild {
    queue: Queue<Letter>,
    /// Held by the process that relays.
    alive: Lock,
    /// The most that the logger there wants, from 0 for nothing to 5 for all.
    #[cfg(feature = "log")]
    log_level: u8,
    /// The most that the subscriber there wants, likewise.
    #[cfg(feature = "tracing")]
    trace_level: u8,
}

impl RelayForChild {
    pub fn new(queue: &Queue<Letter>, alive: &Lock) -> Self {
        Self {
            queue: queue.clone(),
            alive: alive.clone(),
            #[cfg(feature = "log")]
            log_level: 0,
            #[cfg(feature = "tracing")]
            trace_level: 0,
        }
    }

    fn with_levels(mut self, levels: &Levels) -> Self {
        #[cfg(feature = "log")]
        {
            self.log_level = super::logger::wanted();
        }
        #[cfg(feature = "tracing")]
        {
            self.trace_level = super::subscriber::wanted(&levels.dispatch);
        }
        let _ = levels;
        self
    }

    fn wants_nothing(&self) -> bool {
        let mut level = 0;
        #[cfg(feature = "log")]
        {
            level = level.max(self.log_level);
        }
        #[cfg(feature = "tracing")]
        {
            level = level.max(self.trace_level);
        }
        level == 0
    }
}

/// The levels that the process that relays wants.
#[derive(Clone, Debug)]
pub struct Levels {
    #[cfg(feature = "tracing")]
    pub dispatch: tracing_core::Dispatch,
}

/// The part that this process has in a relay.
static PART: ForkMutex<Part> = ForkMutex::new(Part::NONE);

struct Part {
    /// What this process gives its children of a relay.
    given: Option<RelayForChild>,
    /// The levels that this process wants, if it relays.
    own: Option<Levels>,
    /// How this process sends its records, if they are relayed.
    sender: Option<Sender>,
}

impl Part {
    const NONE: Self = Self {
        given: None,
        own: None,
        sender: None,
    };
}

struct Sender {
    from: u32,
    given: RelayForChild,
    /// Whether the relay has ended, so that nobody handles records.
    is_over: bool,
    /// The callsites that were sent.
    #[cfg(feature = "tracing")]
    told: std::collections::HashSet<u64>,
}

/// Gives `given` to all children from now on; returns what they were given before.
pub fn relay_here(given: RelayForChild, levels: Levels) -> Result<Option<RelayForChild>> {
    let given = given.with_levels(&levels);
    if given.wants_nothing() {
        return Err(crate::Error::invalid(
            "there is nothing that children's records could be handled by: set a logger or a \
             subscriber, and the level of `log`, before `relay_logs`",
        ));
    }
    let mut part = locked();
    if part.own.is_some() {
        return Err(crate::Error::invalid(
            "this process relays logs already: stop that relay first",
        ));
    }
    part.own = Some(levels);
    Ok(part.given.replace(given))
}

/// Ends what [`relay_here`] began.
pub fn relay_no_more(before: Option<RelayForChild>) {
    let mut part = locked();
    part.own = None;
    part.given = before;
}

/// Returns what a child is to be given.
pub fn given() -> Option<RelayForChild> {
    let part = locked();
    let given = part.given.clone()?;
    Some(match &part.own {
        Some(levels) => given.with_levels(levels),
        None => given,
    })
}

/// Begins to send the records of this process, a child that runs its role next, to the process that
/// relays.
pub fn begin(given: RelayForChild, name: &str) {
    let Ok(family) = procession_engine::family() else {
        return;
    };
    let from = family.me().raw();
    {
        let mut part = locked();
        part.given = Some(given.clone());
        part.sender = Some(Sender {
            from,
            given: given.clone(),
            is_over: false,
            #[cfg(feature = "tracing")]
            told: std::collections::HashSet::new(),
        });
    }
    send(Record::Hello {
        name: name.to_owned(),
        pid: std::process::id(),
    });
    #[cfg(feature = "log")]
    super::logger::install(given.log_level);
    #[cfg(feature = "tracing")]
    super::subscriber::install(given.trace_level);
}

/// Forgets the part of the original, in a copy by fork.
///
/// # Safety
/// This is the only thread, right after the fork.
pub unsafe fn renew_by_fork() {
    // SAFETY: no other thread uses it, the caller says.
    unsafe { PART.renew(Part::NONE) };
}

/// Puts a record into the queue, if this process has a part in a relay as a child.
pub fn send(record: Record) {
    if let Some(sender) = &mut locked().sender {
        sender.put(record);
    }
}

/// As [`send`], for a record that was made at a callsite. The callsite's first record comes after
/// what `tell` says of the callsite.
#[cfg(feature = "tracing")]
pub fn send_from(callsite: u64, tell: impl FnOnce() -> Record, record: Record) {
    // The lock is held until both are in the queue, so that no other thread's record of the
    // callsite comes in between.
    let mut part = locked();
    if let Some(sender) = &mut part.sender {
        if sender.told.insert(callsite) {
            sender.put(tell());
        }
        sender.put(record);
    }
}

impl Sender {
    fn put(&mut self, record: Record) {
        if self.is_over {
            return;
        }
        let from = self.from;
        let mut letter = Letter { from, record };
        loop {
            let refused = match self.given.queue.put_timeout(letter, PATIENCE) {
                Ok(()) => return,
                Err(refused) => refused,
            };
            let error = refused.error;
            if error.is_closed() {
                self.is_over = true;
                return;
            }
            if !error.is_timeout() {
                let text = format!("procession: cannot relay a record: {error}\n");
                stderr::write(text.as_bytes());
                return;
            }
            // The process that relays is slow, or has died.
            if !matches!(self.given.alive.try_lock(), Ok(None)) {
                self.is_over = true;
                return;
            }
            letter = refused.value;
        }
    }
}

/// Locks what is sound after any panic.
fn locked() -> ForkGuard<'static, Part> {
    PART.lock()
}
