//! The pages that a process has made its own since it was forked, and how another copy gets the
//! same ones at once.
//!
//! # Safety
//! The kernel may be asked to populate any address: that changes no byte, and what is not mapped is
//! refused.

#![expect(unsafe_code, reason = "the kernel is asked about addresses")]

use std::ffi::c_void;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use rustix::mm::{self, Advice};
use rustix::param::page_size;

use crate::procfs::mappings::PrivateMapping;

/// Where the mappings of a process have more pages in all, nobody looks at each: 1 GiB, which takes
/// some 5 ms.
const MOST_MAPPED: usize = 1 << 18;

/// How many pages are looked at in one read.
const AT_ONCE: usize = 4096;

/// Bits of an entry of `pagemap` (Documentation/admin-guide/mm/pagemap.rst of Linux).
const PRESENT: u64 = 1 << 63;
const OF_FILE: u64 = 1 << 61;
const EXCLUSIVE: u64 = 1 << 56;

/// Pages of a process that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRange {
    /// The address of the first, in pages.
    first: usize,
    count: usize,
}

impl PageRange {
    /// The most pages that one word can tell of.
    const MOST: usize = 0xffff;

    /// Returns it as a word, which is never 0.
    #[must_use]
    pub fn to_word(self) -> u64 {
        (self.first as u64) << 16 | self.count as u64
    }

    /// Returns the range that a word tells of.
    #[must_use]
    pub fn from_word(word: u64) -> Self {
        Self {
            first: (word >> 16) as usize,
            count: word as usize & Self::MOST,
        }
    }

    /// Returns how many pages it has.
    #[must_use]
    pub fn count(self) -> usize {
        self.count
    }

    fn end(self) -> usize {
        self.first + self.count
    }

    /// Has the kernel copy now the pages that this process still shares, as it would do when the
    /// process first writes to each. No byte changes. Where that cannot be, as before Linux 5.14 or
    /// where nothing is mapped any more, nothing happens.
    pub fn populate(self) {
        let size = self.count * page_size();
        let start = std::ptr::with_exposed_provenance_mut::<c_void>(self.first * page_size());
        // SAFETY: see the head of this file.
        let _ = unsafe { mm::madvise(start, size, Advice::LinuxPopulateWrite) };
    }

    /// Returns those of its pages that none of the ranges has; the ranges are in order.
    #[must_use]
    pub fn without(self, ranges: &[Self]) -> Vec<Self> {
        let mut left = Vec::new();
        let mut first = self.first;
        let begin = ranges.partition_point(|range| range.end() <= self.first);
        for range in &ranges[begin..] {
            if range.first >= self.end() {
                break;
            }
            if range.first > first {
                left.push(Self::between(first, range.first));
            }
            first = range.end();
        }
        if first < self.end() {
            left.push(Self::between(first, self.end()));
        }
        left
    }

    fn between(first: usize, end: usize) -> Self {
        Self {
            first,
            count: end - first,
        }
    }
}

/// Returns the writable pages that only this process has, in order. `None` where /proc does not tell, or there are too many to look at.
#[must_use]
pub fn own_pages() -> Option<Vec<PageRange>> {
    let mappings = PrivateMapping::all()?;
    let total: usize = mappings.iter().map(PrivateMapping::size).sum();
    if total / page_size() > MOST_MAPPED {
        return None;
    }
    let file = File::open("/proc/self/pagemap").ok()?;
    let mut found = Vec::new();
    let mut bytes = vec![0; AT_ONCE * 8];
    for mapping in mappings {
        let end = mapping.end / page_size();
        let mut first = mapping.start / page_size();
        while first < end {
            let count = AT_ONCE.min(end - first);
            let bytes = &mut bytes[..count * 8];
            file.read_exact_at(bytes, first as u64 * 8).ok()?;
            for (page, entry) in (first..).zip(bytes.chunks_exact(8)) {
                let entry = u64::from_ne_bytes(entry.try_into().expect("chunks are of 8 bytes"));
                if entry & (PRESENT | OF_FILE | EXCLUSIVE) == PRESENT | EXCLUSIVE {
                    add(&mut found, page);
                }
            }
            first += count;
        }
    }
    Some(found)
}

fn add(ranges: &mut Vec<PageRange>, page: usize) {
    match ranges.last_mut() {
        Some(last) if last.end() == page && last.count < PageRange::MOST => last.count += 1,
        _ => ranges.push(PageRange::between(page, page + 1)),
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;
    use crate::testing::{WATCHDOG, child};

    fn range(first: usize, count: usize) -> PageRange {
        PageRange { first, count }
    }

    #[test]
    fn a_word_tells_of_a_range() {
        let top = (1 << 47) / 4096 - 5;
        for (first, count) in [(1, 1), (top, 5), (7, PageRange::MOST)] {
            let range = range(first, count);
            assert_eq!(PageRange::from_word(range.to_word()), range);
        }
    }

    #[test]
    fn pages_of_other_ranges_are_left_out() {
        let others = [range(2, 2), range(6, 1), range(9, 4)];
        assert_eq!(
            range(0, 12).without(&others),
            [range(0, 2), range(4, 2), range(7, 2)]
        );
        assert_eq!(range(2, 2).without(&others), []);
        assert_eq!(range(10, 5).without(&others), [range(13, 2)]);
        assert_eq!(range(20, 1).without(&others), [range(20, 1)]);
        assert_eq!(range(0, 2).without(&[]), [range(0, 2)]);
    }

    /// Returns how many of the pages of some bytes this process has for itself.
    fn owned(bytes: &[u8], own: &[PageRange]) -> usize {
        let first = bytes.as_ptr().addr() / page_size();
        let all = range(first, bytes.len() / page_size());
        let others: usize = all.without(own).iter().map(|range| range.count).sum();
        all.count - others
    }

    #[test]
    fn a_copy_owns_the_pages_that_it_writes_to_or_populates() {
        const PAGES: usize = 64;
        let size = page_size();
        let mut bytes = vec![1_u8; (PAGES + 1) * size];
        let offset = bytes.as_ptr().align_offset(size);
        let bytes = &mut bytes[offset..][..PAGES * size];
        let (copy, _release) = child(|_| {
            let before = own_pages().unwrap();
            for page in [3, 4, 60] {
                black_box(&mut *bytes)[page * size] = 2;
            }
            let after = own_pages().unwrap();
            assert_eq!(owned(bytes, &after) - owned(bytes, &before), 3);
            let first = bytes.as_ptr().addr() / size;
            range(first + 10, 20).populate();
            let populated = own_pages().unwrap();
            assert_eq!(owned(bytes, &populated) - owned(bytes, &after), 20);
            assert_eq!(bytes.iter().filter(|&&byte| byte == 2).count(), 3);
            // Nothing is there.
            range(1, 3).populate();
            0
        });
        assert!(copy.wait(WATCHDOG()).unwrap(), "the child hangs");
        assert_eq!(copy.reap().unwrap().unwrap().code(), 0, "see above");
    }
}
