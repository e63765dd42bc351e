//! Objects: blocks that several members use, and that live while any of them does.
//!
//! # Protocol
//! An object's header has a set of cells; a member is attached while its stamp
//! is in one. Cells change by one compare-exchange each, so a kill leaves the
//! set sound, and reclaim takes the dead member's stamps out.
//!
//! *Handles in messages.* Between the pickling of a handle and its unpickling nobody may be
//! attached but the sender, who may drop it or exit. Two counts keep the object alive meanwhile:
//! `listed` counts handles in messages that list their handles (`transfer/carrier.rs`), `lends`
//! counts handles in all other messages. A member that attaches lowers one of them.
//! `transfer/loans.rs` says who lowers it if nobody reads the message; if nobody can, the object
//! lives as long as the family, which is too long, but never too short.
//!
//! *Destroying* an object is decided and done by a member that *holds* it: that member's stamp is
//! in the block's word, which lies outside of the block and counts how often the block was used. So
//! no member writes to a block that has become another object's meanwhile. A member that detaches
//! from an object tries to hold it, and destroys it if nobody is attached. A member that attaches
//! holds it meanwhile, too. A member that detaches need not wait for the holder, because each
//! holder looks once more whether anybody is attached after it has let the object go. If the holder
//! dies, reclaim lets the object go, and looks; if the holder was destroying the object
//! (`destroyer`), reclaim destroys it from the start.
//!
//! *Reclaim* looks at all objects of the family, and may have to wait for other members in the
//! hooks of some. Meanwhile it is attached to the object, like any member that uses it.
//!
//! *Forks.* A forked child is attached to whatever its parent is attached to, but for the objects
//! that are of use to their maker alone and to those that get their handle (`create_uninherited`),
//! as the channels of a pool are: or each child would have a cell in the channel of each worker
//! before it, and a pool of n workers would cost n² cells. They are not in the registry, so a copy
//! that gets such a handle attaches itself; and what a copy has of its parent's is an attachment of
//! another member, which does nothing when it is dropped.
//!
//! # Safety
//! Views of headers are references into the never-unmapped arena; a view is only made of blocks
//! whose state word says that an object begins there, and headers are made of atomics. The bodies
//! have types by `body.rs`.

#![expect(unsafe_code, reason = "typed views of arena memory")]

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use crate::alloc::block::Block;
use crate::family::Family;
use crate::member::stamp::Stamp;
use crate::object::hooks::{Hooks, ObjectKind};
use crate::object::linked_pages::{LinkedPages, SharedPage};
use crate::transfer::carrier;
use crate::transfer::loans::{HandleSource, Loans};
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::primitive::{AtomicU32, AtomicU64, Ordering};

/// Bytes of a header; the body follows.
pub const HEADER: u64 = 64;

const INLINE_CELLS: usize = 7;
const OVERFLOW_CELLS: usize = 62;

/// Names an object to any member; plain numbers that may travel anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle {
    /// Where the object lies.
    pub offset: u64,
    /// Tells the object from all others that ever lay there.
    pub serial: u64,
}

#[repr(C)]
struct ObjectHeader {
    serial: AtomicU64,
    kind: AtomicU32,
    destroyer: AtomicU32,
    lends: AtomicU32,
    cells: [AtomicU32; INLINE_CELLS],
    overflow: LinkedPages<CellPage>,
    listed: AtomicU32,
    spare: AtomicU32,
}

/// A page of more cells, for an object that many members use.
#[repr(transparent)]
struct CellPage([AtomicU32; OVERFLOW_CELLS]);

// SAFETY: an array of atomics.
unsafe impl SharedPage for CellPage {}

/// Looks at an object without being attached to it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    family: &'a Family,
    offset: u64,
}

impl<'a> View<'a> {
    pub(crate) fn new(family: &'a Family, offset: u64) -> Self {
        Self { family, offset }
    }

