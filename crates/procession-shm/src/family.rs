//! The family: one arena, shared by a process and all processes that it starts.
//!
//! [`Family::get`] creates it on first use. A started process joins with
//! [`Family::adopt`], a forked one in the handler that runs after `fork`. A process has
//! one family at most, in a global (`FAMILY`).
//!
//! Size: one noun, whose blocks and members have an `impl` each.

use std::cell::Cell;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use crate::alloc::block::Block;
use crate::alloc::blocks::{self, WordLocation};
use crate::alloc::layout::{CHUNK, Layout, MEMBER_SIZE};
use crate::alloc::limit::MemoryLimit;
use crate::alloc::prefault::PrefaultCache;
use crate::alloc::runs;
use crate::alloc::space::Space;
use crate::alloc::spans::{self, CLASSES, Hints};
use crate::alloc::store::BackingStore;
use crate::alloc::usage::Usage;
use crate::lock::raw_lock::Liveness;
use crate::member::reclaim;
use crate::member::stamp::{MAX_MEMBERS, Stamp};
use crate::member::table::{Member, MemberState, Stage};
use crate::member::unborn::{self, LastFound, Unborn};
use crate::object::hooks::{Hooks, ObjectKind, Schema};
use crate::object::shared::{Attachments, Registry, View};
use crate::transfer::carrier;
use procession_sys::attributes::prctl;
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::fd::own_table::ProgramsTable;
use procession_sys::fork_safe::atfork::{self, forget_last_error, has_fork_failed};
use procession_sys::fork_safe::mutex::ForkMutex;
use procession_sys::fork_safe::once::ForkOnce;
use procession_sys::mem::memfd::MemFd;
use procession_sys::primitive::{AtomicU32, AtomicU64, Ordering, relax};
use procession_sys::process::fork::thread_count;
use procession_sys::process::lifeline;
use procession_sys::process::liveness;
use procession_sys::procfs;
use procession_sys::procfs::status::child_pids;
use procession_sys::random;
use procession_sys::wait::doorbell;

/// Once this many member slots are in use, dead members are reclaimed before an unused
/// slot is taken, and again whenever the number has grown by half. (Looking at all members
/// for each start would take quadratic time.)
const CROWDED: usize = 64;

static FAMILY: ForkOnce<Family> = ForkOnce::new();

thread_local! {
    /// The stamp reserved for the child that this thread is about to fork.
    static NEXT_CHILD: Cell<Stamp> = const { Cell::new(Stamp::NOBODY) };
    /// Whether it is other code that forks it.
    static IS_OTHERS: Cell<bool> = const { Cell::new(false) };
    /// The fork that this thread is in the middle of.
    static FORKING: Cell<Option<Forking>> = const { Cell::new(None) };
}

/// Everything that this process shares with its relatives.
#[derive(Debug)]
pub struct Family {
    space: Space,
    schema: &'static Schema,
    me: AtomicU32,
    /// This process's pid namespace, 0 where it is unknown.
    namespace: AtomicU32,
    /// This process's id in its pid namespace.
    pid: AtomicU32,
    /// How many slots must be in use before dead members are looked for again.
    crowded: AtomicU32,
    hints: ForkMutex<[Hints; CLASSES]>,
    prefaulted: ForkMutex<PrefaultCache>,
    registry: ForkMutex<Registry>,
    unborn: ForkMutex<Unborn>,
    unborn_found: LastFound,
}

