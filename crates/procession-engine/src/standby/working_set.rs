//! The pages that forked processes need, which the spares that come after them copy while they wait.
//!
//! A fork shares all pages with its server. When one of the two writes to a page, a fault interrupts
//! it, and the kernel copies the page. A child of Python has some 250 such faults between its claim
//! and its function, as the mere look at an object changes the object's count of references; they
//! are most of the time that its start takes. All children of a server are copies of one memory,
//! which no longer changes, and take the same steps. So their pages are the same ones.
//!
//! Therefore the first child looks at which pages have become its own between its claim and the end
//! of its start, and writes a list of them into the table of spares. Each later spare has the kernel
//! copy the listed pages before it parks. Pages of code, which a fork leaves out, are listed and mapped
//! in the same way. What comes after the start is the user's: the process may have forbidden itself
//! to open a file by then, so nothing is looked at any more.
//!
//! What can go wrong, and does no harm:
//! - *The child that looks dies.* Its stamp stays in `learner`. The next child sees that this member has
//!   ended and takes its place. Two never write to the list: a member that lives is not replaced.
//! - *The list is read while it is written.* Its length is stored last, and only once.
//! - *The list is wrong*, as the user's arguments have their own pages, or the server has changed a
//!   mapping. To populate a page changes no byte of it; a copy was made too early, or for nothing.
//!   Only pages in private mappings are listed, so the arena does not grow. A long list is thrown
//!   away.
//! - *Nobody can tell*: without /proc, or before Linux 5.14, spares are as slow as they were.

use procession_shm::{Family, Stamp};
use procession_sys::mem::working_set::{Access, PageRange, own_pages};
use procession_sys::primitive::{AtomicU32, AtomicU64, Ordering};

/// Ranges in a list; those that have no room are left out.
const RANGES: usize = 384;

/// How many children look, which takes each a millisecond, before nobody tries any more: the first
/// may be killed, or have too many pages.
const TRIES: u32 = 16;

/// A list with more pages to copy is thrown away: each spare would take so much more memory.
const MOST_COPIED: usize = 1024;

/// The list of a server, in its table of spares.
#[repr(C)]
pub struct WorkingSet {
    /// How many children were asked to look.
    tries: AtomicU32,
    /// The child that looks, or has looked.
    learner: AtomicU32,
    /// How many ranges there are; 0 while the list is not complete.
    len: AtomicU32,
    ranges: [AtomicU64; RANGES],
}

impl WorkingSet {
    /// Tells whether this process, which was just adopted, is to look.
    pub fn is_to_learn(&self) -> bool {
        !self.is_complete() && self.tries.fetch_add(1, Ordering::Relaxed) < TRIES
    }

    /// Has the kernel copy the listed pages for this process, a spare that was just forked.
    pub fn populate(&self) {
        self.ranges().for_each(PageRange::populate);
    }

    /// Makes the list, if nobody has or does: the start of this process is done. `parked` are the
    /// pages that it had for itself before it was claimed.
    pub fn learn(&self, parked: &[PageRange], family: &Family) {
        if !self.begin(family) {
            return;
        }
        let own = own_pages().unwrap_or_default();
        let found: Vec<_> = own.iter().flat_map(|range| range.without(parked)).collect();
        let copied = found.iter().filter(|range| range.access() == Access::Write);
        let count: usize = copied.map(|range| range.count()).sum();
        match count <= MOST_COPIED && !found.is_empty() {
            true => self.complete(&found),
            false => self.throw_away(),
        }
    }

    fn is_complete(&self) -> bool {
        self.len.load(Ordering::Acquire) > 0
    }

    fn ranges(&self) -> impl Iterator<Item = PageRange> {
        // Acquire pairs with the Release in `complete`.
        let len = self.len.load(Ordering::Acquire) as usize;
        let words = self.ranges.iter().take(len);
        words.map(|word| PageRange::from_word(word.load(Ordering::Relaxed)))
    }

    /// Makes this process the one that looks, unless another is or has been.
    fn begin(&self, family: &Family) -> bool {
        let learner = self.learner.load(Ordering::Acquire);
        if self.is_complete() || !family.is_dead(Stamp::from_raw(learner)) {
            return false;
        }
        let me = family.me().raw();
        let begun = self
            .learner
            .compare_exchange(learner, me, Ordering::AcqRel, Ordering::Relaxed);
        // One that has died may have completed it between the two looks.
        begun.is_ok() && !self.is_complete()
    }

    fn complete(&self, ranges: &[PageRange]) {
        for (word, range) in self.ranges.iter().zip(ranges) {
            word.store(range.to_word(), Ordering::Relaxed);
        }
        let len = ranges.len().min(RANGES) as u32;
        self.len.store(len, Ordering::Release);
    }

    fn throw_away(&self) {
        // Release pairs with the Acquire in `begin`.
        self.learner
            .store(Stamp::default().raw(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> WorkingSet {
        WorkingSet {
            tries: AtomicU32::new(0),
            learner: AtomicU32::new(0),
            len: AtomicU32::new(0),
            ranges: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    #[test]
    fn who_has_died_while_it_looked_is_replaced_and_nobody_else() {
        let family = crate::family().unwrap();
        let set = set();
        assert!(set.begin(family));
        assert!(!set.begin(family));
        let dead = family.reserve_member().unwrap();
        family.release_member(dead);
        set.learner.store(dead.raw(), Ordering::Relaxed);
        assert!(set.begin(family));
        set.throw_away();
        assert!(set.begin(family));
    }

    #[test]
    fn a_list_is_made_once() {
        let family = crate::family().unwrap();
        let set = set();
        assert!(set.is_to_learn() && set.begin(family));
        let pages = own_pages().unwrap();
        set.complete(&pages);
        let kept: Vec<_> = set.ranges().collect();
        assert_eq!(kept, pages[..pages.len().min(RANGES)]);
        assert!(!set.is_to_learn() && !set.begin(family));
    }

    #[test]
    fn some_children_are_asked_to_look() {
        let set = set();
        let asked = (0..100).filter(|_| set.is_to_learn());
        assert_eq!(asked.count(), TRIES as usize);
    }
}