    /// Returns the family.
    #[must_use]
    pub fn family(self) -> &'a Family {
        self.family
    }

    /// Returns where the object lies in the arena.
    pub(crate) fn offset(self) -> u64 {
        self.offset
    }

    fn header(self) -> &'a ObjectHeader {
        let at = self
            .family
            .pointer(self.offset, HEADER)
            .cast::<ObjectHeader>();
        // SAFETY: inside the object's block, which begins with a header of atomics; the
        // mapping outlives the family's references.
        unsafe { at.as_ref() }
    }

    /// Returns the object's kind.
    #[must_use]
    pub fn kind(self) -> Option<ObjectKind> {
        ObjectKind::from_raw(self.header().kind.load(Ordering::Relaxed))
    }

    /// Returns the members that are attached, each as often as it is.
    #[must_use]
    pub fn attached(self) -> Vec<Stamp> {
        let mut found = Vec::new();
        self.any_cell(|cell| {
            let stamp = Stamp::from_raw(cell.load(Ordering::Relaxed));
            if !stamp.is_nobody() {
                found.push(stamp);
            }
            false
        });
        found
    }

    fn hooks(self) -> Option<&'static Hooks> {
        self.kind().and_then(|kind| self.family.hooks_of(kind))
    }

    /// Returns the object's handle.
    #[must_use]
    pub fn handle(self) -> Handle {
        Handle {
            offset: self.offset,
            serial: self.header().serial.load(Ordering::Relaxed),
        }
    }

    /// Returns the first cell for which `is_it` returns true.
    fn find_cell(self, is_it: impl Fn(&AtomicU32) -> bool) -> Option<&'a AtomicU32> {
        let mut found = None;
        self.any_cell(|cell| {
            found = is_it(cell).then_some(cell);
            found.is_some()
        });
        found
    }

    /// Calls `visit` with each cell until it returns true; tells whether it did.
    fn any_cell(self, mut visit: impl FnMut(&'a AtomicU32) -> bool) -> bool {
        if self.header().cells.iter().any(&mut visit) {
            return true;
        }
        self.overflow().any(|page| page.0.iter().any(&mut visit))
    }

    /// Yields the pages of more cells, until the object is found to be destroyed.
    fn overflow(self) -> impl Iterator<Item = &'a CellPage> {
        let header = self.header();
        let serial = header.serial.load(Ordering::Acquire);
        let is_there =
            move || serial != 0 && header.serial.load(Ordering::Acquire) == serial && self.is_one();
        header.overflow.iter_while(self.family, is_there)
    }

    /// Tells whether the block is still an object's, or is about to become one.
    fn is_one(self) -> bool {
        self.family.is_object_or_ours(self.offset)
    }

    /// Puts a stamp into a free cell.
    fn place(self, stamp: Stamp) -> Result<&'a AtomicU32> {
        self.place_with(stamp, Family::alloc)
    }

    fn place_with(self, stamp: Stamp, alloc: Alloc) -> Result<&'a AtomicU32> {
        loop {
            // SeqCst: pairs with `is_abandoned`.
            let free = self.find_cell(|cell| {
                cell.load(Ordering::Relaxed) == 0
                    && cell
                        .compare_exchange(0, stamp.raw(), Ordering::SeqCst, Ordering::Relaxed)
                        .is_ok()
            });
            if let Some(cell) = free {
                return Ok(cell);
            }
            self.header().overflow.add_by(self.family, alloc)?;
        }
    }

    /// Attaches a member to the object, if it is still the one that the handle names.
    fn attach(self, handle: Handle, member: Stamp) -> Result<Option<&'a AtomicU32>> {
        if handle.serial == 0 || !self.family.hold_object(self.offset, true) {
            return Ok(None);
        }
        // If the member that was destroying it has died, nobody may use it any more, and reclaim
        // destroys it.
        let is_there =
            self.handle() == handle && self.header().destroyer.load(Ordering::Acquire) == 0;
        // Not by `alloc`, which reclaims when memory is short: that would wait for this hold to
        // end.
        let place = || self.place_with(member, Family::try_alloc);
        let cell = is_there.then(place).transpose();
        self.family.let_go_of_object(self.offset);
        if !matches!(cell, Ok(Some(_))) {
            self.destroy_if_abandoned();
        }
        cell
    }

    /// Takes a dead member out, and destroys the object if it was the last.
    pub(crate) fn reclaim_from(self, dead: Stamp) {
        // The dead member may have held the object.
        let _ = self.family.change_owner(self.offset, dead, Stamp::NOBODY);
        if !self.family.hold_object(self.offset, true) {
            return;
        }
        let header = self.header();
        header.overflow.disown_of(self.family, dead);
        if header.destroyer.load(Ordering::Acquire) != 0 {
            // The dead member was destroying it.
            return self.destroy();
        }
        // If there is no memory for a cell, reclaim goes on without being attached.
        let pin = self.place_with(self.family.me(), Family::try_alloc);
        self.family.let_go_of_object(self.offset);
        if let Some(hooks) = self.hooks() {
            (hooks.recover)(self, dead);
        }
        self.clear_cells(dead);
        if let Ok(pin) = pin {
            pin.store(0, Ordering::SeqCst);
        }
        self.destroy_if_abandoned();
    }

    /// Empties the cells of a dead member. The caller is attached.
    fn clear_cells(self, dead: Stamp) {
        self.any_cell(|cell| {
            // Read first, as most cells are other members', and there may be very many.
            let stamp = cell.load(Ordering::SeqCst);
            if stamp == dead.raw() {
                let _ = cell.compare_exchange(stamp, 0, Ordering::SeqCst, Ordering::Relaxed);
            }
            false
        });
    }

    /// Tells whether no member is attached, and no handle in a message keeps the object alive.
    fn is_abandoned(self) -> bool {
        let header = self.header();
        !self.any_cell(|cell| cell.load(Ordering::SeqCst) != 0)
            && header.lends.load(Ordering::SeqCst) == 0
            && header.listed.load(Ordering::SeqCst) == 0
    }

    /// Tells whether only handles on lists of messages keep it alive.
    pub(crate) fn lives_by_lists(self) -> bool {
        let header = self.header();
        header.listed.load(Ordering::SeqCst) != 0
            && header.lends.load(Ordering::SeqCst) == 0
            && header.destroyer.load(Ordering::SeqCst) == 0
            && !self.any_cell(|cell| cell.load(Ordering::SeqCst) != 0)
    }

    /// Returns on how many lists its handle is, by its count.
    pub(crate) fn listed(self) -> u32 {
        self.header().listed.load(Ordering::SeqCst)
    }

    /// Keeps the object alive until a lend is used up.
    pub(crate) fn count_lend(self) {
        self.header().lends.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn use_lend_up(self) {
        decrement(&self.header().lends);
    }

    /// Keeps the object alive until it is off a list again.
    pub(crate) fn list(self) {
        self.header().listed.fetch_add(1, Ordering::SeqCst);
    }

    /// Counts one entry less. The caller is attached, or has counted a lend before.
    pub(crate) fn unlist(self) {
        decrement(&self.header().listed);
    }

    /// Holds the object while `take_off` takes an entry off its list, counts one entry less, and
    /// destroys the object if nothing else has kept it alive. The hold keeps others from recounting
    /// meanwhile.
    pub(crate) fn unlist_held(self, handle: Handle, take_off: impl FnOnce()) {
        if !self.family.hold_object(self.offset, true) {
            return take_off();
        }
        take_off();
        // Not if a member has died while it destroyed the object: reclaim does the rest.
        if self.handle() == handle && self.header().destroyer.load(Ordering::Acquire) == 0 {
            self.unlist();
        }
        self.family.let_go_of_object(self.offset);
        self.destroy_if_abandoned();
    }

    /// Counts the lists that its handle is on; see `transfer/carrier.rs`. If another member holds
    /// it now, a later reclaim counts.
    pub(crate) fn recount(self, handle: Handle) {
        if !self.family.hold_object(self.offset, false) {
            return;
        }
        let header = self.header();
        if self.handle() == handle && self.lives_by_lists() {
            let before = self.listed();
            let entries = carrier::count_entries(self.family, handle);
            // Read after the lists: a reader that has emptied an entry without attaching has
            // counted a lend before.
            if entries < before && header.lends.load(Ordering::SeqCst) == 0 {
                let listed = &header.listed;
                let _ =
                    listed.compare_exchange(before, entries, Ordering::SeqCst, Ordering::Relaxed);
            }
        }
        self.family.let_go_of_object(self.offset);
        self.destroy_if_abandoned();
    }

    /// Destroys the object that lies here, if there is one, and it is abandoned.
    fn destroy_if_abandoned(self) {
        // The block may be another's by now when `is_abandoned` first looks, which changes nothing.
        // The second look is at an object that is held, so nobody else destroys it.
        while self.is_abandoned() && self.family.hold_object(self.offset, false) {
            if self.is_abandoned() {
                return self.destroy();
            }
            self.family.let_go_of_object(self.offset);
            // Look again: a member that detached meanwhile has found the object held.
        }
    }

    /// Destroys the object, which is held and abandoned.
    fn destroy(self) {
        let (me, header) = (self.family.me(), self.header());
        header.destroyer.store(me.raw(), Ordering::Release);
        if let Some(hooks) = self.hooks() {
            (hooks.destroy)(self);
        }
        header.overflow.destroy(self.family);
        // From here on a stale handle finds no serial, or that of another object.
        header.serial.store(0, Ordering::SeqCst);
        self.family.free_of(self.offset, me);
    }
}