impl Family {
    /// Returns the family of this process; founds it if there is none. `schema` describes the
    /// objects in its memory.
    ///
    /// # Errors
    /// When there is no memory file or address space for it.
    #[inline]
    pub fn get(schema: &'static Schema) -> Result<&'static Self> {
        match FAMILY.get() {
            Some(family) => family.joined(),
            None => Self::found(schema),
        }
    }

    #[cold]
    fn found(schema: &'static Schema) -> Result<&'static Self> {
        let family = Self::of(
            Space::create(
                MemoryLimit::of_new_family()?,
                random::number()?,
                schema.build,
            )?,
            schema,
        );
        let secret = random::number()?;
        let words = &family.space.header().secret;
        for (word, half) in words.iter().zip([secret, secret >> 64]) {
            // Relaxed: a process that joins was started by a member that has the secret.
            word.store(half as u64, Ordering::Relaxed);
        }
        let me = family.reserve_member_for(Stamp::NOBODY)?;
        family.become_member(me, procfs::pid_namespace());
        Self::install(family)
    }

    /// Returns the family that this process is a member of.
    ///
    /// # Errors
    /// `Invalid` when there is none yet.
    pub fn current() -> Result<&'static Self> {
        let none = || Error::new(ErrorKind::Invalid, "this process has no family yet");
        FAMILY.get().ok_or_else(none)?.joined()
    }

    /// Returns the family if there is one already.
    #[inline]
    #[must_use]
    pub fn existing() -> Option<&'static Self> {
        FAMILY.get()
    }

    /// Joins the family whose memory file the parent passed on, in the slot that
    /// the parent reserved.
    ///
    /// # Errors
    /// When the descriptor is not that of a family's memory, or this process has a family
    /// already.
    pub fn adopt(fd: OwnedFd, me: Stamp, schema: &'static Schema) -> Result<&'static Self> {
        let family = Self::of(
            Space::open(MemFd::from_inherited(fd)?, schema.build)?,
            schema,
        );
        if !family.become_member(me, procfs::pid_namespace()) {
            return Err(given_up(me));
        }
        Self::install(family)
    }

    /// Looks at a family that this process does not belong to, by its memory file, which may be
    /// opened for reading only. What would change the family ends this process.
    ///
    /// # Errors
    /// `Unsupported` when the file is not a family's, or is of another build.
    pub fn observe(file: MemFd, schema: &'static Schema) -> Result<Self> {
        let family = Self::of(Space::open_for_reading(file, schema.build)?, schema);
        let namespace = procfs::pid_namespace();
        family.namespace.store(namespace, Ordering::Relaxed);
        Ok(family)
    }

    fn of(space: Space, schema: &'static Schema) -> Self {
        Self {
            space,
            schema,
            me: AtomicU32::new(0),
            pid: AtomicU32::new(0),
            namespace: AtomicU32::new(0),
            crowded: AtomicU32::new(CROWDED as u32),
            hints: ForkMutex::default(),
            prefaulted: ForkMutex::default(),
            registry: ForkMutex::default(),
            unborn: ForkMutex::default(),
            unborn_found: LastFound::default(),
        }
    }

    fn install(family: Self) -> Result<&'static Self> {
        // First the handlers: a child that was forked between the two would take itself for its
        // parent. Two threads may found a family at once, and both register them; a fork runs
        // them once.
        atfork::register(before_fork, after_fork_in_parent, after_fork_in_child)?;
        if FAMILY.set(family).is_ok() {
            // A socket opened now rings in the family's network namespace, also in a child
            // that moves to another one. If this fails, a later ring tries again.
            let _ = doorbell::prepare();
        }
        // The family that came second is never used, and its memory stays mapped.
        FAMILY
            .get()
            .ok_or_else(|| Error::new(ErrorKind::Invalid, "the family was not installed"))?
            .joined()
    }

    #[inline]
    fn joined(&'static self) -> Result<&'static Self> {
        match self.me().is_nobody() {
            true => Err(not_joined()),
            false => Ok(self),
        }
    }

    /// Returns the memory file's descriptor, to be passed on.
    ///
    /// If the program has closed it, the file is opened again through another member. A
    /// process that is the only member, with a single thread, moves to a fresh file instead.
    ///
    /// # Errors
    /// `Invalid` when neither is possible.
    pub fn fd(&self) -> Result<BorrowedFd<'_>> {
        // Lazy: the members are listed only if the descriptor was closed.
        let relatives = std::iter::once_with(|| self.living_pids()).flatten();
        match self.space.fd(relatives) {
            Err(error) if error.kind() == ErrorKind::Invalid && self.is_alone() => {
                self.space.move_to_fresh_file()?;
                // The new mapping has no pages faulted in.
                self.prefaulted.lock().clear();
                self.space.fd(std::iter::empty())
            }
            result => result,
        }
    }

