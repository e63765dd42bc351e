//! The server's side of the fork server: it forks spares and reaps children.
//!
//! It has one thread, which it checks before each fork. It forks a spare when a process waits
//! for one, or hardly any are left. It forks more when nobody has requested one for a while,
//! and not earlier, because that would compete with the processes that were just started.

use std::time::{Duration, Instant};

use crate::launch::boot::booted;
use crate::launch::fork::PreparedFork;
use crate::launch::spec::Inherited;
use crate::process::reap::{KEEPER_BELL, PARENT_KEY, UNKNOWN, Zombies};
use crate::standby::adopted::Adopted;
use crate::standby::claim::{KeeperTie, SPARE_FLAGS, Spare, Spares};
use crate::standby::interrupts::{self, Interrupts};
use crate::standby::parent_exit;
use crate::standby::slot::{SlotState, StandbySlot};
use procession_shm::{Family, Handle, Stamp};
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::limits::cpu::usable_cpus;
use procession_sys::limits::rlimits;
use procession_sys::primitive::Ordering;
use procession_sys::process::exit_status::ExitStatus;
use procession_sys::process::fork::{Forked as Side, thread_count};
use procession_sys::process::pidfd::{PidFd, abandon};
use procession_sys::signals;
use procession_sys::wait::doorbell::Doorbell;
use procession_sys::wait::epoll::{Epoll, Ready};
use procession_sys::wait::flag::Flag;
use procession_sys::wait::time::Deadline;

/// How many spares to keep while the demand is unknown.
const LEAST: usize = 2;

/// How long nobody must have requested a spare before more than the least are forked in
/// advance.
const QUIET: Duration = Duration::from_millis(1);

/// How long demand is remembered: after such a time without a start, the least are kept.
const MEMORY: Duration = Duration::from_secs(10);

/// Keys of the set of descriptors; others are children's stamps.
const BELL_KEY: u64 = 1 << 32;
const CLAIMED_KEY: u64 = BELL_KEY + 1;

/// This process as a fork server that is about to serve.
#[derive(Debug)]
pub struct Server {
    spares: Spares,
    inherited: Inherited,
    /// How many spares to keep while the demand is unknown.
    least: usize,
}

impl Server {
    pub(crate) fn new(spares: Spares, inherited: Inherited) -> Self {
        Self {
            spares,
            inherited,
            least: LEAST,
        }
    }

    /// Returns the handle by which other members find the server.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.spares.handle()
    }

    /// Takes what the server was started with. The payload says, in the face's own format, what
    /// to import ahead.
    pub fn take_received(&mut self) -> Inherited {
        std::mem::take(&mut self.inherited)
    }

    /// Makes the server fork only on request, even if it has several threads. This is for a
    /// server in which a debugger or the like runs.
    pub fn be_watched(&mut self) {
        self.least = 0;
    }

    /// Serves until the server is killed, at the latest when the process that started it ends.
    /// It returns in the processes that `fork` makes: with what they are to do, or `None` in
    /// those that are not needed and have to end.
    ///
    /// # Errors
    /// In the server, when it cannot go on; in a forked process, when it cannot
    /// receive its launch spec. Either way the process must end.
    pub fn serve(self, fork: &mut dyn FnMut() -> Result<Side>) -> Result<Option<Adopted>> {
        let spares = self.spares.clone();
        self.serve_or_fork(fork).inspect_err(|error| {
            // Processes that wait for a spare get the error.
            let body = spares.body();
            body.report(&error.to_string(), body.requests.load(Ordering::Acquire));
        })
    }

    fn serve_or_fork(self, fork: &mut dyn FnMut() -> Result<Side>) -> Result<Option<Adopted>> {
        signals::keep_ended_children()?;
        let interrupts = Interrupts::pass_by()?;
        parent_exit::prepare()?;
        booted();
        match Keeper::new(self.spares.clone(), self.least)?.run(fork)? {
            Some((index, noticed)) => become_spare(self.spares, index, noticed, interrupts),
            None => Ok(None),
        }
    }
}

