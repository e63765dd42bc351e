//! The family: one arena, shared by a process and all that it starts.
//!
//! [`Family::get`] creates it on first use; a started process joins with
//! [`Family::adopt`], a forked one by the handler that runs after `fork`.
//! This is one of the engine's two globals (the other is the lifeline).
//!
//! Size: one noun, whose blocks and members have an `impl` each.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::OnceLock;

use crate::arena::block::Block;
use crate::arena::blocks::{self, Place};
use crate::arena::faulted::Faulted;
use crate::arena::layout::{CHUNK, Layout, MEMBER_SIZE};
use crate::arena::ledger::Ledger;
use crate::arena::member::{Member, Stage, Standing};
use crate::arena::object::{Registry, View};
use crate::arena::raw_lock::Liveness;
use crate::arena::space::Space;
use crate::arena::spans::{self, CLASSES, Hints};
use crate::arena::stamp::{MAX_MEMBERS, Stamp};
use crate::arena::usage::Usage;
use crate::arena::{burial, carried, runs};
use crate::error::{Error, ErrorKind, Result};
use crate::os::fork_mutex::ForkMutex;
use crate::os::memfd::MemFd;
use crate::os::memory::memory_limit;
use crate::os::{atfork, lifeline, liveness, random};
use crate::primitive::{AtomicU32, AtomicU64, Ordering, relax};

/// Bytes to which `PROCESSION_ARENA_LIMIT` holds a new family's shared memory;
/// by default that of the machine or its control group.
pub const LIMIT_VARIABLE: &str = "PROCESSION_ARENA_LIMIT";

/// Once this many member slots were used, those of dead orphans are looked for
/// before new ones are taken.
const CROWDED: usize = 64;

static FAMILY: OnceLock<Family> = OnceLock::new();

thread_local! {
    /// The stamp set aside for the child that this thread is about to fork.
    static NEXT_CHILD: Cell<Stamp> = const { Cell::new(Stamp::NOBODY) };
}

/// Everything that this process shares with its relatives.
#[derive(Debug)]
pub struct Family {
    space: Space,
    me: AtomicU32,
    hints: ForkMutex<[Hints; CLASSES]>,
    faulted: ForkMutex<Faulted>,
    registry: ForkMutex<Registry>,
}