/// The cell by which this process is attached to an object.
#[derive(Debug)]
struct Attachment {
    handle: Handle,
    /// The offset of this process's cell.
    cell: AtomicU64,
    /// The offset of the cell last set aside for a child, where it is looked for first.
    child_cell: AtomicU64,
    /// The only member that uses it; nobody if forked children get cells of their own.
    alone: Stamp,
}

impl Attachment {
    fn new(family: &Family, handle: Handle, cell: &AtomicU32, alone: Stamp) -> Arc<Self> {
        Arc::new(Self {
            handle,
            cell: AtomicU64::new(offset_of(family, cell)),
            child_cell: AtomicU64::new(0),
            alone,
        })
    }

    fn view<'a>(&self, family: &'a Family) -> View<'a> {
        View::new(family, self.handle.offset)
    }

    /// Returns the cell set aside for a child. Several threads may be about to fork, each another
    /// child.
    fn cell_of_child<'a>(&self, family: &'a Family, child: Stamp) -> Option<&'a AtomicU32> {
        let is_its = |cell: &AtomicU32| cell.load(Ordering::Relaxed) == child.raw();
        let noted = self.child_cell.load(Ordering::Relaxed);
        if noted != 0 && is_its(cell_at(family, noted)) {
            return Some(cell_at(family, noted));
        }
        self.view(family).find_cell(is_its)
    }

    fn note_cell_of_child(&self, family: &Family, cell: &AtomicU32) {
        self.child_cell
            .store(offset_of(family, cell), Ordering::Relaxed);
    }
}