    /// Opens the memory file again for a thread that has its own table of descriptors.
    ///
    /// # Errors
    /// `Invalid` when the program has closed it.
    pub fn open_by(&self, table: &ProgramsTable) -> Result<OwnedFd> {
        self.space.open_by(table)
    }

    /// Tells whether no other process or thread uses the memory, or is about to.
    fn is_alone(&self) -> bool {
        let mut others = 0;
        self.for_each_member(|stamp, member| {
            let exists = match member.stage() {
                Stage::Alive => !self.is_dead(stamp),
                Stage::Claimed | Stage::Reserved | Stage::Forking => true,
                _ => false,
            };
            others += u32::from(exists && stamp != self.me());
        });
        others == 0 && thread_count() == Some(1)
    }

    /// Returns this process's stamp.
    #[inline]
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

    /// Returns the family's secret: a process that proves to know it is a member.
    #[must_use]
    pub fn secret(&self) -> [u8; 16] {
        let [low, high] = &self.space.header().secret;
        let low = u128::from(low.load(Ordering::Relaxed));
        let high = u128::from(high.load(Ordering::Relaxed));
        (low | high << 64).to_le_bytes()
    }

    /// Returns the bytes of memory that the whole family's arena takes now.
    ///
    /// # Errors
    /// When the program has closed the memory file's descriptor.
    pub fn resident(&self) -> Result<u64> {
        self.space.resident()
    }

    /// Returns how many blocks and bytes are in use, by all members.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        reclaim::for_each_block(&self.space, |_, word, capacity| {
            usage.blocks += 1;
            usage.bytes += capacity;
            usage.objects += u64::from(word.object);
        });
        usage
    }

    /// Tells whether a trace of the family is being written.
    #[inline]
    #[must_use]
    pub fn is_traced(&self) -> bool {
        // Relaxed: a thread that finds it set looks again, with ordering, before it uses the rings.
        self.space.header().trace.load(Ordering::Relaxed) != 0
    }

    /// Returns the word that says which trace is being written: its number in the high half,
    /// and the stamp of the member that writes it; 0 while there is none.
    #[must_use]
    pub fn trace(&self) -> &AtomicU64 {
        &self.space.header().trace
    }

    /// Returns one of the pairs of words that hold the handles of well-known objects.
    #[must_use]
    pub fn root(&self, index: usize) -> &[AtomicU64; 2] {
        &self.space.header().roots[index]
    }

    /// Returns what objects of that kind do at their two ends.
    pub(crate) fn hooks_of(&self, kind: ObjectKind) -> Option<&'static Hooks> {
        self.schema.hooks.iter().find(|hooks| hooks.kind == kind)
    }

    pub(crate) fn space(&self) -> &Space {
        &self.space
    }

    pub(crate) fn registry(&self) -> &ForkMutex<Registry> {
        &self.registry
    }

    /// Returns a serial that was never given out before in this family.
    pub fn next_serial(&self) -> u64 {
        self.space.header().serial.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Returns the address of an offset.
    #[inline]
    #[must_use]
    pub fn pointer(&self, offset: u64, len: u64) -> NonNull<u8> {
        self.space.map().at(offset, len)
    }

    /// Returns how many bytes of addresses the arena has.
    pub(crate) fn mapped(&self) -> u64 {
        self.space.map().len()
    }

    /// Returns the offset of an address inside the arena.
    #[inline]
    #[must_use]
    pub fn offset_of(&self, address: *const u8) -> u64 {
        let base = self.space.map().at(0, 0).as_ptr() as usize;
        (address as usize).wrapping_sub(base) as u64
    }
}