impl Family {
    /// Returns the family this process belongs to, founding it if need be.
    ///
    /// # Errors
    /// When no memory file or address space is to be had.
    pub fn get() -> Result<&'static Self> {
        if let Some(family) = FAMILY.get() {
            return family.joined();
        }
        let family = Self::of(Space::create(limit()?, random::number()?)?);
        let me = family.reserve_member_for(Stamp::NOBODY)?;
        family.become_member(me);
        Self::install(family)
    }

    /// Returns the family if there is one already.
    #[must_use]
    pub fn existing() -> Option<&'static Self> {
        FAMILY.get()
    }

    /// Joins the family whose memory file a parent passed on, in the slot that
    /// the parent set aside.
    ///
    /// # Errors
    /// When the descriptor is not a family's, or this process has one already.
    pub fn adopt(fd: OwnedFd, me: Stamp) -> Result<&'static Self> {
        let family = Self::of(Space::open(MemFd::from_inherited(fd))?);
        if !family.become_member(me) {
            return Err(given_up(me));
        }
        Self::install(family)
    }

    fn of(space: Space) -> Self {
        Self {
            space,
            me: AtomicU32::new(0),
            hints: ForkMutex::default(),
            faulted: ForkMutex::default(),
            registry: ForkMutex::default(),
        }
    }

    fn install(family: Self) -> Result<&'static Self> {
        if FAMILY.set(family).is_ok() {
            atfork::register(before_fork, after_fork_in_parent, after_fork_in_child)?;
        }
        // Two threads may have founded at once; the loser's is unmapped never
        // and used never.
        FAMILY
            .get()
            .ok_or_else(|| Error::new(ErrorKind::Invalid, "the family was not installed"))?
            .joined()
    }

    fn joined(&'static self) -> Result<&'static Self> {
        if self.me().is_nobody() {
            return Err(Error::new(
                ErrorKind::Limit,
                format!(
                    "this forked process could not join its family: all {MAX_MEMBERS} places \
                     are taken"
                ),
            ));
        }
        Ok(self)
    }

    /// Returns the memory file.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.space.file().as_fd()
    }

    /// Returns this process's stamp.
    #[must_use]
    pub fn me(&self) -> Stamp {
        Stamp::from_raw(self.me.load(Ordering::Relaxed))
    }

    /// Returns the family's random number.
    #[must_use]
    pub fn id(&self) -> u128 {
        let id = &self.space.header().id;
        u128::from(id[0].load(Ordering::Relaxed)) | u128::from(id[1].load(Ordering::Relaxed)) << 64
    }

    /// Returns the bytes of memory that the whole family's arena takes now.
    ///
    /// # Errors
    /// When the memory file cannot be looked at.
    pub fn resident(&self) -> Result<u64> {
        self.space.file().resident()
    }

    /// Returns how many blocks and bytes are in use, by anybody.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        burial::for_each_block(&self.space, |_, word, capacity| {
            usage.blocks += 1;
            usage.bytes += capacity;
            usage.objects += u64::from(word.object);
        });
        usage
    }

    /// Returns one of the cells for objects that the whole family knows.
    #[must_use]
    pub fn root(&self, index: usize) -> &[AtomicU64; 2] {
        &self.space.header().roots[index]
    }

    pub(crate) fn space(&self) -> &Space {
        &self.space
    }

    pub(crate) fn registry(&self) -> &ForkMutex<Registry> {
        &self.registry
    }

    pub(crate) fn next_serial(&self) -> u64 {
        self.space.header().serial.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Returns the address of an offset.
    #[must_use]
    pub fn pointer(&self, offset: u64, len: u64) -> NonNull<u8> {
        self.space.map().at(offset, len)
    }

    /// Returns the offset of an address inside the arena.
    #[must_use]
    pub fn offset_of(&self, address: *const u8) -> u64 {
        let base = self.space.map().at(0, 0).as_ptr() as usize;
        (address as usize).wrapping_sub(base) as u64
    }
}

/// Blocks.
impl Family {
    /// Allocates a block of at least `len` bytes, ours.
    ///
    /// # Errors
    /// `OutOfMemory` when the arena or the machine is full.
    pub fn alloc(&self, len: u64) -> Result<Block> {
        match self.try_alloc(len) {
            Err(error) if error.kind() == ErrorKind::OutOfMemory => {
                // What dead members held may be just what is missing.
                if self.bury_all() == 0 {
                    return Err(error);
                }
                self.try_alloc(len)
            }
            result => result,
        }
    }

    pub(super) fn try_alloc(&self, len: u64) -> Result<Block> {
        let (space, me) = (&self.space, self.me());
        let data = space.layout().data();
        if let Some(class) = spans::class_of(len) {
            let mut hints = self.hints.lock();
            let (chunk, index) = spans::alloc(space, self, me, class, &mut hints[class])?;
            let size = spans::size_of(class);
            return Ok(Block::owned(data + chunk * CHUNK + index * size, size));
        }
        let count = len.div_ceil(CHUNK);
        if count > space.layout().chunks {
            return Err(Error::new(
                ErrorKind::OutOfMemory,
                format!("{len} bytes are more than the arena can ever hold"),
            ));
        }
        let chunk = runs::alloc(space, self, me, count)?;
        self.faulted.lock().ensure(space, chunk, count);
        Ok(Block::owned(data + chunk * CHUNK, count * CHUNK))
    }