/// How memory for more cells is found: [`Family::alloc`], which may reclaim, or
/// [`Family::try_alloc`].
type Alloc = fn(&Family, u64) -> Result<Block>;

/// Knows every object this process is attached to.
#[derive(Debug, Default)]
pub struct Registry {
    attached: HashMap<u64, Weak<Attachment>>,
    /// What forks keep alive that are in progress, or have just ended.
    kept: Vec<Attachments>,
}

impl Registry {
    /// Returns all objects that are attached now, to be dropped only when the registry's lock is free:
    /// see [`Family::attachments`], which everybody else calls.
    pub(crate) fn attachments(&self) -> Attachments {
        Attachments(self.attached.values().filter_map(Weak::upgrade).collect())
    }

    /// Stamps for a child the objects that other threads have attached since
    /// [`Family::prepare_fork`], and keeps them attached while it is forked. The lock is held until
    /// then, so there will be no others.
    ///
    /// Without it the parent could drop such an object before the child has attached itself, which
    /// then is in no state to be a member: it has a copy of an object that may be gone.
    pub(crate) fn stamp_late(&mut self, family: &Family, child: Stamp) {
        let attachments = self.attachments();
        // Not by `alloc`, which may drop objects as it reclaims. If there is no memory, the child
        // tries to attach itself.
        let _ = attachments.stamp(family, child, Family::try_alloc);
        self.kept.push(attachments);
    }

