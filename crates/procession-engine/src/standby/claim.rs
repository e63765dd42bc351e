//! Claiming a spare, handing it a launch spec, and parking as a spare.
//!
//! README.md in this folder describes the protocol. The keepers are in `server.rs` (forked
//! spares) and `prebooted.rs` (fresh images).

use std::convert::Infallible;
use std::os::fd::AsFd as _;
use std::time::Duration;

use crate::family;
use crate::launch::boot::{hold_for_life, pid_to_end_with};
use crate::launch::spec::{Inherited, LaunchSpec};
use crate::process::{Child, Payload};
use crate::standby::interrupts::Interrupts;
use crate::standby::parent_exit;
use crate::standby::slot::{SlotState, SlotWord, StandbySlot};
use crate::standby::table::StandbyTable;
use crate::trace;
use procession_shm::member::table::{BOOTED, DAEMON, SPARE};
use procession_shm::{Family, Handle, HandleSource, SharedObject, Stamp};
use procession_sys::attributes::prctl;
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::fd::kept_fd::KeptFd;
use procession_sys::fd::streams;
use procession_sys::primitive::Ordering;
use procession_sys::process::lifeline::{self, Lifeline};
use procession_sys::process::pidfd::PidFd;
use procession_sys::signals;
use procession_sys::socket::mailbox::{self, Mailbox};
use procession_sys::wait::flag::Flag;
use procession_sys::wait::time::Deadline;

/// The name of a parked spare in `ps` and `top`.
const NAME: &str = "parked spare";

/// How long sending and receiving of descriptors may take.
const MAIL: Duration = Duration::from_secs(10);

/// The shared object with the slots of spares.
#[derive(Clone, Debug)]
pub(crate) struct Spares {
    object: SharedObject<StandbyTable>,
}

impl Spares {
    /// Makes an object without a keeper and without spares.
    pub(crate) fn create() -> Result<Self> {
        let object = SharedObject::create(family()?, 0)?;
        Ok(Self { object })
    }

    pub(crate) fn attach(handle: Handle) -> Result<Self> {
        let object = SharedObject::attach(family()?, handle, &HandleSource::KEPT)?;
        Ok(Self { object })
    }

    pub(crate) fn handle(&self) -> Handle {
        self.object.handle()
    }

    pub(crate) fn body(&self) -> &StandbyTable {
        self.object.body()
    }

    pub(crate) fn slot(&self, index: usize) -> Option<&'static StandbySlot> {
        self.object.body().slots.get(index)
    }

    pub(crate) fn family(&self) -> &'static Family {
        self.object.family()
    }

    /// Claims a spare of another process, `keeper`; `None` when no spare can be claimed.
    ///
    /// The spare will be sent those standard streams of this process that differ from the
    /// keeper's.
    pub(crate) fn claim(&self, with_fds: bool, keeper: &PidFd) -> Result<Option<Claim>> {
        let me = self.family().me();
        let streams = self.body().redirected();
        let with_fds = with_fds || streams != 0;
        let slots = || {
            let all = self.body().slots.iter().enumerate();
            all.map(|(index, slot)| (index, slot, slot.word()))
        };
        let parked = slots().filter(|(.., word)| word.state == SlotState::Parked);
        // A spare that boots comes second: it needs another millisecond.
        let booting = slots().filter(|(.., word)| word.state == SlotState::Booting);
        for (index, slot, word) in parked.chain(booting) {
            if !slot.can_be_claimed(word, with_fds) {
                continue;
            }
            let Some(claimed) = slot.claim(word, me, living)? else {
                continue;
            };
            let claim = Claim {
                spares: self.clone(),
                index,
                word: claimed.word,
                stamp: claimed.stamp,
                streams,
                held: Some(Held::Theirs(claimed.process)),
            };
            // If the keeper is dead, init may have reaped the spare, and the pid may be reused.
            if keeper.is_dead() {
                return Ok(None);
            }
            // Dropping the claim dismisses the spare.
            if is_interrupted(slot.pid(), word) {
                continue;
            }
            return Ok(Some(claim));
        }
        Ok(None)
    }

    /// Claims the spare in a slot, of which this process is the keeper; `process` is the spare.
    pub(crate) fn claim_own(&self, index: usize, with_fds: bool, process: PidFd) -> Option<Claim> {
        let slot = &self.body().slots[index];
        let word = slot.word();
        if !slot.can_be_claimed(word, with_fds) {
            return None;
        }
        let ours = |_| Ok::<_, Infallible>(Some(()));
        let claimed = slot.claim(word, self.family().me(), ours).ok().flatten()?;
        let child = Child::own(self.family(), claimed.stamp, process);
        Some(Claim {
            spares: self.clone(),
            index,
            word: claimed.word,
            stamp: claimed.stamp,
            streams: 0,
            held: Some(Held::Ours(child)),
        })
    }
}

