//! The server's side of the fork server: it forks, parks and reaps.
//!
//! It has one thread, and looks at it before each fork. Spares are forked when
//! somebody waits for one, or there are hardly any; more of them when nobody has
//! asked for a while, and never in between, where it would compete with what was
//! just started.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::arena::{Family, Handle, Stamp};
use crate::error::{Error, ErrorKind, Result};
use crate::os::cpu::usable_cpus;
use crate::os::doorbell::Doorbell;
use crate::os::epoll::{Epoll, Ready};
use crate::os::eventfd::EventFd;
use crate::os::exit_status::ExitStatus;
use crate::os::fork::{Forked as Side, thread_count};
use crate::os::pidfd::{PidFd, abandon};
use crate::os::signals::{self, Disposition};
use crate::os::time::Deadline;
use crate::primitive::Ordering;
use crate::process::child::{KEEPER_BELL, UNKNOWN};
use crate::start::cell::{Cell, State};
use crate::start::fork::PreparedFork;
use crate::start::join::booted;
use crate::start::orders::Received;
use crate::start::orphan;
use crate::start::spares::{SPARE_FLAGS, Spare, Spares, Tie};
use crate::start::unseen::{PARENT_KEY, Unseen};

/// Spares kept when nothing is known of the demand.
const LEAST: usize = 2;

/// How long nobody must have asked before more spares than the least are forked
/// that nobody waits for.
const QUIET: Duration = Duration::from_millis(1);

/// How long demand is remembered: after each such time without a start, one
/// spare less is kept.
const MEMORY: Duration = Duration::from_secs(10);

/// Keys of the set of descriptors; others are children's stamps.
const BELL_KEY: u64 = 1 << 32;
const CLAIMED_KEY: u64 = BELL_KEY + 1;

/// This process as a server that is about to serve.
#[derive(Debug)]
pub struct Server {
    spares: Spares,
    received: Received,
}

impl Server {
    pub(super) fn new(spares: Spares, received: Received) -> Self {
        Self { spares, received }
    }

    /// Returns the numbers by which relatives find the server.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.spares.handle()
    }

    /// Takes what the server was started with: what to have ready, in the
    /// face's own format.
    pub fn take_received(&mut self) -> Received {
        std::mem::take(&mut self.received)
    }

    /// Serves until killed, which happens at the latest when the process ends
    /// that started the server. It returns in the processes that `fork` makes:
    /// with their orders, or `None` in those that are not needed and should
    /// end.
    ///
    /// # Errors
    /// In the server, when it cannot go on; in a forked process, when it cannot
    /// receive its orders. Either way the process must end.
    pub fn serve(self, fork: &mut dyn FnMut() -> Result<Side>) -> Result<Option<Received>> {
        signals::keep_ended_children()?;
        let interrupts = signals::ignore_interrupts()?;
        booted();
        let (index, noticed) = Keeper::new(self.spares.clone())?.run(fork)?;
        become_spare(self.spares, index, noticed, interrupts)
    }
}

/// Goes on in a process that the server has just forked.
fn become_spare(
    spares: Spares,
    index: usize,
    noticed: EventFd,
    interrupts: Disposition,
) -> Result<Option<Received>> {
    let Some(cell) = spares.cell(index) else {
        return Ok(None);
    };
    let me = spares.family().me();
    // The server writes the same, whoever is first.
    cell.introduce(me, std::process::id());
    let server = spares.body().keeper_pid.load(Ordering::Relaxed);
    let Some(tie) = orphan::Tie::to_server(cell, server)? else {
        return Ok(None); // The server has ended, and nobody has claimed us.
    };
    let tie = Tie::ToServer(tie, noticed);
    Spare::new(spares, index, tie, interrupts, None)?.park()
}

/// What the server holds; dropped in each process that it forks.
struct Keeper {
    family: &'static Family,
    spares: Spares,
    set: Epoll,
    bell: Doorbell,
    claimed: EventFd,
    children: Vec<Kept>,
    unseen: Unseen,
    /// How many unmet wishes have been seen to.
    seen: u32,
    /// How many spares to keep.
    target: usize,
    most: usize,
    refill_at: Option<Instant>,
    forget_at: Instant,
}