    /// Returns what [`stamp_late`](Self::stamp_late) has kept, to be dropped only when the lock is
    /// free.
    pub(crate) fn take_kept(&mut self) -> Vec<Attachments> {
        std::mem::take(&mut self.kept)
    }
}

/// Objects that this process is attached to, kept so for the moment.
#[derive(Debug)]
pub struct Attachments(Vec<Arc<Attachment>>);

/// Keeps an object alive, from this process, whatever it is; [`SharedObject`] uses it.
///
/// [`SharedObject`]: crate::SharedObject
#[derive(Clone, Debug)]
pub struct Object {
    attachment: Arc<Attachment>,
    family: &'static Family,
}

impl Object {
    /// Makes an object with a zeroed body of `len` bytes.
    ///
    /// # Errors
    /// `OutOfMemory` when the arena is full.
    pub(crate) fn create(family: &'static Family, kind: ObjectKind, len: u64) -> Result<Self> {
        let (handle, cell) = Self::make(family, kind, len)?;
        Ok(Self::register(family, handle, cell))
    }

    /// As [`create`](Self::create), for an object that forked copies of this process do not use:
    /// they are not attached to it, so it may be gone.
    ///
    /// # Errors
    /// `OutOfMemory` when the arena is full.
    pub(crate) fn create_uninherited(
        family: &'static Family,
        kind: ObjectKind,
        len: u64,
    ) -> Result<Self> {
        let (handle, cell) = Self::make(family, kind, len)?;
        let attachment = Attachment::new(family, handle, cell, family.me());
        Ok(Self { attachment, family })
    }

    fn make(
        family: &'static Family,
        kind: ObjectKind,
        len: u64,
    ) -> Result<(Handle, &'static AtomicU32)> {
        // A length that overflows is larger than any arena, and is refused like one.
        let len = len.saturating_add(HEADER);
        let mut block = family.alloc(len)?;
        block[..len as usize].fill(0);
        let handle = Handle {
            offset: block.offset(),
            serial: family.next_serial(),
        };
        let view = View::new(family, handle.offset);
        view.header().kind.store(kind as u32, Ordering::Relaxed);
        view.header().serial.store(handle.serial, Ordering::Release);
        let cell = view.place(family.me())?;
        family.publish_object(block.leak());
        Ok((handle, cell))
    }

