//! Spares: to park as one, to claim one, to hand it its orders.
//!
//! README.md in this folder tells the protocol. Who keeps the spares is in
//! `server.rs` (forked ones) and `spawn_spares.rs` (fresh images).

use std::convert::Infallible;
use std::os::fd::AsFd as _;
use std::time::Duration;

use crate::arena::member::{BOOTED, DAEMON, SPARE};
use crate::arena::{Block, Family, Handle, Object, ObjectKind, Stamp};
use crate::error::{Error, ErrorKind, Result};
use crate::os::eventfd::EventFd;
use crate::os::lifeline::{self, Lifeline};
use crate::os::mailbox::{self, Mailbox};
use crate::os::pidfd::PidFd;
use crate::os::prctl;
use crate::os::signals::Disposition;
use crate::os::time::Deadline;
use crate::primitive::Ordering;
use crate::process::{Child, Payload};
use crate::start::cell::{Cell, State, Word};
use crate::start::cells::Body;
use crate::start::join::hold_for_life;
use crate::start::orders::{Orders, Received};
use crate::start::orphan;

/// What `ps` and `top` call a process that waits to be needed.
const NAME: &str = "parked spare";

/// How long descriptors that were sent before the orders may take.
const MAIL: Duration = Duration::from_secs(10);

/// The shared object by which spares are found.
#[derive(Clone, Debug)]
pub(super) struct Spares {
    object: Object,
}

impl Spares {
    /// Makes a set of spares that nobody keeps yet.
    pub(super) fn create() -> Result<Self> {
        let object = Object::create(ObjectKind::Spares, size_of::<Body>() as u64)?;
        Ok(Self { object })
    }

    pub(super) fn attach(handle: Handle) -> Result<Self> {
        let object = Object::attach(handle, ObjectKind::Spares)?;
        Ok(Self { object })
    }

    pub(super) fn handle(&self) -> Handle {
        self.object.handle()
    }

    pub(super) fn body(&self) -> &Body {
        self.object.body()
    }

    pub(super) fn cell(&self, index: usize) -> Option<&'static Cell> {
        let body: &'static Body = self.object.view().body();
        body.cells.get(index)
    }

    pub(super) fn family(&self) -> &'static Family {
        self.object.family()
    }

    /// Claims a spare that another process keeps, which `keeper` watches;
    /// `None` when there is none to be had.
    pub(super) fn claim(&self, with_fds: bool, keeper: &PidFd) -> Result<Option<Claim>> {
        let me = self.family().me();
        let cells = || {
            let all = self.body().cells.iter().enumerate();
            all.map(|(index, cell)| (index, cell, cell.word()))
        };
        let parked = cells().filter(|(.., word)| word.state == State::Parked);
        // Only then one that boots: it has a millisecond to go.
        let booting = cells().filter(|(.., word)| word.state == State::Booting);
        for (index, cell, word) in parked.chain(booting) {
            if !cell.can_be_claimed(word, with_fds) {
                continue;
            }
            let Some(claimed) = cell.claim(word, me, living)? else {
                continue;
            };
            let claim = Claim {
                spares: self.clone(),
                index,
                word: claimed.word,
                stamp: claimed.stamp,
                held: Some(Held::Theirs(claimed.process)),
            };
            // Only a living keeper has kept the pid from being given anew.
            if keeper.is_dead() {
                return Ok(None);
            }
            return Ok(Some(claim));
        }
        Ok(None)
    }

    /// Claims the spare in a cell, which we keep and `child` is.
    pub(super) fn claim_own(
        &self,
        index: usize,
        with_fds: bool,
        child: Child,
    ) -> std::result::Result<Claim, Child> {
        let cell = &self.body().cells[index];
        let word = cell.word();
        if !cell.can_be_claimed(word, with_fds) {
            return Err(child);
        }
        let ours = |_| Ok::<_, Infallible>(Some(()));
        let Ok(Some(claimed)) = cell.claim(word, self.family().me(), ours) else {
            return Err(child);
        };
        Ok(Claim {
            spares: self.clone(),
            index,
            word: claimed.word,
            stamp: child.stamp(),
            held: Some(Held::Ours(child)),
        })
    }
}

/// Opens a process that lives.
fn living(pid: u32) -> Result<Option<PidFd>> {
    match PidFd::open(pid) {
        Ok(pidfd) => Ok((!pidfd.is_dead()).then_some(pidfd)),
        Err(error) if error.kind() == ErrorKind::Dead => Ok(None),
        Err(error) => Err(error),
    }
}

/// Holds a spare that is ours to give orders to. Dropping it dismisses the
/// spare.
#[derive(Debug)]
#[must_use = "a claim that is dropped dismisses the spare"]
pub struct Claim {
    spares: Spares,
    index: usize,
    word: Word,
    stamp: Stamp,
    held: Option<Held>,
}

#[derive(Debug)]
enum Held {
    /// We keep it.
    Ours(Child),
    /// Another process does.
    Theirs(PidFd),
}

