//! Pages of further room for an object whose own block is full, in a list.
//!
//! A page is a block of the arena. It belongs to the family, not to the process that has
//! linked it, and stays until the object is destroyed.
//!
//! # The races that it must survive
//! Linking and owning are two words, and a member can be killed in between. So:
//! - *A page is linked while it is its maker's, and disowned after that.* Before it is linked
//!   nobody knows of it; if its maker dies, reclaim frees the page with all other blocks that the
//!   maker owned. If the maker is killed right after the linking, reclaim would free a page that is
//!   linked. So reclaim first calls [`disown_of`](LinkedPages::disown_of) for each object, which
//!   disowns such pages, and only then frees the blocks of the dead member. To disown a page twice
//!   does no harm.
//! - *A page is owned while it is linked, then unlinked, then freed*, from the first to the last. A
//!   process that is killed before the unlinking leaves a linked page that it owns. Either reclaim
//!   disowns that page, and the next process that destroys the object owns it, unlinks it and frees
//!   it; or the next process comes first and unlinks the page, and reclaim frees it as a block of
//!   the dead process. A process that is killed after the unlinking leaves a page that reclaim
//!   frees at once. So a link never names a block that has a new owner.
//! - *Two link at once.* A link changes from 0 by one compare-exchange; the process that loses goes
//!   on to the page of the process that has won.
//!
//! # Safety
//! A link is only set to a block that has the size of a page and was zeroed. By the promise of
//! [`SharedPage`], those bytes are a page.

#![expect(unsafe_code, reason = "typed views of arena memory")]

use std::fmt;
use std::marker::PhantomData;

use crate::alloc::block::Block;
use crate::family::Family;
use crate::member::stamp::{MAX_MEMBERS, Stamp};
use procession_sys::error::Result;
use procession_sys::primitive::{AtomicU64, Ordering, fence};

/// What a page keeps.
///
/// # Safety
/// The type is `repr(C)` or `repr(transparent)`, all bytes zero are a valid value of it, and
/// it is made of atomics: others write to it at any time.
pub unsafe trait SharedPage: Sized + Sync + 'static {}

/// The link to the first of an object's pages; with all bytes zero there is none.
#[repr(transparent)]
pub struct LinkedPages<P> {
    first: AtomicU64,
    pages: PhantomData<fn() -> P>,
}

/// A page as it lies in the arena.
#[repr(C)]
struct LinkedPage<P> {
    next: LinkedPages<P>,
    page: P,
}