/// Blocks.
impl Family {
    /// Allocates a block of at least `len` bytes, which this process owns.
    ///
    /// # Errors
    /// `OutOfMemory` when the arena or the machine is full.
    pub fn alloc(&self, len: u64) -> Result<Block> {
        match self.try_alloc(len) {
            Err(error) if error.kind() == ErrorKind::OutOfMemory => {
                // The blocks of dead members may be enough.
                if self.reclaim_all() == 0 {
                    return Err(error);
                }
                self.try_alloc(len)
            }
            result => result,
        }
    }

    pub(crate) fn try_alloc(&self, len: u64) -> Result<Block> {
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
                format!(
                    "{len} bytes are more than a family's shared memory can ever hold: the \
                     system had addresses for {}",
                    self.space.layout().chunks * CHUNK
                ),
            ));
        }
        let chunk = runs::alloc(space, self, me, count)?;
        self.prefaulted.lock().ensure(space, chunk, count);
        Ok(Block::owned(data + chunk * CHUNK, count * CHUNK))
    }

    /// Frees the block at `offset` if this process owns it.
    pub fn free(&self, offset: u64) {
        let (space, me) = (&self.space, self.me());
        let Ok(found) = blocks::find(space, offset) else {
            return;
        };
        if !found.is_of(me) {
            return;
        }
        if found.word.carries {
            carrier::give_back(self, offset, found.capacity);
        }
        match found.place {
            WordLocation::Run(chunk) => runs::free(space, chunk),
            WordLocation::Small(chunk, index) => {
                let class = spans::class_at(space, chunk);
                let mut hints = self.hints.lock();
                spans::free(space, self, me, chunk, index, &mut hints[class]);
            }
        }
    }

    /// Frees the block at `offset` if `owner` owns it.
    pub(crate) fn free_of(&self, offset: u64, owner: Stamp) {
        if self.change_owner(offset, owner, self.me()).is_ok() {
            self.free(offset);
        }
    }

    /// Frees a block that was given to a member, if the member had been reclaimed before:
    /// nobody else would, until the slot's next member ends. Only the member's parent, which
    /// gives the slot back, may call this.
    pub fn free_if_reclaimed(&self, offset: u64, member: Stamp) {
        let state = || self.member(member).state();
        if !state().is_past(member) {
            return;
        }
        // Waits for another member that may still be reclaiming it.
        self.reclaim(member);
        if state().stage == Stage::Dead && state().generation == member.generation() {
            self.free_of(offset, member);
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
    /// `Stale` when no block begins there.
    #[inline]
    pub fn capacity_at(&self, offset: u64) -> Result<u64> {
        blocks::find(&self.space, offset).map(|found| found.capacity)
    }

    pub(crate) fn publish_object(&self, offset: u64) {
        blocks::publish_object(&self.space, offset);
    }

    pub(crate) fn mark_carrying(&self, offset: u64) {
        blocks::mark_carrying(&self.space, offset);
    }

    /// Calls `visit` with offset and capacity of every block that carries loans.
    pub(crate) fn for_each_carrying(&self, mut visit: impl FnMut(u64, u64)) {
        reclaim::for_each_block(&self.space, |offset, word, capacity| {
            if word.carries {
                visit(offset, capacity);
            }
        });
    }

    /// Tells whether a block carries loans.
    pub(crate) fn carries(&self, offset: u64) -> bool {
        blocks::find(&self.space, offset).is_ok_and(|found| found.word.carries)
    }

    /// Holds an object: makes this process the owner of its block, so that nobody else frees
    /// it or attaches to it; tells whether that succeeded. It fails when there is no object.
    /// If another member holds the object, it fails, too, or with `waits` waits for that
    /// member; an object that a dead member holds is taken over then.
    pub(crate) fn hold_object(&self, offset: u64, waits: bool) -> bool {
        let me = self.me();
        while let Ok(found) = blocks::find(&self.space, offset)
            && found.word.object
        {
            let owner = found.word.owner;
            let is_free = owner == 0 || waits && self.has_died(owner);
            if is_free && blocks::hold_object(&self.space, &found, me) {
                return true;
            }
            if !waits && !is_free {
                return false;
            }
            std::thread::yield_now();
            relax();
        }
        false
    }

    /// Tells whether the member in a slot has died. The slot is its own until it is
    /// reclaimed.
    fn has_died(&self, slot: u16) -> bool {
        let slot = usize::from(slot);
        let generation = self.space.member(slot).generation();
        self.is_dead(Stamp::new(slot, generation))
    }

    /// Ends the hold on an object.
    pub(crate) fn let_go_of_object(&self, offset: u64) {
        // Cannot fail: nobody takes a held object from a living member.
        let _ = self.change_owner(offset, self.me(), Stamp::NOBODY);
    }

    pub(crate) fn is_object(&self, offset: u64) -> bool {
        blocks::find(&self.space, offset).is_ok_and(|found| found.word.object)
    }

    /// Tells whether an object begins there, or a block of this process that may become one.
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

    /// Reserves a slot for a process that is about to start as a child of this one.
    ///
    /// # Errors
    /// `Limit` when all slots are taken.
    pub fn reserve_member(&self) -> Result<Stamp> {
        self.reserve_member_for(self.me())
    }

    /// Reserves a slot as [`reserve_member`](Self::reserve_member) does, but reclaims no dead
    /// member for it, and so opens no descriptor.
    ///
    /// # Errors
    /// `Limit` when all slots are taken, by the living or the dead.
    pub fn reserve_unused_member(&self) -> Result<Stamp> {
        let high = &self.space.header().members_high_water;
        let used = high.load(Ordering::Acquire) as usize;
        match self.claim_slot(1..used, self.me()) {
            Some(stamp) => Ok(stamp),
            None => self.extend_members(used, self.me())?.ok_or_else(is_full),
        }
    }

    /// Gives back a reserved slot for which nothing was allocated or attached, if no process
    /// has joined in it.
    pub fn release_unused_member(&self, stamp: Stamp) {
        let member = self.member(stamp);
        let state = member.state();
        if state.generation == stamp.generation() && state.stage == Stage::Reserved {
            member.advance(state, Stage::Free, Stamp::NOBODY);
        }
    }

    fn reserve_member_for(&self, parent: Stamp) -> Result<Stamp> {
        let high = &self.space.header().members_high_water;
        let used = high.load(Ordering::Acquire) as usize;
        if let Some(stamp) = self.claim_slot(1..used, parent) {
            return Ok(stamp);
        }
        // Relaxed: it only says when to look for dead members.
        if used >= self.crowded.load(Ordering::Relaxed) as usize {
            self.crowded
                .store((used + used / 2) as u32, Ordering::Relaxed);
            if let Some(stamp) = self.claim_after_reclaim(used, parent) {
                return Ok(stamp);
            }
        }
        if let Some(stamp) = self.extend_members(used, parent)? {
            return Ok(stamp);
        }
        self.claim_after_reclaim(MAX_MEMBERS, parent)
            .ok_or_else(is_full)
    }

    /// Reserves a slot that was never used, where the first `used` slots were.
    fn extend_members(&self, used: usize, parent: Stamp) -> Result<Option<Stamp>> {
        let high = &self.space.header().members_high_water;
        for slot in used.max(1)..MAX_MEMBERS {
            self.space
                .commit_table(Layout::MEMBERS + slot as u64 * MEMBER_SIZE, MEMBER_SIZE)?;
            high.fetch_max(slot as u32 + 1, Ordering::AcqRel);
            if let Some(stamp) = self.claim_slot(slot..slot + 1, parent) {
                return Ok(Some(stamp));
            }
        }
        Ok(None)
    }

    fn claim_after_reclaim(&self, used: usize, parent: Stamp) -> Option<Stamp> {
        (self.reclaim_all() > 0)
            .then(|| self.claim_slot(1..used, parent))
            .flatten()
    }

    fn claim_slot(&self, slots: std::ops::Range<usize>, parent: Stamp) -> Option<Stamp> {
        for slot in slots {
            if let Some(generation) = self.space.member(slot).claim(parent) {
                return Some(Stamp::new(slot, generation));
            }
        }
        None
    }

    /// Gives back the slot of a member that has died or never started. The parent calls this
    /// when nobody will ask for the exit status any more.
    pub fn release_member(&self, stamp: Stamp) {
        self.reclaim(stamp);
        let member = self.member(stamp);
        let state = member.state();
        if state.generation == stamp.generation() && state.stage == Stage::Dead {
            member.advance(state, Stage::Free, Stamp::NOBODY);
        }
    }

    /// Joins as the member that was reserved for this process; tells whether the reservation
    /// still held (it is lost when the parent dies too early).
    fn become_member(&self, me: Stamp, namespace: u32) -> bool {
        // Before others can see the member as alive: a signal handler may run in between.
        self.me.store(me.raw(), Ordering::Relaxed);
        self.namespace.store(namespace, Ordering::Relaxed);
        let (pid, seen) = (std::process::id(), liveness::boot_time());
        self.pid.store(pid, Ordering::Relaxed);
        self.member(me)
            .join(me.generation(), (pid, namespace), seen)
    }

    /// Returns the pid namespace of this process, a forked child of a member.
    ///
    /// If `getppid` returns the process id that the parent has in its own namespace, this
    /// process is in the same namespace: in a namespace below, `getppid` would return 0. Then
    /// /proc, which creates files for each process that reads it, need not be read. If the
    /// parent has died, /proc is read.
    fn inherited_namespace(&self) -> u32 {
        let inherited = self.namespace.load(Ordering::Relaxed);
        let parent = self.pid.load(Ordering::Relaxed);
        match inherited != 0 && prctl::parent() == Some(parent) {
            true => inherited,
            false => procfs::pid_namespace(),
        }
    }

    /// Reserves a slot for the child that this thread is about to fork, and attaches the child
    /// to all objects of this process.
    ///
    /// # Errors
    /// `Limit` or `OutOfMemory`; nothing is left behind then.
    pub fn prepare_fork(&self) -> Result<Stamp> {
        let child = self.reserve_member()?;
        let attachments = self.attachments();
        if let Err(error) = attachments.stamp(self, child, Self::alloc) {
            self.release_member(child);
            return Err(error);
        }
        NEXT_CHILD.set(child);
        Ok(child)
    }

    /// Undoes [`Family::prepare_fork`], unless the child exists and has joined: then the
    /// child's process id is returned. A child that tries to join later finds its slot gone.
    #[must_use = "a child that has joined must be ended, and its slot given back"]
    pub fn cancel_fork(&self, child: Stamp) -> Option<u32> {
        self.end_fork();
        let is_gone = self.give_up_fork(child);
        (!is_gone).then(|| self.member(child).pid())
    }

    /// Ends what [`Family::prepare_fork`] began: the next fork is another's.
    pub fn end_fork(&self) {
        NEXT_CHILD.set(Stamp::NOBODY);
    }

    /// Returns all objects that are attached now. The registry is free again then: to drop the last
    /// reference to one, which this may have by then, takes the registry's lock.
    fn attachments(&self) -> Attachments {
        let registry = self.registry.lock();
        registry.attachments()
    }

    /// Gives back the slot of a child that has not joined yet; tells whether it had not.
    fn give_up_fork(&self, child: Stamp) -> bool {
        let is_gone = reclaim::reclaim_unstarted(self, child);
        if is_gone {
            self.release_member(child);
        }
        is_gone
    }

    /// Tells whether a member is known to be in another pid namespace than this process.
    #[must_use]
    pub fn is_in_other_namespace(&self, stamp: Stamp) -> bool {
        let namespace = self.namespace.load(Ordering::Relaxed);
        self.member(stamp).is_outside_namespace(namespace)
    }

    /// Tells whether the process named by `stamp` has ended.
    #[must_use]
    pub fn is_dead(&self, stamp: Stamp) -> bool {
        if stamp == self.me() {
            return false;
        }
        if stamp.is_nobody() {
            return true;
        }
        self.has_ended(stamp, self.member(stamp).state())
    }

    /// Tells whether the process named by `stamp` has ended, given the state of its slot.
    pub(crate) fn has_ended(&self, stamp: Stamp, state: MemberState) -> bool {
        state.is_past(stamp)
            || match state.stage {
                Stage::Alive => {
                    let member = self.member(stamp);
                    // The id of a member in another pid namespace means no process here, or
                    // an unrelated one: that member's parent will notice its end.
                    !self.is_in_other_namespace(stamp)
                        && !liveness::is_alive(member.pid(), member.seen())
                }
                Stage::Forking => {
                    let since = self.member(stamp).seen();
                    self.is_dead(state.holder)
                        && !unborn::may_exist(&self.space, &self.unborn_found, since, || {
                            self.pids_living_here()
                        })
                }
                // The process has not joined yet, and will not if the holder is dead.
                _ => state.holder != stamp && self.is_dead(state.holder),
            }
    }

    /// Reclaims a member that has died: detaches it from every object, releases what it held
    /// in them, frees its blocks. Doing it twice does no harm.
    pub fn reclaim(&self, dead: Stamp) {
        reclaim::reclaim(self, dead);
    }

    /// Reclaims every member whose process is gone; returns how many.
    pub fn reclaim_all(&self) -> usize {
        reclaim::reclaim_all(self)
    }

    /// Calls `visit` with each member whose slot is not free.
    pub fn for_each_member(&self, mut visit: impl FnMut(Stamp, &Member)) {
        let used = self
            .space
            .header()
            .members_high_water
            .load(Ordering::Acquire) as usize;
        // There are no more, should a process have written over the number.
        for slot in 1..used.min(MAX_MEMBERS) {
            let member = self.space.member(slot);
            let state = member.state();
            if state.stage != Stage::Free {
                visit(Stamp::new(slot, state.generation), member);
            }
        }
    }

    fn living_pids(&self) -> Vec<u32> {
        let mut pids = self.pids_where(|_, _| true);
        // Children that have not joined yet.
        pids.extend(child_pids(std::process::id()));
        pids
    }

    /// Returns the process ids of the other members in this pid namespace that live now.
    fn pids_living_here(&self) -> Vec<u32> {
        self.pids_where(|stamp, member| {
            !self.is_in_other_namespace(stamp) && liveness::is_alive(member.pid(), member.seen())
        })
    }

    fn pids_where(&self, condition: impl Fn(Stamp, &Member) -> bool) -> Vec<u32> {
        let mut pids = Vec::new();
        self.for_each_member(|stamp, member| {
            if stamp != self.me() && member.stage() == Stage::Alive && condition(stamp, member) {
                pids.push(member.pid());
            }
        });
        pids
    }

    /// Calls `visit` with each object of the family.
    pub fn for_each_object(&self, mut visit: impl FnMut(View<'_>)) {
        reclaim::for_each_block(&self.space, |offset, word, _| {
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

fn is_full() -> Error {
    Error::new(
        ErrorKind::Limit,
        format!("the family has no place for another process: {MAX_MEMBERS} are taken"),
    )
}

fn given_up(me: Stamp) -> Error {
    Error::new(
        ErrorKind::Stale,
        format!(
            "process {} came too late to join its family as member {me}: the process that \
             started it has given it up or has ended",
            std::process::id()
        ),
    )
}

/// The tables of this process, which no other thread may be changing when it forks.
impl Family {
    fn hold_tables(&self, child: Stamp) {
        self.unborn.hold();
        let mut registry = self.registry.lock();
        if !child.is_nobody() {
            registry.stamp_late(self, child);
        }
        registry.hold();
        self.hints.hold();
        self.prefaulted.hold();
    }

    /// Frees them, on either side of the fork.
    fn free_tables(&self) {
        self.prefaulted.free_after_fork();
        self.hints.free_after_fork();
        self.registry.free_after_fork();
        self.unborn.free_after_fork();
    }

    /// Lets go of the objects that a fork has kept; in the child when it is a member.
    fn let_go_of_kept(&self) {
        let kept = self.registry.lock().take_kept();
        drop(kept);
    }
}

/// A fork, as its handlers have prepared it.
#[derive(Clone, Copy)]
enum Forking {
    /// There was no family yet.
    Alone,
    /// The family's tables are held.
    Held(&'static Family),
}

extern "C" fn before_fork() {
    if FORKING.get().is_some() {
        return;
    }
    let family = FAMILY.get();
    FORKING.set(Some(family.map_or(Forking::Alone, Forking::Held)));
    if let Some(family) = family {
        for table in family.schema.forks {
            (table.before)();
        }
        prepare_child(family);
    }
    lifeline::hold_for_fork();
    if let Some(family) = family {
        let child = NEXT_CHILD.get();
        family.hold_tables(child);
        if !child.is_nobody() {
            let member = family.member(child);
            member.begin_fork(child.generation(), liveness::boot_time());
        }
    }
    forget_last_error();
}

/// Makes a slot ready for the child of a fork by other code. Without a slot the child has no
/// stamp, and its calls fail with that reason.
fn prepare_child(family: &'static Family) {
    IS_OTHERS.set(false);
    if family.me().is_nobody() || !NEXT_CHILD.get().is_nobody() {
        return;
    }
    let (space, found) = (&family.space, &family.unborn_found);
    let dead = family
        .unborn
        .lock()
        .take_dead(space, found, || family.pids_living_here());
    for child in dead {
        family.give_up_fork(child);
    }
    IS_OTHERS.set(family.prepare_fork().is_ok());
}

extern "C" fn after_fork_in_parent() {
    let has_failed = has_fork_failed();
    let Some(forking) = FORKING.take() else {
        return;
    };
    lifeline::free_after_fork();
    if let Forking::Held(family) = forking {
        family.free_tables();
        note_child(family, has_failed);
        family.let_go_of_kept();
        for table in family.schema.forks {
            (table.in_parent)();
        }
    }
}

/// Keeps the slot of the child that was forked, or gives it back.
fn note_child(family: &'static Family, has_failed: bool) {
    let child = NEXT_CHILD.get();
    if child.is_nobody() || has_failed && !IS_OTHERS.get() {
        // A fork of our own is perhaps tried again.
        return;
    }
    family.end_fork();
    match (IS_OTHERS.take(), has_failed) {
        // A child that exists nevertheless finds its slot gone, and does not join.
        (true, true) => _ = family.give_up_fork(child),
        (true, false) => family.unborn.lock().add(child),
        (false, _) => {}
    }
}

extern "C" fn after_fork_in_child() {
    let Some(forking) = FORKING.take() else {
        return;
    };
    lifeline::close_inherited();
    match forking {
        Forking::Held(family) => {
            family.free_tables();
            join_by_fork(family);
            family.let_go_of_kept();
            for table in family.schema.forks {
                (table.in_child)();
            }
        }
        // Another thread may have founded the parent's family since the fork began. This process
        // is no member of it, and founds its own.
        Forking::Alone => FAMILY.forget(),
    }
}

/// Lets this process, a forked child, join the family of its parent.
fn join_by_fork(family: &'static Family) {
    family.prefaulted.lock().clear();
    family.unborn.lock().clear();
    IS_OTHERS.set(false);
    let namespace = family.inherited_namespace();
    let child = NEXT_CHILD.replace(Stamp::NOBODY);
    if !child.is_nobody() && family.become_member(child, namespace) {
        let attachments = family.attachments();
        if attachments.become_child(family, child) {
            return;
        }
    }
    // It has no slot, because the family is full or the parent has given this start up; or it
    // has lost an object, because there was no memory to attach it to that. Its copies of objects
    // keep nothing alive, so from here on it writes to a copy of the family's memory, which is
    // nobody else's.
    family.me.store(Stamp::NOBODY.raw(), Ordering::Relaxed);
    family.attachments().forget_cells();
    family.space.keep_apart();
}

#[cold]
fn not_joined() -> Error {
    let message = format!(
        "this forked process could not join its family: all {MAX_MEMBERS} places were taken when \
         it was forked, or its parent had given it up"
    );
    Error::new(ErrorKind::Limit, message)
}