impl Claim {
    /// Gives the spare its orders, and so starts the process.
    ///
    /// # Errors
    /// `Limit` when no descriptor is left for what is to be sent; the spare is
    /// dismissed then. `Dead` when it died just now: the orders are untouched
    /// and can be given to another.
    pub fn hand_over(mut self, orders: &mut Orders<'_>) -> Result<Child> {
        let family = self.spares.family();
        let cell = &self.spares.body().cells[self.index];
        let member = family.member(self.stamp);
        member.describe(&orders.name, orders.flags());
        let is_theirs = matches!(self.held, Some(Held::Theirs(_)));
        let lifeline = (is_theirs && orders.daemon)
            .then(lifeline::read_end)
            .transpose()?;
        let mut fds: Vec<_> = lifeline.iter().map(|fd| fd.as_fd()).collect();
        fds.extend(&orders.fds);
        if !fds.is_empty() {
            let secret = mailbox::secret()?;
            cell.secret.store(secret, Ordering::Relaxed);
            let deadline = Deadline::after(MAIL);
            mailbox::post(family.id(), self.stamp.raw(), secret, &fds, deadline)?;
        }
        cell.fds.store(fds.len() as u32, Ordering::Relaxed);
        let given = orders
            .payload
            .take()
            .map(|payload| payload.give(self.stamp));
        let (place, handed) = given.transpose()?.unzip();
        let (offset, len) = place.unwrap_or_default();
        cell.payload.store(offset, Ordering::Relaxed);
        cell.payload_len.store(len, Ordering::Relaxed);
        let me = family.me();
        // Not before: until here the keeper clears away after a spare that
        // ends, from now on we do.
        member.parent.store(me.raw(), Ordering::Relaxed);
        cell.hand_over(self.word);
        if let Some(handed) = handed {
            handed.settle(family);
        }
        let keeper = self.spares.body().keeper();
        match self.held.take() {
            Some(Held::Ours(child)) => Ok(child),
            Some(Held::Theirs(pidfd)) => Ok(Child::kept_by(family, self.stamp, pidfd, keeper)),
            None => Err(Error::new(ErrorKind::Invalid, "the spare is gone")),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let family = self.spares.family();
        if self.held.is_none() || self.word.claimer != family.me() {
            return;
        }
        let cell = &self.spares.body().cells[self.index];
        if !cell.let_go(self.word) {
            return;
        }
        let member = family.member(self.stamp);
        if member.exit.status(self.stamp.generation()).is_some() {
            family.release_member(self.stamp);
        }
    }
}

/// This process as a spare.
#[derive(Debug)]
pub struct Spare {
    spares: Spares,
    cell: &'static Cell,
    mailbox: Mailbox,
    tie: Tie,
    /// What an interrupt from the terminal did before it was ignored.
    interrupts: Disposition,
    /// What `ps` called it before, if the kernel told.
    name: Option<String>,
    /// Not claimed for so long, it ends.
    patience: Option<Duration>,
}

/// What ends a spare with its keeper.
#[derive(Debug)]
pub(super) enum Tie {
    /// The server's end; the event is raised when the spare is adopted.
    ToServer(orphan::Tie, EventFd),
    /// The lifeline of the process that will use it.
    ToUser(Lifeline),
}

impl Spare {
    pub(super) fn new(
        spares: Spares,
        index: usize,
        tie: Tie,
        interrupts: Disposition,
        patience: Option<Duration>,
    ) -> Result<Self> {
        let family = spares.family();
        let cell = spares.cell(index).ok_or_else(|| {
            let message = format!("there is no cell {index} for a spare");
            Error::new(ErrorKind::Invalid, message)
        })?;
        // Only for those who look at it: a sandbox may forbid it.
        let name = prctl::name().ok();
        let _ = prctl::set_name(NAME);
        Ok(Self {
            name,
            mailbox: Mailbox::bind(family.id(), family.me().raw())?,
            cell,
            interrupts,
            spares,
            tie,
            patience,
        })
    }

    /// Sleeps until somebody has orders for this process; `None` when it is not
    /// needed and should end.
    ///
    /// # Errors
    /// When what was handed over cannot be received; the process must end.
    pub fn park(self) -> Result<Option<Received>> {
        let body = self.spares.body();
        if self.cell.park(self.patience, || body.supply.announce()) {
            return self.adopted().map(Some);
        }
        Ok(None)
    }

    /// Becomes what the orders say.
    fn adopted(self) -> Result<Received> {
        let family = self.spares.family();
        let cell = self.cell;
        let member = family.member(family.me());
        let count = cell.fds.load(Ordering::Relaxed) as usize;
        let secret = cell.secret.load(Ordering::Relaxed);
        let mut fds = self
            .mailbox
            .receive(secret, count, Deadline::after(MAIL))?
            .into_iter();
        let flags = member.flags.load(Ordering::Relaxed);
        let is_daemon = flags & DAEMON != 0;
        match self.tie {
            Tie::ToServer(tie, noticed) => {
                if is_daemon && let Some(read_end) = fds.next() {
                    hold_for_life(Lifeline::hold(read_end)?);
                }
                tie.cut()?;
                noticed.raise();
            }
            Tie::ToUser(line) if is_daemon => hold_for_life(line),
            Tie::ToUser(line) => drop(line),
        }
        self.interrupts.restore()?;
        if let Some(name) = &self.name {
            let _ = prctl::set_name(name);
        }
        let offset = cell.payload.load(Ordering::Relaxed);
        let len = cell.payload_len.load(Ordering::Relaxed);
        let payload = (offset != 0)
            .then(|| Block::claim(offset, family.me()))
            .transpose()?
            .map(|block| Payload::new(block, usize::try_from(len).unwrap_or(0)));
        member.flags.fetch_or(BOOTED, Ordering::Relaxed);
        cell.vacate();
        Ok(Received {
            payload,
            fds: fds.collect(),
        })
    }
}

/// The flags of a spare in the member table.
pub(super) const SPARE_FLAGS: u32 = SPARE | BOOTED;
