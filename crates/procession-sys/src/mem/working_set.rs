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

use rustix::param::page_size;

use crate::mem::mapping::madvise;
use crate::procfs::mappings::PrivateMapping;

/// Where the mappings of a process have more pages in all, nobody looks at each: 1 GiB, which takes
/// some 5 ms.
const MOST_MAPPED: usize = 1 << 18;

/// How many pages of a file the kernel maps when one is accessed (`fault_around_bytes`, 64 KiB).
const AROUND: usize = 16;

/// How many pages are looked at in one read.
const AT_ONCE: usize = 4096;

/// Bits of an entry of `pagemap` (Documentation/admin-guide/mm/pagemap.rst of Linux).
const PRESENT: u64 = 1 << 63;
const OF_FILE: u64 = 1 << 61;
const EXCLUSIVE: u64 = 1 << 56;

/// What a process does with a page first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It reads a page of a file, such as the code of a library.
    Read,
    /// It writes to a page that it shares with the process that forked it.
    Write,
}

/// Pages of a process that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRange {
    /// The address of the first, in pages.
    first: usize,
    count: usize,
    access: Access,
}

impl PageRange {
    /// The most pages that one word can tell of.
    const MOST: usize = 0xffff;

    /// Returns it as a word, which is never 0.
    #[must_use]
    pub fn to_word(self) -> u64 {
        let is_write = u64::from(self.access == Access::Write);
        (self.first as u64) << 17 | (self.count as u64) << 1 | is_write
    }

    /// Returns the range that a word tells of.
    #[must_use]
    pub fn from_word(word: u64) -> Self {
        Self {
            first: (word >> 17) as usize,
            count: (word >> 1) as usize & Self::MOST,
            access: match word & 1 {
                0 => Access::Read,
                _ => Access::Write,
            },
        }
    }

    /// Returns how many pages it has.
    #[must_use]
    pub fn count(self) -> usize {
        self.count
    }

    /// Returns what a process does with them.
    #[must_use]
    pub fn access(self) -> Access {
        self.access
    }

    fn end(self) -> usize {
        self.first + self.count
    }

    /// Has the kernel do now what it would do at the first access to each page. No byte changes.
    /// Where it cannot, as before Linux 5.14 or where nothing is mapped any more, nothing happens.
    pub fn populate(self) {
        let advice = match self.access {
            Access::Read => libc::MADV_POPULATE_READ,
            Access::Write => libc::MADV_POPULATE_WRITE,
        };
        let size = self.count * page_size();
        let start = std::ptr::with_exposed_provenance_mut::<c_void>(self.first * page_size());
        // SAFETY: see the head of this file.
        let _ = unsafe { madvise(start, size, advice) };
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
                left.push(self.part(first, range.first));
            }
            first = range.end();
        }
        if first < self.end() {
            left.push(self.part(first, self.end()));
        }
        left
    }

    fn part(self, first: usize, end: usize) -> Self {
        Self {
            first,
            count: end - first,
            ..self
        }
    }
}

/// Returns the writable pages that only this process has, and where it has accessed files, in order:
/// of the pages of a file that the kernel maps at one access, one stands for all. `None` where /proc does not tell, or there are too many to look at.
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
                match access_of(entry) {
                    Some(Access::Read) => {
                        let first = (page - page % AROUND).max(mapping.start / page_size());
                        if found
                            .last()
                            .is_none_or(|last: &PageRange| last.end() <= first)
                        {
                            add(&mut found, first, Access::Read);
                        }
                    }
                    Some(Access::Write) if mapping.is_writable => {
                        add(&mut found, page, Access::Write);
                    }
                    _ => {}
                }
            }
            first += count;
        }
    }
    Some(found)
}

/// Returns the access that has led to a page's entry; `None` if this process does not have the page,
/// or not for itself.
fn access_of(entry: u64) -> Option<Access> {
    if entry & PRESENT == 0 {
        None
    } else if entry & OF_FILE != 0 {
        Some(Access::Read)
    } else {
        (entry & EXCLUSIVE != 0).then_some(Access::Write)
    }
}

fn add(ranges: &mut Vec<PageRange>, page: usize, access: Access) {
    match ranges.last_mut() {
        Some(last)
            if last.end() == page && last.access == access && last.count < PageRange::MOST =>
        {
            last.count += 1;
        }
        _ => ranges.push(PageRange {
            first: page,
            count: 1,
            access,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;
    use crate::testing::{WATCHDOG, child};

    fn range(first: usize, count: usize) -> PageRange {
        PageRange {
            first,
            count,
            access: Access::Write,
        }
    }

    #[test]
    fn a_word_tells_of_a_range() {
        let top = (1 << 47) / 4096 - 5;
        for (first, count) in [(1, 1), (top, 5), (7, PageRange::MOST)] {
            for access in [Access::Read, Access::Write] {
                let range = PageRange {
                    access,
                    ..range(first, count)
                };
                assert_eq!(PageRange::from_word(range.to_word()), range);
            }
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