struct Kept {
    stamp: Stamp,
    pidfd: PidFd,
    cell: usize,
    /// Which use of the cell: the next is another spare's.
    uses: u32,
}

/// Says on which side of the fork of a spare the caller is.
enum Born {
    Elsewhere,
    Here(usize),
}

impl Keeper {
    fn new(spares: Spares) -> Result<Self> {
        let family = spares.family();
        let body = spares.body();
        body.keeper_pid.store(std::process::id(), Ordering::Relaxed);
        body.set_keeper(family.me());
        let set = Epoll::new()?;
        let bell = Doorbell::bind(family.id(), family.me().raw(), KEEPER_BELL)?;
        set.add(&bell, BELL_KEY)?;
        let claimed = EventFd::new()?;
        set.add(&claimed, CLAIMED_KEY)?;
        Ok(Self {
            family,
            spares,
            set,
            bell,
            claimed,
            children: Vec::new(),
            unseen: Unseen::default(),
            seen: 0,
            target: LEAST,
            most: (2 * usable_cpus()).max(8),
            refill_at: Some(Instant::now()),
            forget_at: Instant::now() + MEMORY,
        })
    }

    /// Returns in the forked processes only: which spare they are, and what to
    /// raise once adopted.
    fn run(mut self, fork: &mut dyn FnMut() -> Result<Side>) -> Result<(usize, EventFd)> {
        let mut ready = Vec::new();
        loop {
            match self.supply(fork) {
                Ok(Born::Elsewhere) => {}
                Ok(Born::Here(index)) => return Ok((index, self.claimed)),
                Err(error) => {
                    // Whoever waits is told; the next wish tries again.
                    self.refill_at = None;
                    self.spares.body().report(&error.to_string());
                }
            }
            match self.set.wait(&mut ready, self.next_deadline()) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => result?,
            }
            for event in &ready {
                self.notice(*event);
            }
            self.unseen.reap_seen(self.family);
            if Instant::now() >= self.forget_at {
                self.forget();
            }
        }
    }

    fn next_deadline(&self) -> Deadline {
        let forget = (self.target > LEAST).then_some(self.forget_at);
        match [self.refill_at, forget].into_iter().flatten().min() {
            Some(at) => Deadline::At(at),
            None => Deadline::NEVER,
        }
    }

    fn notice(&mut self, event: Ready) {
        match event.key {
            BELL_KEY => {
                self.bell.drain();
            }
            CLAIMED_KEY => {
                self.claimed.lower();
                self.forget_at = Instant::now() + MEMORY;
                // One start after another must not come to wait for a fork.
                let quiet = match self.spares.body().free_count() < LEAST {
                    true => Duration::ZERO,
                    false => QUIET,
                };
                self.refill_at = Some(Instant::now() + quiet);
            }
            key if key >= PARENT_KEY => {
                let parent = Stamp::from_raw((key - PARENT_KEY) as u32);
                self.unseen.parent_ended(self.family, parent, &self.set);
            }
            key => self.bury(key),
        }
    }

    /// Forks what is waited for; in quiet times, also what may be soon.
    fn supply(&mut self, fork: &mut dyn FnMut() -> Result<Side>) -> Result<Born> {
        let body = self.spares.body();
        // Acquire pairs with the Release of who wishes: its look at the cells
        // came before.
        let wanted = body.wanted.load(Ordering::Acquire);
        let unmet = wanted.wrapping_sub(self.seen) as usize;
        self.seen = wanted;
        if unmet > 0 {
            self.target = (self.target + unmet).min(self.most);
            self.refill_at = Some(Instant::now() + QUIET);
            for _ in 0..unmet {
                if let Born::Here(index) = self.fork_one(fork)? {
                    return Ok(Born::Here(index));
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
        let threads = thread_count()?;
        if threads != 1 {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "the fork server has {threads} threads and may not fork: \
                     something that it has ready started one"
                ),
            ));
        }
        let body = self.spares.body();
        let Some(index) = body.open_cell(self.family) else {
            return Ok(Born::Elsewhere); // As many as there can be are on their way.
        };
        let cell = &body.cells[index];
        let uses = cell.word().uses;
        let give_up = |error| {
            cell.give_up();
            Err(error)
        };
        let prepared = match PreparedFork::with_flags("spare", SPARE_FLAGS) {
            Ok(prepared) => prepared,
            Err(error) => return give_up(error),
        };
        let keeper = self.family.me().raw();
        let member = self.family.member(prepared.child());
        member.keeper.store(keeper, Ordering::Relaxed);
        let pid = match fork() {
            Ok(Side::Child) => {
                prepared.in_child()?;
                return Ok(Born::Here(index));
            }
            Ok(Side::Parent(pid)) => pid,
            Err(error) => return give_up(error),
        };
        let stamp = prepared.in_keeper();
        cell.introduce(stamp, pid);
        match self.watch(stamp, pid) {
            Ok(pidfd) => {
                self.children.push(Kept {
                    stamp,
                    pidfd,
                    cell: index,
                    uses,
                });
                Ok(Born::Elsewhere)
            }
            Err(error) => {
                // First the cell, then the process: see README.md.
                cell.close(uses);
                let status = abandon(pid).unwrap_or(UNKNOWN);
                self.record_end(cell, stamp, uses, status);
                Err(error)
            }
        }
    }

    fn watch(&self, stamp: Stamp, pid: u32) -> Result<PidFd> {
        let pidfd = PidFd::open(pid)?;
        self.set.add(pidfd.as_fd(), u64::from(stamp.raw()))?;
        Ok(pidfd)
    }

    /// Passes on the exit of a child that has ended, and reaps it, if not now then
    /// when its parent has seen the end.
    fn bury(&mut self, key: u64) {
        let Some(place) = self
            .children
            .iter()
            .position(|child| u64::from(child.stamp.raw()) == key)
        else {
            return;
        };
        let child = &self.children[place];
        let body = self.spares.body();
        let cell = &body.cells[child.cell];
        // First the cell, then the process: see README.md.
        let was_free = cell.close(child.uses);
        let status = match child.pidfd.ended() {
            Ok(None) => return,
            Ok(Some(status)) => status,
            Err(_) => child.pidfd.exit_info().unwrap_or(UNKNOWN),
        };
        let child = self.children.swap_remove(place);
        // The set forgets it as the last copy of its descriptor is closed, and
        // forked spares have none.
        let _ = self.set.remove(child.pidfd.as_fd());
        let is_adopted = was_free.is_none() && cell.claimer(child.uses).is_none();
        let pidfd = match is_adopted {
            true => self
                .unseen
                .keep(self.family, &self.set, child.stamp, child.pidfd, status),
            false => Some(child.pidfd),
        };
        let Some(pidfd) = pidfd else {
            return;
        };
        let _ = pidfd.reap();
        let body = self.spares.body();
        match was_free {
            Some(State::Booting) => {
                // Trying again without being asked would fail over and over.
                self.refill_at = None;
                body.report(&format!("a forked process {status} before it was ready"));
            }
            Some(_) => {
                self.refill_at.get_or_insert(Instant::now() + QUIET);
            }
            None => {}
        }
        self.record_end(cell, child.stamp, child.uses, status);
    }

    /// Records how a spare ended that is reaped, and clears away after it unless
    /// that is somebody else's to do.
    fn record_end(&self, cell: &Cell, stamp: Stamp, uses: u32, status: ExitStatus) {
        let member = self.family.member(stamp);
        member
            .exit
            .record(stamp.generation(), status.to_wait_status() as u32);
        if let Some(claimer) = cell.claimer(uses) {
            // Whoever is about to write its orders still holds the slot.
            member.parent.store(claimer.raw(), Ordering::Relaxed);
        }
        // Its parent clears away after it, if it has one but us.
        let parent = Stamp::from_raw(member.parent.load(Ordering::Relaxed));
        if parent == self.family.me() || self.family.is_dead(parent) {
            self.family.release_member(stamp);
        }
    }

    /// Keeps one spare less, as nobody has asked for so long.
    fn forget(&mut self) {
        self.forget_at = Instant::now() + MEMORY;
        self.target = (self.target - 1).max(LEAST);
        let body = self.spares.body();
        if body.free_count() > self.target
            && let Some(cell) = body
                .cells
                .iter()
                .rev()
                .find(|cell| cell.word().state == State::Parked)
        {
            cell.dismiss();
        }
    }
}
