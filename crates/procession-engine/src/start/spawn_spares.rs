//! Fresh images booted ahead of need, kept by the process that will use them.
//!
//! A thread boots them, and only while the family leaves processors idle; it
//! ends with the last of them, some seconds after the last start. A program
//! that starts one process never pays for a spare.
//!
//! A spare serves a start of the same program, arguments and environment from
//! the same [`Surroundings`]. For any other it is thrown away, as what has
//! changed once will hardly change back.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;
use std::thread;
use std::time::{Duration, Instant};

use crate::arena::Family;
use crate::arena::member::{BOOTED, SPARE, Stage};
use crate::error::{Error, ErrorKind, Result};
use crate::os::atfork;
use crate::os::cpu::usable_cpus;
use crate::os::deaf_thread::DeafThread;
use crate::os::fork_mutex::ForkMutex;
use crate::os::proc_status::{ProcStatus, thread_ids};
use crate::os::surroundings::Surroundings;
use crate::os::time::Deadline;
use crate::primitive::Ordering;
use crate::process::Child;
use crate::start::cell::State;
use crate::start::orders::Orders;
use crate::start::spares::{Claim, Spares};
use crate::start::spawn::{Program, spawn, spawn_spare};

/// How long after the last start spares are kept.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a spare waits by itself, should there be no thread to end it.
const LAST_PATIENCE: Duration = Duration::from_secs(60);

/// How long a busy machine is left alone before the next look at it. Grows by
/// half each time, up to the second number.
const PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// How long a process that was killed may take to be gone.
const LAST_STEPS: Duration = Duration::from_secs(2);

/// What is kept. In a forked copy of the process it is empty.
static SHELF: ForkMutex<Shelf> = ForkMutex::new(Shelf {
    kind: None,
    kept: Vec::new(),
    spares: None,
    demand: 0,
    last_start: None,
    thread: None,
});

/// Changes when the thread that boots spares shall end.
static ROUND: AtomicU32 = AtomicU32::new(0);

struct Shelf {
    /// What the spares were started as and in.
    kind: Option<Kind>,
    kept: Vec<Kept>,
    /// Made when the first spare is.
    spares: Option<Spares>,
    /// Starts of this kind since the last quiet time, as many as count.
    demand: usize,
    last_start: Option<Instant>,
    thread: Option<DeafThread>,
}

struct Kept {
    child: Child,
    cell: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Kind {
    program: Program,
    surroundings: Surroundings,
}

/// Starts a fresh image of a program, by one that was booted ahead if there is
/// one that cannot be told from it, and has others booted if more are asked
/// for.
///
/// The program's environment must be given; it is what is compared.
///
/// # Errors
/// As [`spawn`].
pub fn spawn_ahead(program: &Program, mut orders: Orders<'_>) -> Result<Child> {
    while let Some(claim) = take(program, orders.needs_spare_mail()) {
        match claim.hand_over(&mut orders) {
            // It was killed just now; there may be others.
            Err(error) if error.kind() == ErrorKind::Dead => {}
            result => return result,
        }
    }
    spawn(program, orders)
}

/// Ends all spares of this process.
pub fn clear() {
    pause();
    let (kept, spares) = {
        let mut shelf = SHELF.lock();
        shelf.forget_demand();
        (std::mem::take(&mut shelf.kept), shelf.spares.take())
    };
    kept.into_iter().for_each(Kept::end);
    drop(spares);
}

/// Ends the thread that boots spares until the next start; a process is better
/// forked without it.
pub(super) fn pause() {
    ROUND.fetch_add(1, Ordering::Relaxed);
    let thread = SHELF.lock().thread.take();
    if let Some(thread) = thread {
        thread.unpark();
        thread.join();
    }
}

/// Returns the process ids of the spares that this process keeps.
#[must_use]
pub fn pids() -> Vec<u32> {
    let shelf = SHELF.lock();
    shelf.kept.iter().map(|kept| kept.child.pid()).collect()
}

/// Takes a spare for such a start, if there is one, and counts the start.
fn take(program: &Program, with_fds: bool) -> Option<Claim> {
    // Where the surroundings cannot be seen there are no spares.
    let surroundings = Surroundings::look().ok()?;
    mind_forks();
    let kind = Kind {
        program: program.clone(),
        surroundings,
    };
    let is_other = SHELF
        .lock()
        .kind
        .as_ref()
        .is_some_and(|before| *before != kind);
    if is_other {
        clear();
    }
    let mut ended = Vec::new();
    let mut shelf = SHELF.lock();
    shelf.kind.get_or_insert_with(|| kind.clone());
    shelf.last_start = Some(Instant::now());
    shelf.demand = (shelf.demand + 1).min(most());
    let claim = shelf.claim(with_fds, &mut ended);
    if shelf.demand > 1 {
        shelf.have_kept(kind);
    }
    drop(shelf);
    ended.into_iter().for_each(Kept::end);
    claim
}

/// How many spares are kept at most.
fn most() -> usize {
    static MOST: OnceLock<usize> = OnceLock::new();
    *MOST.get_or_init(|| (2 * usable_cpus()).clamp(4, 16))
}

impl Shelf {
    fn forget_demand(&mut self) {
        self.demand = 0;
        self.kind = None;
        self.last_start = None;
    }