pub(super) fn no_slot(index: usize) -> Error {
    let message = format!("there is no place {index} for a standby process");
    Error::new(ErrorKind::Invalid, message)
}

/// Tells whether a spare that was just claimed has an interrupt pending from before the claim,
/// which is not meant for the new process. `seen` is the slot's word from before the claim.
pub(super) fn is_interrupted(pid: u32, seen: SlotWord) -> bool {
    seen.state == SlotState::Booting && signals::holds_interrupt(pid)
}

/// Opens a process, if it is alive.
fn living(pid: u32) -> Result<Option<PidFd>> {
    match PidFd::open(pid) {
        Ok(pidfd) => Ok((!pidfd.is_dead()).then_some(pidfd)),
        Err(error) if error.kind() == ErrorKind::Dead => Ok(None),
        Err(error) => Err(error),
    }
}

/// Holds a claimed spare, to which this process may hand a launch spec. Dropping it dismisses
/// the spare.
#[derive(Debug)]
#[must_use = "a claim that is dropped dismisses the spare"]
pub struct Claim {
    spares: Spares,
    index: usize,
    word: SlotWord,
    stamp: Stamp,
    /// One bit for each standard stream to send to the spare.
    streams: u32,
    held: Option<Held>,
}

#[derive(Debug)]
enum Held {
    /// This process is the keeper.
    Ours(Child),
    /// Another process is the keeper.
    Theirs(PidFd),
}

impl Claim {
    /// Hands the spare its launch spec, and so starts the process.
    ///
    /// # Errors
    /// `Limit` when no descriptor is left for sending others; the spare is
    /// dismissed then. `Dead` when the spare has just died: then the launch spec is unused,
    /// and can be handed to another spare.
    pub fn hand_over(mut self, spec: &mut LaunchSpec<'_>) -> Result<Child> {
        let family = self.spares.family();
        let slot = &self.spares.body().slots[self.index];
        let member = family.member(self.stamp);
        member.describe(&spec.name, spec.flags());
        let is_theirs = matches!(self.held, Some(Held::Theirs(_)));
        let lifeline = (is_theirs && spec.daemon)
            .then(lifeline::read_end)
            .transpose()?;
        let mut fds: Vec<_> = lifeline.iter().map(KeptFd::unverified).collect();
        let nothing = (self.streams != 0).then(streams::nothing).transpose()?;
        for number in streams::in_set(self.streams) {
            let stream = streams::passed_on(number);
            fds.extend(stream.or(nothing.as_ref().map(|fd| fd.as_fd())));
        }
        fds.extend(&spec.fds);
        if !fds.is_empty() {
            let secret = mailbox::secret()?;
            slot.secret.store(secret, Ordering::Relaxed);
            let deadline = Deadline::after(MAIL);
            mailbox::post(family.id(), self.stamp.raw(), secret, &fds, deadline)?;
        }
        slot.fds.store(fds.len() as u32, Ordering::Relaxed);
        slot.streams.store(self.streams, Ordering::Relaxed);
        let given = spec.payload.take().map(|payload| payload.give(self.stamp));
        let (offset, len) = given.transpose()?.unwrap_or_default();
        slot.payload.store(offset, Ordering::Relaxed);
        slot.payload_len.store(len, Ordering::Relaxed);
        let me = family.me();
        // Not earlier: until here the keeper reclaims a spare that ends; from here on, this
        // process does.
        member.parent.store(me.raw(), Ordering::Relaxed);
        slot.hand_over(self.word);
        // The spare may have been reclaimed before it was given the payload.
        family.free_if_reclaimed(offset, self.stamp);
        let keeper = self.spares.body().keeper();
        match self.held.take() {
            Some(Held::Ours(child)) => Ok(child),
            Some(Held::Theirs(pidfd)) => Ok(Child::kept_by(family, self.stamp, pidfd, keeper)),
            None => {
                let message = format!(
                    "standby process {} was used for another start already",
                    self.stamp
                );
                Err(Error::new(ErrorKind::Invalid, message))
            }
        }
    }

