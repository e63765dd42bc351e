//! Fresh images booted ahead of need, kept by the process that will use them.
//!
//! A thread boots them, and only while the family leaves processors idle; it
//! ends with the last of them, some seconds after the last start. A program
//! that starts one process never pays for a spare. The thread opens no descriptor
//! and reclaims no member: README.md in this folder says why.
//!
//! A spare serves a start of the same program, arguments and environment from
//! the same [`ExecutionContext`]. A different start throws all spares away, because later
//! starts will most likely be like that one.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::thread;
use std::time::{Duration, Instant};

use crate::family;
use crate::launch::reservation::MemberReservation;
use crate::launch::spawn::{Program, spawn, spawn_spare};
use crate::launch::spec::LaunchSpec;
use crate::launch::surplus::{self, Surplus};
use crate::process::Child;
use crate::process::child::KILL;
use crate::standby::KILL_TIME;
use crate::standby::claim::{Claim, Spares, is_interrupted};
use crate::standby::slot::{SlotState, StandbySlot};
use procession_shm::member::table::{BOOTED, DAEMON, SPARE, Stage};
use procession_shm::{Family, ForkHooks, Stamp};
use procession_sys::attributes::execution_context::ExecutionContext;
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::fd::own_table::{ProgramsTable, with_own_table};
use procession_sys::fork_safe::mutex::ForkMutex;
use procession_sys::fork_safe::once::ForkOnce;
use procession_sys::limits::cpu::usable_cpus;
use procession_sys::limits::rlimits;
use procession_sys::primitive::Ordering;
use procession_sys::process::guardian::Guardian;
use procession_sys::process::lifeline;
use procession_sys::process::pidfd::PidFd;
use procession_sys::procfs::status::{ProcStatus, thread_ids};
use procession_sys::sandbox::{Need, must_allow};
use procession_sys::signals::masked_thread::MaskedThread;
use procession_sys::wait::futex::{self, Scope};
use procession_sys::wait::time::Deadline;

/// How long spares are kept after the last start.
const KEEP_TIME: Duration = Duration::from_secs(10);

/// How long a spare waits before it ends by itself, if the thread does not end it.
const PARK_TIME: Duration = Duration::from_secs(60);

/// First and longest time between two checks whether a processor is idle; it grows by half
/// each time.
const PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// The spares of this process; empty in a forked copy.
static PREBOOTED: ForkMutex<Prebooted> = ForkMutex::new(Prebooted {
    demand: None,
    kept: Vec::new(),
    ended: Vec::new(),
    spares: None,
    booter: None,
});

struct Prebooted {
    /// Which spares are wanted; none without a start since the last quiet time.
    demand: Option<Demand>,
    kept: Vec<PrebootedImage>,
    /// Spares that have ended or will, to be reclaimed by a thread of the program.
    ended: Vec<PrebootedImage>,
    /// The object of spares, made when the first is wanted.
    spares: Option<Spares>,
    booter: Option<Booter>,
}

/// What the starts since the last quiet time ask for.
struct Demand {
    /// The program and context of all spares.
    kind: ImageKey,
    /// How many starts there were, up to [`most`]: so many spares are wanted.
    starts: usize,
    last_start: Instant,
}

/// The thread that boots spares.
struct Booter {
    thread: MaskedThread,
    stop: Arc<StopWord>,
}

/// Tells a booter to end. The thread that takes a booter out of [`PREBOOTED`] tells it so under
/// that lock; so a booter that holds the lock and has not been told is the one in there.
#[derive(Debug, Default)]
struct StopWord(AtomicU32);

/// A spare. No descriptor of it is kept before it is claimed.
struct PrebootedImage {
    stamp: Stamp,
    pid: u32,
    /// A time since boot at which it existed.
    seen: u64,
    slot: usize,
    /// The guardian between this process and the spare, until the spare is claimed or ended.
    aside: Option<Guardian>,
}