impl<P: SharedPage> LinkedPages<P> {
    /// Tells whether there is no page.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        // Relaxed: a hint, before anything is looked at.
        self.first.load(Ordering::Relaxed) == 0
    }

    /// Returns the first page.
    #[must_use]
    pub fn first<'a>(&self, family: &'a Family) -> Option<&'a P> {
        self.next(family).map(|linked| &linked.page)
    }

    /// Yields all pages; for processes that are attached to the object.
    pub fn iter<'a>(&'a self, family: &'a Family) -> impl Iterator<Item = &'a P> {
        let linked = std::iter::successors(self.next(family), |linked| linked.next.next(family));
        linked.map(|linked| &linked.page)
    }

    /// Yields the pages for as long as they are linked and `is_there`, for processes that are not
    /// attached. Another process may destroy the object meanwhile, and unlinks its pages before it
    /// frees them. So a page counts only if, after it was read, it is found to be linked still.
    pub(crate) fn iter_while<'a>(
        &'a self,
        family: &'a Family,
        is_there: impl Fn() -> bool,
    ) -> impl Iterator<Item = &'a P> {
        // Acquire here and below pairs with the Release in `link`.
        let first = self.first.load(Ordering::Acquire);
        let still_linked = move || {
            // Acquire: the checks below come after the reads that they confirm.
            fence(Ordering::Acquire);
            self.first.load(Ordering::Acquire) == first && is_there()
        };
        let mut offset = first;
        std::iter::from_fn(move || {
            if offset == 0 || !still_linked() || !may_be_page::<P>(family, offset) {
                return None;
            }
            let linked = page_at::<P>(family, offset);
            offset = linked.next.first.load(Ordering::Acquire);
            still_linked().then_some(&linked.page)
        })
        // Pages that are looked at this way have room for a member each. Where there are more,
        // a process has written over a link, and they are a circle.
        .take(MAX_MEMBERS)
    }

    /// Links another page, of zeros, to the last.
    ///
    /// # Errors
    /// `OutOfMemory` when the arena is full.
    pub fn add(&self, family: &Family) -> Result<()> {
        self.add_by(family, Family::alloc)
    }

    /// As [`add`](Self::add), but reclaims no dead members if memory is short, for callers that may
    /// be in the middle of a reclaim.
    ///
    /// # Errors
    /// `OutOfMemory` when the arena is full.
    pub fn try_add(&self, family: &Family) -> Result<()> {
        self.add_by(family, Family::try_alloc)
    }

    /// Links another page, from the allocator that the caller can use.
    pub(crate) fn add_by(
        &self,
        family: &Family,
        alloc: fn(&Family, u64) -> Result<Block>,
    ) -> Result<()> {
        let block = zeroed::<P>(family, alloc)?;
        let mut link = self;
        while let Err(next) = link.link(&block) {
            link = &page_at::<P>(family, next).next;
        }
        block.disown()?;
        Ok(())
    }

    /// Returns the first page, and links one if there is none.
    ///
    /// # Errors
    /// `OutOfMemory` when the arena is full.
    pub fn first_or_add<'a>(&self, family: &'a Family) -> Result<&'a P> {
        if let Some(page) = self.first(family) {
            return Ok(page);
        }
        let block = zeroed::<P>(family, Family::alloc)?;
        let offset = match self.link(&block) {
            Ok(()) => block.disown()?,
            Err(theirs) => theirs,
        };
        Ok(&page_at::<P>(family, offset).page)
    }

    /// Makes the family the owner of pages that a dead member had linked and not disowned, or was
    /// about to free. Reclaim calls this before it frees the member's blocks.
    pub fn disown_of(&self, family: &Family, dead: Stamp) {
        let mut offset = self.first.load(Ordering::Acquire);
        while offset != 0 {
            // Fails for all that are the family's already.
            let _ = family.change_owner(offset, dead, Stamp::NOBODY);
            offset = page_at::<P>(family, offset)
                .next
                .first
                .load(Ordering::Acquire);
        }
    }

    /// Frees the pages, in the process that destroys the object. If that process dies meanwhile,
    /// the next process that destroys the object goes on.
    pub fn destroy(&self, family: &Family) {
        loop {
            let offset = self.first.load(Ordering::Acquire);
            if offset == 0 {
                return;
            }
            // Fails if a process has died while it destroyed the object: the page is that process's
            // then, and reclaim frees it.
            let _ = family.change_owner(offset, Stamp::NOBODY, family.me());
            let next = page_at::<P>(family, offset)
                .next
                .first
                .load(Ordering::Acquire);
            // Release: a process that sees the page unlinked does not believe what it
            // reads there.
            self.first.store(next, Ordering::Release);
            family.free(offset);
        }
    }

    /// Links a block as a page, or returns the offset of the page that is linked already.
    fn link(&self, block: &Block) -> std::result::Result<(), u64> {
        // Release: a process that follows the link finds the page zeroed.
        self.first
            .compare_exchange(0, block.offset(), Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
    }

    fn next<'a>(&self, family: &'a Family) -> Option<&'a LinkedPage<P>> {
        // Acquire pairs with the Release in `link`.
        let offset = self.first.load(Ordering::Acquire);
        (offset != 0).then(|| page_at(family, offset))
    }
}

/// Allocates a block for a page; it becomes a page once it is linked.
fn zeroed<P>(family: &Family, alloc: fn(&Family, u64) -> Result<Block>) -> Result<Block> {
    let mut block = alloc(family, size_of::<LinkedPage<P>>() as u64)?;
    block.fill(0);
    Ok(block)
}

/// Tells whether a page may lie at an offset that was read from a link. If not, a process has
/// written over the link.
fn may_be_page<P>(family: &Family, offset: u64) -> bool {
    let end = offset.checked_add(size_of::<LinkedPage<P>>() as u64);
    offset.is_multiple_of(64) && end.is_some_and(|end| end <= family.mapped())
}

/// Returns the page at an offset that was read from a link.
fn page_at<P: SharedPage>(family: &Family, offset: u64) -> &LinkedPage<P> {
    // Blocks are aligned to 64 bytes and more.
    const { assert!(align_of::<LinkedPage<P>>() <= 64) }
    let len = size_of::<LinkedPage<P>>() as u64;
    let at = family.pointer(offset, len).cast::<LinkedPage<P>>();
    // SAFETY: see the head of this file. The page may have been freed since, if the caller checks
    // afterwards whether it is still linked; then these are atomics over whatever lies there now.
    unsafe { at.as_ref() }
}

impl<P> fmt::Debug for LinkedPages<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LinkedPages").field(&self.first).finish()
    }
}