    /// Returns the spare's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.spares.body().slots[self.index].pid()
    }

    /// Tells whether the spare is a child of this process.
    pub(crate) fn is_our_child(&self) -> bool {
        matches!(&self.held, Some(Held::Ours(child)) if child.is_reapable())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let family = self.spares.family();
        if self.held.is_none() || self.word.claimer != family.me() {
            return;
        }
        let slot = &self.spares.body().slots[self.index];
        if !slot.let_go(self.word) {
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
    slot: &'static StandbySlot,
    mailbox: Mailbox,
    tie: KeeperTie,
    interrupts: Interrupts,
    /// Its name in `ps` before it was parked, if the kernel returned that.
    name: Option<String>,
    /// How long it waits to be claimed before it ends; `None` for ever.
    patience: Option<Duration>,
}

/// The means by which a spare ends with its keeper.
#[derive(Debug)]
pub(crate) enum KeeperTie {
    /// A handler for the server's exit; the flag is raised when the spare is adopted.
    ToServer(parent_exit::ParentExitHandler, Flag),
    /// The lifeline of the process that will use it.
    ToUser(Lifeline),
}

impl Spare {
    pub(crate) fn new(
        spares: Spares,
        index: usize,
        tie: KeeperTie,
        interrupts: Interrupts,
        patience: Option<Duration>,
    ) -> Result<Self> {
        let family = spares.family();
        let slot = spares.slot(index).ok_or_else(|| no_slot(index))?;
        // Errors are ignored: the name is only for display, and a sandbox may forbid it.
        let name = prctl::name().ok();
        let _ = prctl::set_name(NAME);
        Ok(Self {
            name,
            mailbox: Mailbox::bind(family.id(), family.me().raw())?,
            slot,
            interrupts,
            spares,
            tie,
            patience,
        })
    }

    /// Sleeps until a claimer hands this process a launch spec; `None` when the process is not
    /// needed and has to end.
    ///
    /// # Errors
    /// When the descriptors or the payload cannot be received; the process must end.
    pub fn park(self) -> Result<Option<Inherited>> {
        let body = self.spares.body();
        if self.slot.park(self.patience, || body.supply.announce()) {
            return self.adopted().map(Some);
        }
        Ok(None)
    }

    /// Takes the launch spec: receives descriptors and payload, and detaches from the keeper.
    fn adopted(self) -> Result<Inherited> {
        let family = self.spares.family();
        let slot = self.slot;
        let member = family.member(family.me());
        let count = slot.fds.load(Ordering::Relaxed) as usize;
        let secret = slot.secret.load(Ordering::Relaxed);
        let mut fds = self
            .mailbox
            .receive(secret, count, Deadline::after(MAIL))?
            .into_iter();
        let flags = member.flags.load(Ordering::Relaxed);
        let is_daemon = flags & DAEMON != 0;
        match self.tie {
            KeeperTie::ToServer(tie, noticed) => {
                if is_daemon && let Some(read_end) = fds.next() {
                    let parent = Stamp::from_raw(member.parent.load(Ordering::Relaxed));
                    let pid = pid_to_end_with(family, parent)?;
                    hold_for_life(Lifeline::hold(read_end, pid)?);
                }
                tie.cut()?;
                noticed.raise();
            }
            KeeperTie::ToUser(line) if is_daemon => hold_for_life(line),
            KeeperTie::ToUser(line) => drop(line),
        }
        for number in streams::in_set(slot.streams.load(Ordering::Relaxed)) {
            if let Some(stream) = fds.next() {
                streams::replace(number, stream)?;
            }
        }
        self.interrupts.let_come()?;
        if let Some(name) = &self.name {
            let _ = prctl::set_name(name);
        }
        let offset = slot.payload.load(Ordering::Relaxed);
        let len = slot.payload_len.load(Ordering::Relaxed);
        let payload = (offset != 0)
            .then(|| Payload::claim((offset, len)))
            .transpose()?;
        member.flags.fetch_or(BOOTED, Ordering::Relaxed);
        if family.is_traced() {
            trace::process_started(family);
        }
        slot.vacate();
        Ok(Inherited {
            payload,
            fds: fds.collect(),
        })
    }
}

/// The flags of a spare in the member table.
pub(crate) const SPARE_FLAGS: u32 = SPARE | BOOTED;