    /// Frees the block at `offset` if it is ours.
    pub(crate) fn free(&self, offset: u64) {
        let (space, me) = (&self.space, self.me());
        let Ok(found) = blocks::find(space, offset) else {
            return;
        };
        if !found.is_of(me) {
            return;
        }
        if found.word.carries {
            carried::give_back(self, offset, found.capacity);
        }
        match found.place {
            Place::Run(chunk) => runs::free(space, chunk),
            Place::Small(chunk, index) => {
                let class = spans::class_at(space, chunk);
                let mut hints = self.hints.lock();
                spans::free(space, self, me, chunk, index, &mut hints[class]);
            }
        }
    }

    /// Frees the block at `offset` if it is `owner`'s.
    pub(crate) fn free_of(&self, offset: u64, owner: Stamp) {
        if self.change_owner(offset, owner, self.me()).is_ok() {
            self.free(offset);
        }
    }

    /// Makes `to` the owner of a block that `from` owns; returns its capacity.
    ///
    /// # Errors
    /// `Stale` when `from` does not own a block there.
    pub fn change_owner(&self, offset: u64, from: Stamp, to: Stamp) -> Result<u64> {
        blocks::change_owner(&self.space, offset, from, to)
    }

    /// Returns how many bytes the block at `offset` holds.
    ///
    /// # Errors
    /// `Stale` when none begins there.
    pub(crate) fn capacity_at(&self, offset: u64) -> Result<u64> {
        blocks::find(&self.space, offset).map(|found| found.capacity)
    }

    pub(crate) fn publish_object(&self, offset: u64) {
        blocks::publish_object(&self.space, offset);
    }

    pub(super) fn mark_carrying(&self, offset: u64) {
        blocks::mark_carrying(&self.space, offset);
    }

    /// Calls `visit` with offset and capacity of every block that carries loans.
    pub(super) fn for_each_carrying(&self, mut visit: impl FnMut(u64, u64)) {
        burial::for_each_block(&self.space, |offset, word, capacity| {
            if word.carries {
                visit(offset, capacity);
            }
        });
    }

    /// Tells whether a block carries loans.
    pub(super) fn carries(&self, offset: u64) -> bool {
        blocks::find(&self.space, offset).is_ok_and(|found| found.word.carries)
    }

    /// Makes an object's block ours for a moment, in which nobody else frees it; tells
    /// whether there is an object, and nobody else at it. With `patience` it waits for
    /// those who are, and takes it from one that has died.
    pub(super) fn hold_object(&self, offset: u64, patience: bool) -> bool {
        let me = self.me();
        while let Ok(found) = blocks::find(&self.space, offset)
            && found.word.object
        {
            let owner = found.word.owner;
            let is_free = owner == 0 || patience && self.has_left(owner);
            if is_free && blocks::hold_object(&self.space, &found, me) {
                return true;
            }
            if !patience && !is_free {
                return false;
            }
            std::thread::yield_now();
            relax();
        }
        false
    }

    /// Tells whether the member in a slot has died. It keeps the slot until it is buried.
    fn has_left(&self, slot: u16) -> bool {
        let slot = usize::from(slot);
        let generation = self.space.member(slot).generation();
        self.is_dead(Stamp::new(slot, generation))
    }

    /// Lets go of an object that was held.
    pub(super) fn let_go_of_object(&self, offset: u64) {
        // Nobody takes it from us while we live.
        let _ = self.change_owner(offset, self.me(), Stamp::NOBODY);
    }

    pub(crate) fn is_object(&self, offset: u64) -> bool {
        blocks::find(&self.space, offset).is_ok_and(|found| found.word.object)
    }

    /// Tells whether an object begins there, or a block of ours that may become one.
    pub(crate) fn is_object_or_ours(&self, offset: u64) -> bool {
        blocks::find(&self.space, offset)
            .is_ok_and(|found| found.word.object || found.is_of(self.me()))
    }
}