/// Parks a process that the server has just forked.
fn become_spare(
    spares: Spares,
    index: usize,
    noticed: Flag,
    interrupts: Interrupts,
) -> Result<Option<Adopted>> {
    let Some(slot) = spares.slot(index) else {
        return Ok(None);
    };
    let me = spares.family().me();
    // The server stores the same values, before or after this.
    slot.introduce(me, std::process::id());
    let server = spares.body().keeper_pid.load(Ordering::Relaxed);
    let Some(tie) = parent_exit::ParentExitHandler::to_server(slot, server)? else {
        return Ok(None); // The server has ended, and nobody has claimed us.
    };
    let tie = KeeperTie::ToServer(tie, noticed);
    spares.body().working_set.populate();
    let adopted = Spare::new(spares.clone(), index, tie, interrupts, None)?.park()?;
    Ok(adopted.map(|inherited| Adopted::new(inherited, spares)))
}

/// The state of the server; dropped in each process that it forks.
struct Keeper {
    family: &'static Family,
    spares: Spares,
    set: Epoll,
    claimed: Flag,
    children: Vec<ServedChild>,
    zombies: Zombies,
    /// How many requests have been handled.
    seen: u32,
    /// How many spares to keep now; `least` and `most` bound it.
    target: usize,
    least: usize,
    most: usize,
    refill_at: Option<Instant>,
    forget_at: Instant,
}

struct ServedChild {
    stamp: Stamp,
    pidfd: PidFd,
    slot: usize,
    /// The number of the slot's use, which tells this spare from the slot's next one.
    uses: u32,
}

/// Says on which side of the fork of a spare the caller is.
enum Born {
    Elsewhere,
    Here(usize),
    /// In a forked process that has to end, and must not go on as a second keeper: why, if
    /// that is an error.
    InVain(Result<()>),
}

impl Keeper {
    fn new(spares: Spares, least: usize) -> Result<Self> {
        let family = spares.family();
        let body = spares.body();
        body.keeper_pid.store(std::process::id(), Ordering::Relaxed);
        body.set_keeper(family.me());
        let bell = Doorbell::bind(family.id(), family.me().raw(), KEEPER_BELL)?;
        let set = Epoll::new(bell, BELL_KEY)?;
        let claimed = Flag::new()?;
        set.add(&claimed, CLAIMED_KEY)?;
        Ok(Self {
            family,
            spares,
            set,
            claimed,
            children: Vec::new(),
            zombies: Zombies::default(),
            seen: 0,
            target: least,
            least,
            most: match least {
                0 => 0,
                _ if rlimits::processes_are_scarce() => least,
                _ => (2 * usable_cpus()).max(8),
            },
            refill_at: Some(Instant::now()),
            forget_at: Instant::now() + MEMORY,
        })
    }