    /// Claims the spare that has come farthest; puts those that have died into
    /// `ended`.
    fn claim(&mut self, with_fds: bool, ended: &mut Vec<Kept>) -> Option<Claim> {
        let spares = self.spares.clone()?;
        let dead = |kept: &mut Kept| !matches!(kept.child.try_wait(), Ok(None));
        ended.extend(self.kept.extract_if(.., dead));
        let state = |kept: &Kept| spares.body().cells[kept.cell].word().state;
        let place = [State::Parked, State::Booting]
            .into_iter()
            .find_map(|wanted| self.kept.iter().position(|kept| state(kept) == wanted))?;
        let Kept { child, cell } = self.kept.remove(place);
        match spares.claim_own(cell, with_fds, child) {
            Ok(claim) => Some(claim),
            Err(child) => {
                // It was not far enough for what it is wanted for, or has just
                // given up.
                self.kept.insert(place, Kept { child, cell });
                None
            }
        }
    }

    /// Wakes the thread that boots spares, or starts it.
    fn have_kept(&mut self, kind: Kind) {
        if let Some(thread) = &self.thread {
            return thread.unpark();
        }
        let round = ROUND.load(Ordering::Relaxed);
        // Without a thread to be had there are no spares.
        self.thread = DeafThread::start("spares", move || keep(round, &kind)).ok();
    }

    fn is_short(&self) -> bool {
        self.kept.len() < self.demand
    }

    fn needed_until(&self) -> Instant {
        self.last_start
            .map_or_else(Instant::now, |start| start + PATIENCE)
    }
}

/// Boots spares while more are asked for than there are; returns when none has
/// been needed for long, or in another round.
fn keep(round: u32, kind: &Kind) {
    let mut pause = PAUSE;
    while ROUND.load(Ordering::Relaxed) == round {
        let (is_short, until) = {
            let shelf = SHELF.lock();
            (shelf.is_short(), shelf.needed_until())
        };
        if Instant::now() >= until {
            return retire(round);
        }
        if !is_short {
            pause = PAUSE;
            thread::park_timeout(until.saturating_duration_since(Instant::now()));
        } else if is_busy() {
            thread::park_timeout(pause);
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        } else if boot(round, kind).is_err() {
            // It would fail again: the next start tries.
            return retire(round);
        }
    }
}

/// Tells whether the family has something to do for each processor that this
/// process may use.
fn is_busy() -> bool {
    let Some(family) = Family::existing() else {
        return false;
    };
    let me = std::process::id();
    let runs = |status: Option<ProcStatus>| status.is_some_and(|status| status.state == 'R');
    // The calling thread is one of those that run.
    let own = thread_ids(me)
        .into_iter()
        .filter(|&thread| runs(ProcStatus::of_thread(me, thread)))
        .count()
        .saturating_sub(1);
    let mut running = own;
    family.for_each_member(|stamp, member| {
        running += usize::from(match member.stage() {
            // On its way through its start.
            Stage::Claimed | Stage::Reserved => true,
            Stage::Alive if stamp != family.me() => runs(ProcStatus::of(member.pid())),
            _ => false,
        });
    });
    running >= usable_cpus()
}

/// Ends the spares, and lets the thread that calls this be forgotten.
fn retire(round: u32) {
    let (kept, thread) = {
        let mut shelf = SHELF.lock();
        if ROUND.load(Ordering::Relaxed) != round {
            return;
        }
        shelf.forget_demand();
        (std::mem::take(&mut shelf.kept), shelf.thread.take())
    };
    kept.into_iter().for_each(Kept::end);
    drop(thread);
}

/// Boots one spare.
fn boot(round: u32, kind: &Kind) -> Result<()> {
    let spares = {
        let mut shelf = SHELF.lock();
        match &shelf.spares {
            Some(spares) => spares.clone(),
            None => shelf.spares.insert(Spares::create()?).clone(),
        }
    };
    let body = spares.body();
    let full = || Error::new(ErrorKind::Limit, "there is no cell left for a spare");
    let cell = body.open_cell(spares.family()).ok_or_else(full)?;
    let place = &body.cells[cell];
    let child = spawn_spare(&kind.program, &spares, cell, LAST_PATIENCE)
        .inspect_err(|_| place.give_up())?;
    let member = spares.family().member(child.stamp());
    member.flags.fetch_or(SPARE | BOOTED, Ordering::Relaxed);
    place.introduce(child.stamp(), child.pid());
    let kept = Kept { child, cell };
    let is_same = Surroundings::look().is_ok_and(|now| now == kind.surroundings);
    let mut shelf = SHELF.lock();
    if is_same && ROUND.load(Ordering::Relaxed) == round {
        shelf.kept.push(kept);
        return Ok(());
    }
    drop(shelf);
    drop(spares);
    kept.end();
    Err(Error::new(
        ErrorKind::Stale,
        "the surroundings have changed",
    ))
}

impl Kept {
    /// Ends the spare, and clears away after it.
    fn end(self) {
        let _ = self.child.kill();
        let _ = self.child.wait(Deadline::after(LAST_STEPS));
        if let Some(spares) = &SHELF.lock().spares {
            let place = &spares.body().cells[self.cell];
            if place.spare() == self.child.stamp() {
                place.close(place.word().uses);
            }
        }
    }
}

/// Has forks of this process leave its spares out.
fn mind_forks() {
    static HANDLERS: OnceLock<()> = OnceLock::new();
    HANDLERS.get_or_init(|| {
        // Fails without memory for an entry; then a fork may find it locked.
        let _ = atfork::register(before_fork, after_fork_in_parent, after_fork_in_child);
    });
}

extern "C" fn before_fork() {
    SHELF.hold();
}

extern "C" fn after_fork_in_parent() {
    SHELF.free_after_fork();
}

extern "C" fn after_fork_in_child() {
    SHELF.free_after_fork();
    let mut shelf = SHELF.lock();
    shelf.forget_demand();
    if let Some(thread) = shelf.thread.take() {
        thread.forget();
    }
    // They are the parent's; here they are only descriptors.
    let (copies, spares) = (std::mem::take(&mut shelf.kept), shelf.spares.take());
    drop(shelf);
    drop((copies, spares));
}