/// Members.
impl Family {
    /// Returns a member's entry.
    #[must_use]
    pub fn member(&self, stamp: Stamp) -> &Member {
        self.space.member(stamp.slot())
    }

    /// Sets a slot aside for a process that is about to start as our child.
    ///
    /// # Errors
    /// `Limit` when all slots are taken.
    pub fn reserve_member(&self) -> Result<Stamp> {
        self.reserve_member_for(self.me())
    }

    fn reserve_member_for(&self, parent: Stamp) -> Result<Stamp> {
        let high = &self.space.header().members_high_water;
        let used = high.load(Ordering::Acquire) as usize;
        if let Some(stamp) = self.claim_slot(1..used, parent) {
            return Ok(stamp);
        }
        if used >= CROWDED
            && self.bury_all() > 0
            && let Some(stamp) = self.claim_slot(1..used, parent)
        {
            return Ok(stamp);
        }
        let mut slot = used.max(1);
        while slot < MAX_MEMBERS {
            self.space
                .commit_table(Layout::MEMBERS + slot as u64 * MEMBER_SIZE, MEMBER_SIZE)?;
            high.fetch_max(slot as u32 + 1, Ordering::AcqRel);
            if let Some(stamp) = self.claim_slot(slot..slot + 1, parent) {
                return Ok(stamp);
            }
            slot += 1;
        }
        Err(Error::new(
            ErrorKind::Limit,
            format!("the family has no place for another process: {MAX_MEMBERS} are taken"),
        ))
    }

    fn claim_slot(&self, slots: std::ops::Range<usize>, parent: Stamp) -> Option<Stamp> {
        for slot in slots {
            if let Some(generation) = self.space.member(slot).claim(parent) {
                return Some(Stamp::new(slot, generation));
            }
        }
        None
    }

    /// Gives a member's slot back once it is dead or never came to life; the
    /// parent does, when nobody will ask for its exit status any more.
    pub fn release_member(&self, stamp: Stamp) {
        self.bury(stamp);
        let member = self.member(stamp);
        let standing = member.standing();
        if standing.generation == stamp.generation() && standing.stage == Stage::Dead {
            member.advance(standing, Stage::Free, Stamp::NOBODY);
        }
    }

    /// Makes this process the member that was set aside for it; tells whether
    /// the place was still there (it goes when the parent dies too early).
    fn become_member(&self, me: Stamp) -> bool {
        // Before others are told: a signal may come in between.
        self.me.store(me.raw(), Ordering::Relaxed);
        let (pid, seen) = (std::process::id(), liveness::boot_time());
        self.member(me).join(me.generation(), pid, seen)
    }

    /// Sets a slot aside for the child that this thread is about to fork, and
    /// attaches it to all that this process is attached to.
    ///
    /// # Errors
    /// `Limit` or `OutOfMemory`; nothing is left behind then.
    pub fn prepare_fork(&self) -> Result<Stamp> {
        let child = self.reserve_member()?;
        let attachments = self.registry.lock().attachments();
        if let Err(error) = attachments.stamp_for_child(self, child) {
            attachments.stay_parent();
            self.release_member(child);
            return Err(error);
        }
        NEXT_CHILD.set(child);
        Ok(child)
    }

    /// Undoes [`Family::prepare_fork`] when the fork failed.
    pub fn cancel_fork(&self, child: Stamp) {
        NEXT_CHILD.set(Stamp::NOBODY);
        self.registry.lock().attachments().stay_parent();
        self.release_member(child);
    }

    /// Tells whether the process named by `stamp` is no more.
    #[must_use]
    pub fn is_dead(&self, stamp: Stamp) -> bool {
        if stamp == self.me() {
            return false;
        }
        if stamp.is_nobody() {
            return true;
        }
        self.is_over(stamp, self.member(stamp).standing())
    }