    /// Returns in the forked processes only, with the index of their slot and the flag to raise
    /// once they are adopted; with nothing in one that has to end.
    fn run(mut self, fork: &mut dyn FnMut() -> Result<Side>) -> Result<Option<(usize, Flag)>> {
        let mut ready = Vec::new();
        loop {
            match self.supply(fork) {
                Ok(Born::Elsewhere) => {}
                Ok(Born::Here(index)) => return Ok(Some((index, self.claimed))),
                Ok(Born::InVain(why)) => return why.map(|()| None),
                Err(error) => {
                    // Processes that wait get the error; the next request tries again.
                    self.refill_at = None;
                    self.spares.body().report(&error.to_string(), self.seen);
                }
            }
            match self.set.wait(&mut ready, self.next_deadline()) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => result?,
            }
            for event in &ready {
                self.notice(*event);
            }
            self.zombies.reap_seen(self.family);
            if Instant::now() >= self.forget_at {
                self.forget();
            }
        }
    }

    fn next_deadline(&self) -> Deadline {
        let forget = (self.target > self.least).then_some(self.forget_at);
        match [self.refill_at, forget].into_iter().flatten().min() {
            Some(at) => Deadline::At(at),
            None => Deadline::NEVER,
        }
    }

    fn notice(&mut self, event: Ready) {
        match event.key {
            BELL_KEY => {
                self.set.bell().drain();
            }
            CLAIMED_KEY => {
                self.claimed.lower();
                self.forget_at = Instant::now() + MEMORY;
                // If starts come one after another, the next must not have to wait for a fork.
                let quiet = match self.spares.body().free_count() < self.least {
                    true => Duration::ZERO,
                    false => QUIET,
                };
                self.refill_at = Some(Instant::now() + quiet);
            }
            key if key >= PARENT_KEY => {
                let parent = Stamp::from_raw((key - PARENT_KEY) as u32);
                self.zombies.parent_ended(self.family, parent, &self.set);
            }
            key => self.reap(key),
        }
    }

    /// Forks a spare for each request, and in quiet times also some in advance.
    fn supply(&mut self, fork: &mut dyn FnMut() -> Result<Side>) -> Result<Born> {
        let body = self.spares.body();
        // Acquire pairs with the Release in `request`: that process's look at the slots came
        // before.
        let requests = body.requests.load(Ordering::Acquire);
        let unmet = requests.wrapping_sub(self.seen) as usize;
        self.seen = requests;
        if unmet > 0 {
            self.target = (self.target + unmet).min(self.most);
            // Or what is forked for them might be dismissed before they claim it.
            self.forget_at = Instant::now() + MEMORY;
            self.refill_at = Some(Instant::now() + QUIET);
            for _ in 0..unmet {
                match self.fork_one(fork)? {
                    Born::Elsewhere => {}
                    here => return Ok(here),
                }
            }
        }
        if self.refill_at.is_some_and(|at| Instant::now() >= at) {
            if self.spares.body().free_count() < self.target {
                return self.fork_one(fork);
            }
            self.refill_at = None;
        }
        Ok(Born::Elsewhere)
    }

    fn fork_one(&mut self, fork: &mut dyn FnMut() -> Result<Side>) -> Result<Born> {
        // If the number is unknown, assume no other thread.
        let threads = thread_count().unwrap_or(1);
        if threads != 1 && self.least > 0 {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "the fork server has {threads} threads and may not fork: \
                     something that it has ready started one"
                ),
            ));
        }
        let body = self.spares.body();
        let Some(index) = body.open_slot(self.family) else {
            return Ok(Born::Elsewhere); // All slots are in use.
        };
        let slot = &body.slots[index];
        let uses = slot.word().uses;
        let give_up = |error| {
            slot.give_up();
            Err(error)
        };
        let prepared = match PreparedFork::with_flags("spare", SPARE_FLAGS) {
            Ok(prepared) => prepared,
            Err(error) => return give_up(error),
        };
        let keeper = self.family.me().raw();
        let member = self.family.member(prepared.child());
        member.keeper.store(keeper, Ordering::Relaxed);
        if let Some(slot) = self.spares.slot(index) {
            interrupts::begin(slot);
        }
        let forked = fork();
        if !matches!(forked, Ok(Side::Child)) {
            interrupts::forked();
        }
        let pid = match forked {
            Ok(Side::Child) => {
                // If the server was killed meanwhile and reclaimed, this process is another
                // member than the one that it was forked to be, or none. Then the table of
                // spares may be gone, and its memory another server's table already: to
                // touch a slot of it would be to take a spare of that server's from it.
                if self.family.me() != prepared.child() {
                    return Ok(Born::InVain(Ok(())));
                }
                return Ok(match prepared.in_child() {
                    Ok(()) => Born::Here(index),
                    Err(error) => Born::InVain(Err(error)),
                });
            }
            Ok(Side::Parent(pid)) => pid,
            Err(error) => return give_up(error),
        };
        let stamp = prepared.in_keeper();
        slot.introduce(stamp, pid);
        match self.watch(stamp, pid) {
            Ok(pidfd) => {
                self.children.push(ServedChild {
                    stamp,
                    pidfd,
                    slot: index,
                    uses,
                });
                Ok(Born::Elsewhere)
            }
            Err(error) => {
                // The slot is closed before the process is reaped: see README.md.
                slot.close(uses);
                let status = abandon(pid).unwrap_or(UNKNOWN);
                self.record_end(slot, stamp, uses, status);
                Err(error)
            }
        }
    }

    fn watch(&self, stamp: Stamp, pid: u32) -> Result<PidFd> {
        let pidfd = PidFd::open(pid)?;
        self.set.add(pidfd.fd()?, u64::from(stamp.raw()))?;
        Ok(pidfd)
    }

    /// Records the exit of a child that has ended, and reaps it, now or when its parent has seen
    /// the end.
    fn reap(&mut self, key: u64) {
        let Some(place) = self
            .children
            .iter()
            .position(|child| u64::from(child.stamp.raw()) == key)
        else {
            return;
        };
        let child = &self.children[place];
        let body = self.spares.body();
        let slot = &body.slots[child.slot];
        // The slot is closed before the process is reaped: see README.md.
        let was_free = slot.close(child.uses);
        let status = match child.pidfd.ended() {
            Ok(None) => return,
            Ok(Some(status)) => status,
            Err(_) => child.pidfd.exit_info().unwrap_or(UNKNOWN),
        };
        let child = self.children.swap_remove(place);
        // Closing the descriptor would remove it, too: forked spares have no copy of it.
        let _ = self.set.remove(child.pidfd.unverified());
        let is_adopted = was_free.is_none() && slot.claimer(child.uses).is_none();
        let pidfd = match is_adopted {
            true => self
                .zombies
                .keep(self.family, &self.set, child.stamp, child.pidfd, status),
            false => Some(child.pidfd),
        };
        let Some(pidfd) = pidfd else {
            return;
        };
        let _ = pidfd.reap();
        let body = self.spares.body();
        match was_free {
            Some(SlotState::Booting) => {
                // Without a new request, trying again would fail over and over.
                self.refill_at = None;
                let trouble = format!("a forked process {status} before it was ready");
                body.report(&trouble, self.seen);
            }
            Some(_) => {
                self.refill_at.get_or_insert(Instant::now() + QUIET);
            }
            None => {}
        }
        self.record_end(slot, child.stamp, child.uses, status);
    }

    /// Records the exit status of a reaped spare, and reclaims the spare unless another member
    /// has to.
    fn record_end(&self, slot: &StandbySlot, stamp: Stamp, uses: u32, status: ExitStatus) {
        let member = self.family.member(stamp);
        member
            .exit
            .record(stamp.generation(), status.to_wait_status() as u32);
        if let Some(claimer) = slot.claimer(uses) {
            // The claimer, which is about to write the launch spec, still needs the slot.
            member.parent.store(claimer.raw(), Ordering::Relaxed);
        }
        // If the spare has a parent other than this server, the parent reclaims it.
        let parent = Stamp::from_raw(member.parent.load(Ordering::Relaxed));
        if parent == self.family.me() || self.family.is_dead(parent) {
            self.family.release_member(stamp);
        }
    }

    /// Dismisses all but the least, as nobody has claimed a spare for some time.
    fn forget(&mut self) {
        self.forget_at = Instant::now() + MEMORY;
        self.target = self.least;
        let body = self.spares.body();
        let is_parked = |slot: &&StandbySlot| slot.word().state == SlotState::Parked;
        let surplus = body.free_count().saturating_sub(self.target);
        for slot in body.slots.iter().rev().filter(is_parked).take(surplus) {
            slot.dismiss();
        }
    }
}