impl StopWord {
    fn is_told(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    fn tell(&self) {
        self.0.store(1, Ordering::Relaxed);
        futex::wake(&self.0, 1, Scope::Private);
    }

    /// Sleeps until the booter is told, or the time is over.
    fn wait(&self, time: Duration) {
        futex::wait(&self.0, 0, Deadline::after(time), Scope::Private);
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ImageKey {
    program: Program,
    context: ExecutionContext,
}

/// Starts a fresh image of a program, from an equal spare if there is one; boots more spares
/// if there are several starts.
///
/// The program's environment must be given, because it is compared.
///
/// # Errors
/// As [`spawn`](crate::launch::spawn()).
pub fn spawn_ahead(program: &Program, mut spec: LaunchSpec<'_>) -> Result<Child> {
    have_memory()?;
    while let Some(claim) = take(program, spec.needs_spare_mail()) {
        match claim.hand_over(&mut spec) {
            // The spare was killed just now; there may be others.
            Err(error) if error.kind() == ErrorKind::Dead => {}
            result => return result,
        }
    }
    spawn(program, spec)
}

/// Ends all spares of this process, to make room for another process; returns whether there
/// were any, or any were being booted.
fn make_room() -> bool {
    let is_some = {
        let state = PREBOOTED.lock();
        // A spare that is ending still takes room, too.
        state.booter.is_some() || !state.kept.is_empty() || !state.ended.is_empty()
    };
    if is_some {
        clear();
    }
    is_some
}

/// Ends all spares of this process.
pub fn clear() {
    pause();
    let (kept, ended, spares) = {
        let mut state = PREBOOTED.lock();
        state.demand = None;
        let kept = std::mem::take(&mut state.kept);
        (kept, std::mem::take(&mut state.ended), state.spares.clone())
    };
    clear_away(kept.into_iter().chain(ended), spares.as_ref());
    drop(spares);
    let mut state = PREBOOTED.lock();
    if state.kept.is_empty() && state.ended.is_empty() {
        state.spares = None;
    }
}

/// Ends the thread that boots spares, until the next start: forking is safer without it.
fn pause() {
    let booter = {
        let mut state = PREBOOTED.lock();
        state.booter.take().inspect(|booter| booter.stop.tell())
    };
    if let Some(Booter { thread, .. }) = booter {
        thread.unpark();
        thread.join();
    }
}

/// Makes sure that the descriptor of the family's memory can be passed on, even if the program
/// has closed it. The family may have to move to another file, for which this process may
/// have no other thread.
pub(crate) fn have_memory() -> Result<()> {
    let family = family()?;
    if family.fd().is_ok() {
        return Ok(());
    }
    pause();
    if family.fd().is_ok() {
        return Ok(());
    }
    // A spare that boots has not joined the family yet, and would keep the old file.
    clear();
    family.fd().map(drop)
}

/// Returns the process ids of the spares that this process keeps.
#[must_use]
pub fn pids() -> Vec<u32> {
    let state = PREBOOTED.lock();
    state.kept.iter().map(|kept| kept.pid).collect()
}

/// Claims a spare for a start, if an equal one exists, and counts the start.
fn take(program: &Program, with_fds: bool) -> Option<Claim> {
    // Without a known context, or where descriptors cannot be sent, there are no spares.
    let context = ExecutionContext::look().ok()?;
    must_allow(Need::Mail).ok()?;
    surplus::announce(Surplus { pause, make_room });
    let kind = ImageKey {
        program: program.clone(),
        context,
    };
    let is_other = |before: &Demand| before.kind != kind;
    if PREBOOTED.lock().demand.as_ref().is_some_and(is_other) {
        clear();
    }
    let mut state = PREBOOTED.lock();
    let mut ended = std::mem::take(&mut state.ended);
    let starts = state.demand.as_ref().map_or(0, |before| before.starts);
    state.demand = Some(Demand {
        kind: kind.clone(),
        starts: (starts + 1).min(most()),
        last_start: Instant::now(),
    });
    let claim = state.claim(with_fds, &mut ended);
    if starts > 0 {
        // On an error there are just no spares.
        let _ = state.ensure_booter(kind);
    }
    let spares = state.spares.clone();
    drop(state);
    clear_away(ended, spares.as_ref());
    claim
}

/// How many spares are kept at most.
fn most() -> usize {
    static MOST: ForkOnce<usize> = ForkOnce::new();
    *MOST.get_or_init(|| (2 * usable_cpus()).clamp(4, 16))
}

impl Prebooted {
    /// Claims a spare, a parked one if possible; puts those that have died into `ended`.
    fn claim(&mut self, with_fds: bool, ended: &mut Vec<PrebootedImage>) -> Option<Claim> {
        let spares = self.spares.clone()?;
        let word = |kept: &PrebootedImage| spares.body().slots[kept.slot].word();
        ended.extend(self.kept.extract_if(.., |kept| !word(kept).is_free()));
        loop {
            let place = [SlotState::Parked, SlotState::Booting]
                .into_iter()
                .find_map(|wanted| self.kept.iter().position(|kept| word(kept).state == wanted))?;
            let process = match self.kept[place].process() {
                Ok(process) if !process.is_dead() => process,
                Err(error) if error.kind() != ErrorKind::Dead => return None,
                _ => {
                    ended.push(self.kept.remove(place));
                    continue;
                }
            };
            // This fails if the spare has no mailbox yet and needs one, or has just ended.
            let seen = word(&self.kept[place]);
            let claim = spares.claim_own(self.kept[place].slot, with_fds, process)?;
            if is_interrupted(self.kept[place].pid, seen) {
                ended.push(self.kept.remove(place));
                continue;
            }
            let aside = self.kept.remove(place).aside;
            let is_ours = aside.is_some_and(|aside| aside.adopt().is_ok()) && claim.is_our_child();
            // Otherwise dropping the claim dismisses the spare.
            return is_ours.then_some(claim);
        }
    }

    /// Wakes the booter, or starts one; before that, makes what it must not make itself.
    fn ensure_booter(&mut self, kind: ImageKey) -> Result<()> {
        lifeline::prepare()?;
        if self.spares.is_none() {
            self.spares = Some(Spares::create()?);
        }
        if let Some(booter) = &self.booter {
            booter.thread.unpark();
            return Ok(());
        }
        let stop = Arc::<StopWord>::default();
        let theirs = Arc::clone(&stop);
        let thread = MaskedThread::start("spares", move || keep(&theirs, &kind))?;
        self.booter = Some(Booter { thread, stop });
        Ok(())
    }

    fn is_short(&self) -> bool {
        let wanted = self.demand.as_ref().map_or(0, |demand| demand.starts);
        self.kept.len() < wanted
    }

    fn needed_until(&self) -> Instant {
        let last = self.demand.as_ref().map(|demand| demand.last_start);
        last.map_or_else(Instant::now, |start| start + KEEP_TIME)
    }
}

/// Boots spares while more are wanted than exist; returns when none was needed for some time,
/// when few processes are allowed, or when it is told to.
fn keep(stop: &StopWord, kind: &ImageKey) {
    let is_scarce = with_own_table(BOOTS, |_| Ok(rlimits::processes_are_scarce()));
    if is_scarce.unwrap_or(true) {
        return retire(stop);
    }
    while !stop.is_told() {
        let (is_short, until) = {
            let state = PREBOOTED.lock();
            (state.is_short(), state.needed_until())
        };
        if Instant::now() >= until {
            return retire(stop);
        }
        if !is_short {
            thread::park_timeout(until.saturating_duration_since(Instant::now()));
        } else {
            let booted = await_idle(stop).and_then(|is_wanted| match is_wanted {
                true => boot(stop, kind),
                false => Ok(()),
            });
            if booted.is_err() {
                // It would fail again now; the next start tries again.
                return retire(stop);
            }
        }
    }
}

/// Waits until the machine is not busy; tells whether a spare is still wanted.
///
/// Each look opens files of /proc, so it is done in a thread with descriptors of its own: in
/// one for the whole wait, as the program's children boot meanwhile and need the processors.
fn await_idle(stop: &StopWord) -> Result<bool> {
    with_own_table(BOOTS, |_| {
        let mut pause = PAUSE;
        while is_wanted(stop) {
            if !is_busy() {
                return Ok(true);
            }
            stop.wait(pause);
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        }
        Ok(false)
    })
}

/// Tells whether a booter shall boot another spare.
fn is_wanted(stop: &StopWord) -> bool {
    let state = PREBOOTED.lock();
    !stop.is_told() && state.is_short() && Instant::now() < state.needed_until()
}

/// Tells whether the family has something to do for each processor that this
/// process may use.
fn is_busy() -> bool {
    let Some(family) = Family::existing() else {
        return false;
    };
    let me = std::process::id();
    let runs = |status: Option<ProcStatus>| status.is_some_and(|status| status.state == 'R');
    // Without the calling thread.
    let own = thread_ids(me)
        .into_iter()
        .filter(|&thread| runs(ProcStatus::of_thread(me, thread)))
        .count()
        .saturating_sub(1);
    let mut running = own;
    family.for_each_member(|stamp, member| {
        running += usize::from(match member.stage() {
            // It is being started.
            Stage::Claimed | Stage::Reserved | Stage::Forking => true,
            Stage::Alive if stamp != family.me() => runs(ProcStatus::of(member.pid())),
            _ => false,
        });
    });
    running >= usable_cpus()
}

/// Ends the spares and the calling thread.
fn retire(stop: &StopWord) {
    let kept = {
        let mut state = PREBOOTED.lock();
        if stop.is_told() {
            return;
        }
        state.demand = None;
        std::mem::take(&mut state.kept)
    };
    end_unreclaimed(kept);
    // Not earlier: `make_room` waits for this thread to end the spares.
    let mut state = PREBOOTED.lock();
    if !stop.is_told() {
        let booter = state.booter.take();
        drop(state);
        drop(booter);
    }
}

/// Ends spares, and leaves it to the program's threads to reclaim them.
fn end_unreclaimed(mut kept: Vec<PrebootedImage>) {
    if kept.is_empty() {
        return;
    }
    if let Some(spares) = PREBOOTED.lock().spares.clone() {
        // Dismissed spares end by themselves, if no thread can be started to kill them.
        let slots = kept.iter().filter_map(|kept| kept.place(&spares));
        slots.for_each(StandbySlot::dismiss);
    }
    let _ = with_own_table(BOOTS, |_| {
        kept.iter_mut().for_each(|kept| _ = kept.kill());
        Ok(())
    });
    PREBOOTED.lock().ended.append(&mut kept);
}

/// The name of a thread that boots one spare.
const BOOTS: &str = "boots a spare";

/// Boots one spare.
fn boot(stop: &StopWord, kind: &ImageKey) -> Result<()> {
    let spares = PREBOOTED.lock().spares.clone();
    let spares = spares
        .ok_or_else(|| Error::new(ErrorKind::Stale, "this process keeps no standby processes"))?;
    let reservation = MemberReservation::reserve_unused("spare", DAEMON)?;
    let stamp = reservation.stamp();
    let booted = with_own_table(BOOTS, |table| boot_at(stamp, kind, &spares, table));
    let (kept, is_same) = match booted {
        Ok(booted) => booted,
        Err(error) => {
            reservation.give_back_unused();
            return Err(error);
        }
    };
    reservation.keep();
    let mut state = PREBOOTED.lock();
    if is_same && !stop.is_told() {
        state.kept.push(kept);
        return Ok(());
    }
    drop(state);
    end_unreclaimed(vec![kept]);
    let message = format!(
        "standby process {stamp} was booted while the environment, the working directory or the \
         privileges of the program changed, and is not used"
    );
    Err(Error::new(ErrorKind::Stale, message))
}

/// Boots a spare as a member of the family; tells whether the context is still that of `kind`.
fn boot_at(
    stamp: Stamp,
    kind: &ImageKey,
    spares: &Spares,
    table: &ProgramsTable,
) -> Result<(PrebootedImage, bool)> {
    let (body, family) = (spares.body(), spares.family());
    let full = || {
        let message = format!(
            "all {} places for standby processes are taken",
            body.slots.len()
        );
        Error::new(ErrorKind::Limit, message)
    };
    let slot = body.open_slot(family).ok_or_else(full)?;
    let place = &body.slots[slot];
    let (process, aside) = spawn_spare(
        &kind.program,
        spares.handle(),
        slot,
        stamp,
        PARK_TIME,
        table,
    )
    .inspect_err(|_| place.give_up())?;
    let member = family.member(stamp);
    member.flags.fetch_or(SPARE | BOOTED, Ordering::Relaxed);
    place.introduce(stamp, process.pid());
    let kept = PrebootedImage {
        stamp,
        pid: process.pid(),
        seen: process.seen(),
        slot,
        aside: Some(aside),
    };
    let is_same = ExecutionContext::look().is_ok_and(|now| now == kind.context);
    Ok((kept, is_same))
}

impl PrebootedImage {
    /// Opens the process.
    ///
    /// # Errors
    /// `Dead` when it has ended.
    fn process(&self) -> Result<PidFd> {
        PidFd::open_again(self.pid, self.seen)
    }

    /// Returns its slot; `None` when the slot has another spare by now.
    fn place<'s>(&self, spares: &'s Spares) -> Option<&'s StandbySlot> {
        let place = &spares.body().slots[self.slot];
        (place.spare() == self.stamp).then_some(place)
    }

    /// Ends the process; tells whether it has ended.
    fn kill(&mut self) -> bool {
        let process = match self.process() {
            Ok(process) => process,
            Err(error) => return error.kind() == ErrorKind::Dead,
        };
        let _ = process.send_signal(KILL);
        let has_ended = process.wait(Deadline::after(KILL_TIME)).unwrap_or(false);
        if let Some(aside) = self.aside.take()
            && has_ended
        {
            // Wait until the guardian has reaped the spare: only then its room is free.
            let _ = aside.outcome(Deadline::after(KILL_TIME));
        }
        // If the guardian ended while this process was a subreaper for another claim, the
        // spare has become a child of this process.
        let _ = process.reap();
        has_ended
    }

    /// Ends the process and reclaims it; returns itself if that has to be tried again.
    fn end(mut self, spares: Option<&Spares>) -> Option<Self> {
        let place = spares.and_then(|spares| self.place(spares));
        if !self.kill() {
            // Without a descriptor to kill it by, the dismissed spare ends by itself.
            place.inspect(|place| place.dismiss());
            return Some(self);
        }
        if let Some(family) = Family::existing() {
            family.release_member(self.stamp);
        }
        place.inspect(|place| _ = place.close(place.word().uses));
        None
    }
}

/// Ends spares and reclaims them.
fn clear_away(kept: impl IntoIterator<Item = PrebootedImage>, spares: Option<&Spares>) {
    let left = kept.into_iter().filter_map(|image| image.end(spares));
    let mut left: Vec<_> = left.collect();
    if !left.is_empty() {
        PREBOOTED.lock().ended.append(&mut left);
    }
}

/// Lets forked copies of this process start without spares.
pub(crate) const FORKS: ForkHooks = ForkHooks {
    before: || PREBOOTED.hold(),
    in_parent: || PREBOOTED.free_after_fork(),
    in_child: forget,
};

/// Forgets the spares, which are the parent's.
fn forget() {
    PREBOOTED.free_after_fork();
    let mut state = PREBOOTED.lock();
    state.demand = None;
    if let Some(booter) = state.booter.take() {
        booter.thread.forget();
    }
    let kept = std::mem::take(&mut state.kept);
    let ended = std::mem::take(&mut state.ended);
    let spares = state.spares.take();
    drop(state);
    drop((kept, ended, spares));
}