    /// Tells whether the process named by `stamp` is no more, its slot being like this.
    pub(super) fn is_over(&self, stamp: Stamp, standing: Standing) -> bool {
        standing.is_past(stamp)
            || match standing.stage {
                Stage::Alive => {
                    let member = self.member(stamp);
                    !liveness::is_alive(member.pid(), member.seen())
                }
                // Its process is yet to come.
                _ => standing.holder != stamp && self.is_dead(standing.holder),
            }
    }

    /// Clears away after a member that has died: detaches it from every
    /// object, returns what it held, frees its blocks. Doing it twice is fine.
    pub fn bury(&self, dead: Stamp) {
        burial::bury(self, dead);
    }

    /// Buries every member whose process is gone; returns how many.
    pub fn bury_all(&self) -> usize {
        burial::bury_all(self)
    }

    /// Calls `visit` with each member that is alive or being started.
    pub fn for_each_member(&self, mut visit: impl FnMut(Stamp, &Member)) {
        let used = self
            .space
            .header()
            .members_high_water
            .load(Ordering::Acquire) as usize;
        for slot in 1..used {
            let member = self.space.member(slot);
            let standing = member.standing();
            if standing.stage != Stage::Free {
                visit(Stamp::new(slot, standing.generation), member);
            }
        }
    }

    /// Calls `visit` with each object of the family.
    pub fn for_each_object(&self, mut visit: impl FnMut(View<'_>)) {
        burial::for_each_block(&self.space, |offset, word, _| {
            if word.object {
                visit(View::new(self, offset));
            }
        });
    }
}

impl Liveness for Family {
    fn is_dead(&self, stamp: Stamp) -> bool {
        Family::is_dead(self, stamp)
    }
}

fn limit() -> Result<u64> {
    if let Some(text) = std::env::var_os(LIMIT_VARIABLE) {
        return text
            .to_str()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Invalid,
                    format!("{LIMIT_VARIABLE} must be a number of bytes, not {text:?}"),
                )
            });
    }
    // Where nothing tells, the system's own refusal is the limit.
    Ok(memory_limit().unwrap_or(u64::MAX))
}

fn given_up(me: Stamp) -> Error {
    Error::new(
        ErrorKind::Stale,
        format!("member {me} of the family was given up before this process joined"),
    )
}

extern "C" fn before_fork() {
    lifeline::hold_for_fork();
    if let Some(family) = FAMILY.get() {
        family.registry.hold();
        family.hints.hold();
        family.faulted.hold();
    }
}

extern "C" fn after_fork_in_parent() {
    lifeline::free_after_fork();
    if let Some(family) = FAMILY.get() {
        family.faulted.free_after_fork();
        family.hints.free_after_fork();
        family.registry.free_after_fork();
        if !NEXT_CHILD.replace(Stamp::NOBODY).is_nobody() {
            let attachments = family.registry.lock().attachments();
            attachments.stay_parent();
        }
    }
}

extern "C" fn after_fork_in_child() {
    lifeline::close_inherited();
    let Some(family) = FAMILY.get() else {
        return;
    };
    family.faulted.free_after_fork();
    family.hints.free_after_fork();
    family.registry.free_after_fork();
    family.faulted.lock().clear();
    let parent = family.me();
    let mut child = NEXT_CHILD.replace(Stamp::NOBODY);
    if child.is_nobody() {
        // A fork that procession knew nothing of: join now. Without a place
        // the child has no name, and what it tries fails with that reason.
        child = family.reserve_member_for(parent).unwrap_or(Stamp::NOBODY);
    }
    if !child.is_nobody() && !family.become_member(child) {
        // Our parent has ended already, and the place went with it.
        family.registry.lock().attachments().stay_parent();
        child = family.reserve_member_for(parent).unwrap_or(Stamp::NOBODY);
        if !child.is_nobody() {
            family.become_member(child);
        }
    }
    family.me.store(child.raw(), Ordering::Relaxed);
    if !child.is_nobody() {
        let attachments = family.registry.lock().attachments();
        attachments.become_child(family, child);
    }
}