    /// Attaches to the object that a handle names, which `source` has kept alive.
    ///
    /// # Errors
    /// `Stale` when the object is gone, `Invalid` when it is of another kind.
    pub fn attach(
        family: &'static Family,
        handle: Handle,
        kind: ObjectKind,
        source: &HandleSource,
    ) -> Result<Self> {
        let stale = || {
            Error::new(
                ErrorKind::Stale,
                format!(
                    "the {} #{} is gone: every process that used it has dropped it or ended",
                    kind.name(),
                    handle.serial
                ),
            )
        };
        if !family.is_object(handle.offset) {
            return Err(stale());
        }
        let view = View::new(family, handle.offset);
        let known = {
            let registry = family.registry().lock();
            registry
                .attached
                .get(&handle.serial)
                .and_then(Weak::upgrade)
                .filter(|attachment| attachment.handle == handle)
        };
        let object = if let Some(attachment) = known {
            Self { attachment, family }
        } else {
            let cell = view.attach(handle, family.me())?.ok_or_else(stale)?;
            Self::register(family, handle, cell)
        };
        match view.kind() {
            Some(found) if found == kind => {
                source.release(view, handle);
                Ok(object)
            }
            found => Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "object #{} is not a {} but a {}",
                    handle.serial,
                    kind.name(),
                    found.map_or("thing unknown to this build", ObjectKind::name)
                ),
            )),
        }
    }

    fn register(family: &'static Family, handle: Handle, cell: &AtomicU32) -> Self {
        let attachment = Attachment::new(family, handle, cell, Stamp::NOBODY);
        family
            .registry()
            .lock()
            .attached
            .insert(handle.serial, Arc::downgrade(&attachment));
        Self { attachment, family }
    }

    /// Returns the numbers by which any member may attach.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.attachment.handle
    }

    /// Returns the handle for a message, whose loans keep the object alive.
    pub fn lend(&self, loans: &mut Loans) -> Handle {
        loans.add(self);
        self.handle()
    }

    /// Returns the object's view.
    #[must_use]
    pub fn view(&self) -> View<'static> {
        View::new(self.family, self.attachment.handle.offset)
    }

    /// Returns the family.
    #[must_use]
    pub fn family(&self) -> &'static Family {
        self.family
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let Some(family) = Family::existing() else {
            return;
        };
        if self.alone.is_nobody() {
            let mut registry = family.registry().lock();
            // A later attachment of this process may have taken the place meanwhile.
            if let Some(entry) = registry.attached.get(&self.handle.serial)
                && entry.strong_count() == 0
            {
                registry.attached.remove(&self.handle.serial);
            }
        } else if self.alone != family.me() {
            return; // This is a forked copy.
        }
        let offset = self.cell.load(Ordering::Relaxed);
        if offset == 0 {
            // This is a forked child that could not join.
            return;
        }
        let cell = cell_at(family, offset);
        let me = family.me().raw();
        if cell
            .compare_exchange(me, 0, Ordering::SeqCst, Ordering::Relaxed)
            .is_ok()
        {
            View::new(family, self.handle.offset).destroy_if_abandoned();
        }
    }
}

impl Attachments {
    /// Stamps for a child that is about to be forked those that are not yet.
    ///
    /// # Errors
    /// `OutOfMemory`, of `alloc`; the others are stamped.
    pub(crate) fn stamp(&self, family: &Family, child: Stamp, alloc: Alloc) -> Result<()> {
        let mut result = Ok(());
        for attachment in &self.0 {
            if attachment.cell_of_child(family, child).is_some() {
                continue;
            }
            match attachment.view(family).place_with(child, alloc) {
                Ok(cell) => attachment.note_cell_of_child(family, cell),
                Err(error) => result = Err(error),
            }
        }
        result
    }

    /// In the child: makes the cells set aside its own, or finds new ones; tells whether it is
    /// attached to all now.
    #[must_use = "an object to which it is not attached may be gone"]
    pub(crate) fn become_child(&self, family: &Family, child: Stamp) -> bool {
        self.0.iter().all(|attachment| {
            let set_aside = attachment.cell_of_child(family, child);
            let cell = set_aside.or_else(|| {
                // There was no memory for a cell while the parent forked.
                let view = attachment.view(family);
                view.attach(attachment.handle, child).ok().flatten()
            });
            let offset = cell.map_or(0, |cell| offset_of(family, cell));
            attachment.cell.store(offset, Ordering::Relaxed);
            offset != 0
        })
    }

    /// In a child that has not joined: forgets the cells, which are the parent's.
    pub(crate) fn forget_cells(&self) {
        for attachment in &self.0 {
            attachment.cell.store(0, Ordering::Relaxed);
        }
    }
}

/// Lowers a count, unless it is 0.
fn decrement(count: &AtomicU32) {
    let _ = count.fetch_update(Ordering::SeqCst, Ordering::Relaxed, |n| n.checked_sub(1));
}

fn offset_of(family: &Family, cell: &AtomicU32) -> u64 {
    family.offset_of(std::ptr::from_ref(cell).cast())
}

fn cell_at(family: &Family, offset: u64) -> &AtomicU32 {
    let at = family.pointer(offset, 4).cast::<AtomicU32>();
    // SAFETY: the offset was computed from a cell of an object's header or
    // overflow page, which hold nothing but cells there.
    unsafe { at.as_ref() }
}
