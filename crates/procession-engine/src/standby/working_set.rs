//! The pages that forked processes need, which the spares that come after them copy while they wait.
//!
//! A fork shares all pages with its server. When one of the two writes to a page, a fault interrupts
//! it, and the kernel copies the page. A child of Python has some 250 such faults between its claim
//! and its function, as the mere look at an object changes the object's count of references; they
//! are most of the time that its start takes. All children of a server are copies of one memory,
//! which no longer changes, and take the same steps. So their pages are the same ones.
//!
//! Therefore one child looks at which pages have become its own between its claim and the end of its
//! start ([`Moment::Start`]), and one at which have until its end ([`Moment::End`]), and they write
//! lists of them into the table of spares. Each later spare has the kernel copy the listed pages before
//! it parks. Pages of code, which a fork leaves out, are listed and mapped in the same way.
//!
//! What can go wrong, and does no harm:
//! - *The child that looks dies, or never reaches the moment.* Its stamp stays in `learner`. The next
//!   child that is adopted sees that this member has ended and takes its place. Two never write to
//!   one list: a member that lives is not replaced.
//! - *The list is read while it is written.* Its length is stored last, and only once.
//! - *The list is wrong*, as the user's function has its own pages, or the server has changed a
//!   mapping. To populate a page changes no byte of it; a copy was made too early, or for nothing.
//!   Only pages in private mappings are listed, so the arena does not grow. What a function has
//!   touched counts for the second list only, which is thrown away if it is long.
//! - *Nobody can tell*: without /proc, or before Linux 5.14, spares are as slow as they were.

use procession_shm::{Family, Stamp};
use procession_sys::mem::working_set::{Access, PageRange, own_pages};
use procession_sys::primitive::{AtomicU32, AtomicU64, Ordering};

/// Ranges in a list; those that have no room are left out.
const RANGES: usize = 384;

/// How many children look, which takes each a millisecond, before nobody tries any more: the first
/// may be killed, or have too many pages.
const TRIES: u32 = 16;

/// When a child looks at which pages it owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Its start is done, and the user's function comes next.
    Start,
    /// It has nothing more to do than to end.
    End,
}

impl Moment {
    /// A list with more pages to copy is thrown away: each spare would take so much more memory.
    fn most_copied(self) -> usize {
        match self {
            Self::Start => 1024,
            Self::End => 256,
        }
    }
}

/// The lists of a server, in its table of spares.
#[repr(C)]
pub struct WorkingSet {
    /// How many children were asked to look.
    tries: AtomicU32,
    start: PageList,
    /// Has no page of `start`.
    end: PageList,
}

#[repr(C)]
struct PageList {
    /// The child that looks, or has looked.
    learner: AtomicU32,
    /// How many ranges there are; 0 while the list is not complete.
    len: AtomicU32,
    ranges: [AtomicU64; RANGES],
}

impl WorkingSet {
    /// Tells whether this process, which was just adopted, is to look.
    pub fn is_to_learn(&self) -> bool {
        let is_known = self.start.is_complete() && self.end.is_complete();
        !is_known && self.tries.fetch_add(1, Ordering::Relaxed) < TRIES
    }

    /// Has the kernel copy the listed pages for this process, a spare that was just forked.
    pub fn populate(&self) {
        for list in [&self.start, &self.end] {
            list.ranges().for_each(PageRange::populate);
        }
    }

    /// Makes the list of a moment, which has come for this process, if nobody has or does. `parked` are
    /// the pages that it had for itself before it was claimed.
    pub fn learn(&self, moment: Moment, parked: &[PageRange], family: &Family) {
        let list = match moment {
            Moment::Start => &self.start,
            Moment::End => &self.end,
        };
        // The list of the end has what a child needs after its start.
        let is_too_early = moment == Moment::End && !self.start.is_complete();
        if is_too_early || !list.begin(family) {
            return;
        }
        let known: Vec<_> = self.start.ranges().collect();
        let own = own_pages().unwrap_or_default();
        let new = own.iter().flat_map(|range| range.without(parked));
        let found: Vec<_> = new.flat_map(|range| range.without(&known)).collect();
        let copied = found.iter().filter(|range| range.access() == Access::Write);
        let count: usize = copied.map(|range| range.count()).sum();
        let is_short = count <= moment.most_copied();
        match is_short && !found.is_empty() {
            true => list.complete(&found),
            false => list.throw_away(),
        }
    }
}

impl PageList {
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
            start: list(),
            end: list(),
        }
    }

    fn list() -> PageList {
        PageList {
            learner: AtomicU32::new(0),
            len: AtomicU32::new(0),
            ranges: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    #[test]
    fn who_has_died_while_it_looked_is_replaced_and_nobody_else() {
        let family = crate::family().unwrap();
        let list = list();
        assert!(list.begin(family));
        assert!(!list.begin(family));
        let dead = family.reserve_member().unwrap();
        family.release_member(dead);
        list.learner.store(dead.raw(), Ordering::Relaxed);
        assert!(list.begin(family));
        list.throw_away();
        assert!(list.begin(family));
    }

    #[test]
    fn a_list_is_made_once() {
        let family = crate::family().unwrap();
        let list = list();
        assert!(list.begin(family));
        let pages = own_pages().unwrap();
        list.complete(&pages);
        let kept: Vec<_> = list.ranges().collect();
        assert_eq!(kept, pages[..pages.len().min(RANGES)]);
        assert!(!list.begin(family));
    }

    #[test]
    fn some_children_are_asked_to_look_and_none_when_all_is_known() {
        let tried = set();
        let asked = (0..100).filter(|_| tried.is_to_learn());
        assert_eq!(asked.count(), TRIES as usize);
        let known = set();
        assert!(known.is_to_learn());
        for list in [&known.start, &known.end] {
            list.complete(&own_pages().unwrap());
        }
        assert!(!known.is_to_learn());
    }

    #[test]
    fn what_a_process_has_at_its_end_waits_for_what_it_has_at_its_start() {
        let family = crate::family().unwrap();
        let set = set();
        set.learn(Moment::End, &[], family);
        assert!(!set.end.is_complete() && set.end.begin(family));
    }
}
