//! Small blocks: chunks that are cut into blocks of one size.
//!
//! # Protocol
//! The state word of each block lies outside the chunk, at a place that only
//! ever holds words, so a stale look-up never mistakes a payload for one. A
//! block is claimed by one compare-exchange, from free to taken by the claimer, and freed by
//! another. A member that claims reads the block's word, then the chunk's word, then
//! exchanges the block's word. If the chunk had become a span of another block size before
//! the first read, the second read shows it. If the chunk becomes one later, making that span
//! raises the generation of every block word, and the exchange fails.
//!
//! A span whose blocks are all free may be given back: under the chunk lock
//! each word goes from free to retired; if a block is taken meanwhile, the retired ones go
//! back to free. If the member dies half way, the next owner of the lock finishes the work
//! instead of undoing it, because the span's memory may be gone by then.

use crate::alloc::chunks;
use crate::alloc::layout::{CHUNK, Layout, SMALLEST};
use crate::alloc::state_word::{StateWord, Use};
use crate::alloc::store::BackingStore;
use crate::lock::raw_lock::{Acquired, Liveness};
use crate::member::stamp::Stamp;
use procession_sys::error::Result;
use procession_sys::primitive::Ordering;

/// Number of size classes: 64 bytes to 16 KiB, each twice the one before.
pub const CLASSES: usize = 9;

/// Spans of a class that are kept even when empty. A model keeps none.
const KEPT_SPANS: u32 = if cfg!(loom) { 0 } else { 2 };

/// How many freed blocks a process remembers, per class.
const REMEMBERED: usize = 128;

/// What a free block adds to its chunk's flags (bit 0 is `BACKED`).
const ONE_FREE: u32 = 2;

/// Where this process looks first for a free block of a class.
#[derive(Debug, Default)]
pub struct Hints {
    freed: Vec<(u32, u16)>,
    chunk: Option<u64>,
    index: u64,
}

/// Returns the class of blocks that hold `len` bytes, if one does.
pub fn class_of(len: u64) -> Option<usize> {
    let power = len.max(SMALLEST).checked_next_power_of_two()?;
    let class = power.trailing_zeros() - SMALLEST.trailing_zeros();
    ((class as usize) < CLASSES).then_some(class as usize)
}

/// Returns the size in bytes of a class's blocks.
pub fn size_of(class: usize) -> u64 {
    SMALLEST << class
}

/// Returns the class of a span's blocks.
pub fn class_at(store: &impl BackingStore, chunk: u64) -> usize {
    StateWord::unpack(store.chunk_word(chunk).load(Ordering::Relaxed)).size as usize
}

fn capacity(class: usize) -> u64 {
    CHUNK / size_of(class)
}

/// Claims a block of `class` for `me`; returns the block's chunk and index.
pub fn alloc(
    store: &impl BackingStore,
    family: &dyn Liveness,
    me: Stamp,
    class: usize,
    hints: &mut Hints,
) -> Result<(u64, u64)> {
    while let Some((chunk, index)) = hints.freed.pop() {
        if claim(store, u64::from(chunk), u64::from(index), class, me) {
            return Ok((u64::from(chunk), u64::from(index)));
        }
    }
    if let Some(chunk) = hints.chunk
        && let Some(index) = claim_in(store, chunk, hints.index, class, me)
    {
        hints.index = index + 1;
        return Ok((chunk, index));
    }
    let (chunk, index) = match search(store, class, hints.chunk.unwrap_or(0), me) {
        Some(found) => found,
        None => create(store, family, me, class)?,
    };
    hints.chunk = Some(chunk);
    hints.index = index + 1;
    Ok((chunk, index))
}

/// Frees a block that the caller owns; gives the span back if it is empty and not needed.
pub fn free(
    store: &impl BackingStore,
    family: &dyn Liveness,
    me: Stamp,
    chunk: u64,
    index: u64,
    hints: &mut Hints,
) {
    let class = class_at(store, chunk);
    release(store, chunk, index);
    let free = store.chunk_flags(chunk).load(Ordering::Relaxed) / ONE_FREE;
    if u64::from(free) >= capacity(class)
        && hints.chunk != Some(chunk)
        && store.header().spans[class].load(Ordering::Relaxed) > KEPT_SPANS
    {
        locked(store, family, me, || retire(store, chunk, class));
    } else if hints.freed.len() < REMEMBERED {
        hints.freed.push((chunk as u32, index as u16));
    }
}

/// Frees a block that the caller owns, and leaves the span as it is.
pub fn release(store: &impl BackingStore, chunk: u64, index: u64) {
    let cell = store.block_word(chunk, index);
    let word = StateWord::unpack(cell.load(Ordering::Relaxed));
    // Release: the next owner's writes come after all of ours.
    cell.store(word.freed().pack(), Ordering::Release);
    store
        .chunk_flags(chunk)
        .fetch_add(ONE_FREE, Ordering::Relaxed);
}

/// Runs `work` while holding the chunk lock.
pub fn locked<T>(
    store: &impl BackingStore,
    family: &dyn Liveness,
    me: Stamp,
    work: impl FnOnce() -> T,
) -> T {
    let lock = &store.header().chunk_lock;
    if let Acquired::FromDead(_) = lock.lock(me, family) {
        recover(store);
    }
    let value = work();
    lock.unlock();
    value
}

/// Finishes giving back a span where a dead owner of the chunk lock has begun to. The
/// span's memory may be gone already, so it cannot return to use.
pub fn recover(store: &impl BackingStore) {
    let high = u64::from(store.header().high_water.load(Ordering::Acquire));
    let mut chunk = 0;
    while chunk < high {
        let word = StateWord::unpack(store.chunk_word(chunk).load(Ordering::Acquire));
        let class = word.size as usize;
        if word.usage == Use::Span
            && (0..capacity(class)).any(|index| is_retired(store, chunk, index))
        {
            retire(store, chunk, class);
        }
        chunk += chunks::span_of(word);
    }
}

fn is_retired(store: &impl BackingStore, chunk: u64, index: u64) -> bool {
    let word = store.block_word(chunk, index).load(Ordering::Relaxed);
    StateWord::unpack(word).usage == Use::Retired
}

/// Recounts a span's free blocks, after a member's death.
pub fn recount(store: &impl BackingStore, chunk: u64, class: usize) {
    let free = (0..capacity(class))
        .filter(|&index| {
            StateWord::unpack(store.block_word(chunk, index).load(Ordering::Relaxed)).usage
                == Use::Free
        })
        .count() as u32;
    let keep_backed = |flags: u32| Some(flags & chunks::BACKED | (free * ONE_FREE));
    let _ =
        store
            .chunk_flags(chunk)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, keep_backed);
}

/// Calls `visit` with the index and word of each taken block of a span.
pub fn for_each_taken(
    store: &impl BackingStore,
    chunk: u64,
    class: usize,
    mut visit: impl FnMut(u64, StateWord),
) {
    for index in 0..capacity(class) {
        let word = StateWord::unpack(store.block_word(chunk, index).load(Ordering::Acquire));
        if word.usage == Use::Taken {
            visit(index, word);
        }
    }
}

fn claim(store: &impl BackingStore, chunk: u64, index: u64, class: usize, me: Stamp) -> bool {
    let cell = store.block_word(chunk, index);
    // Acquire orders this look before the one at the chunk's word.
    let raw = cell.load(Ordering::Acquire);
    let word = StateWord::unpack(raw);
    if word.usage != Use::Free {
        return false;
    }
    let whole = StateWord::unpack(store.chunk_word(chunk).load(Ordering::Acquire));
    if whole.usage != Use::Span || whole.size as usize != class {
        return false;
    }
    // Acquire pairs with the Release by which the block was freed.
    let claimed = cell
        .compare_exchange(
            raw,
            word.taken(me, 0).pack(),
            Ordering::Acquire,
            Ordering::Relaxed,
        )
        .is_ok();
    if claimed {
        let _ =
            store
                .chunk_flags(chunk)
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |flags| {
                    (flags >= ONE_FREE).then(|| flags - ONE_FREE)
                });
    }
    claimed
}

fn claim_in(
    store: &impl BackingStore,
    chunk: u64,
    from: u64,
    class: usize,
    me: Stamp,
) -> Option<u64> {
    (from..capacity(class)).find(|&index| claim(store, chunk, index, class, me))
}

/// Looks for a free block in all spans of a class, from a chunk onwards.
fn search(store: &impl BackingStore, class: usize, from: u64, me: Stamp) -> Option<(u64, u64)> {
    let high = u64::from(store.header().high_water.load(Ordering::Acquire));
    let pass = |begin: u64, end: u64| {
        let mut chunk = begin;
        while chunk < end {
            let word = StateWord::unpack(store.chunk_word(chunk).load(Ordering::Acquire));
            if word.usage == Use::Span
                && word.size as usize == class
                && store.chunk_flags(chunk).load(Ordering::Relaxed) >= ONE_FREE
                && let Some(index) = claim_in(store, chunk, 0, class, me)
            {
                return Some((chunk, index));
            }
            chunk += chunks::span_of(word);
        }
        None
    };
    pass(from, high).or_else(|| pass(0, from.min(high)))
}

fn create(
    store: &impl BackingStore,
    family: &dyn Liveness,
    me: Stamp,
    class: usize,
) -> Result<(u64, u64)> {
    locked(store, family, me, || {
        // Others may have found nothing, too, and one of them may have made a span while this one
        // waited for the lock: without a second look, a hundred processes that end at once make a
        // hundred spans.
        if let Some(found) = search(store, class, 0, me) {
            return Ok(found);
        }
        let chunk = chunks::place(store, 1)?;
        chunks::back(store, chunk, 1)?;
        let layout: Layout = store.layout();
        let words = layout.block_words() + chunk * crate::alloc::layout::WORDS_PER_CHUNK * 8;
        store.commit_table(words, capacity(class) * 8)?;
        for index in 0..capacity(class) {
            let cell = store.block_word(chunk, index);
            let old = StateWord::unpack(cell.load(Ordering::Relaxed));
            let new = if index == 0 {
                old.freed().taken(me, 0)
            } else {
                old.freed()
            };
            cell.store(new.pack(), Ordering::Release);
        }
        let flags = store.chunk_flags(chunk);
        let free = (capacity(class) as u32 - 1) * ONE_FREE;
        flags.store(chunks::BACKED | free, Ordering::Relaxed);
        let cell = store.chunk_word(chunk);
        let mut word =
            StateWord::unpack(cell.load(Ordering::Relaxed)).taken(Stamp::NOBODY, class as u32);
        word.usage = Use::Span;
        // Release: a member that sees the span sees its words as set above.
        cell.store(word.pack(), Ordering::Release);
        store.header().spans[class].fetch_add(1, Ordering::Relaxed);
        Ok((chunk, 0))
    })
}

/// Gives an empty span back; the caller holds the chunk lock.
fn retire(store: &impl BackingStore, chunk: u64, class: usize) {
    let cell = store.chunk_word(chunk);
    let whole = StateWord::unpack(cell.load(Ordering::Relaxed));
    if whole.usage != Use::Span || whole.size as usize != class {
        return;
    }
    for index in 0..capacity(class) {
        let block = store.block_word(chunk, index);
        let raw = block.load(Ordering::Relaxed);
        let word = StateWord::unpack(raw);
        let next = StateWord {
            usage: Use::Retired,
            ..word
        };
        let retired = match word.usage {
            // A dead owner of the lock did that.
            Use::Retired => true,
            // Acquire pairs with the Release by which the block was freed.
            Use::Free => block
                .compare_exchange(raw, next.pack(), Ordering::Acquire, Ordering::Relaxed)
                .is_ok(),
            Use::Taken | Use::Span => false,
        };
        if !retired {
            unretire(store, chunk, class);
            return;
        }
    }
    store
        .chunk_flags(chunk)
        .fetch_and(chunks::BACKED, Ordering::Relaxed);
    chunks::unback_or_cache(store, chunk, 1);
    cell.store(whole.freed().pack(), Ordering::Release);
    let header = store.header();
    header.first_free.fetch_min(chunk as u32, Ordering::Relaxed);
    header.spans[class].fetch_sub(1, Ordering::Relaxed);
}

fn unretire(store: &impl BackingStore, chunk: u64, class: usize) {
    for index in (0..capacity(class)).filter(|&index| is_retired(store, chunk, index)) {
        let cell = store.block_word(chunk, index);
        let word = StateWord::unpack(cell.load(Ordering::Relaxed));
        cell.store(word.freed().pack(), Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::mpsc::channel;

    use super::*;
    use crate::alloc::limit::{LimitOrigin, MemoryLimit};
    use crate::alloc::space::Space;

    struct AllLive;

    impl Liveness for AllLive {
        fn is_dead(&self, _stamp: Stamp) -> bool {
            false
        }
    }

    /// Tells whether a thread sleeps, by its path below `/proc`.
    fn sleeps(thread: &Path) -> bool {
        let stat = fs::read_to_string(Path::new("/proc").join(thread).join("stat")).unwrap();
        // The state follows the name, which is in parentheses.
        stat.rsplit_once(") ").unwrap().1.starts_with('S')
    }

    #[test]
    fn those_that_wait_to_make_a_span_take_blocks_of_the_first_that_does() {
        let limit = MemoryLimit {
            bytes: 64 << 20,
            origin: LimitOrigin::Variable,
        };
        let space = Space::create(limit, 7, 3).unwrap();
        let lock = &space.header().chunk_lock;
        assert!(lock.try_lock(Stamp::new(1, 1)));
        let mut blocks: Vec<(u64, u64)> = std::thread::scope(|scope| {
            let (begin, begun) = channel();
            let claims: Vec<_> = (2..8)
                .map(|slot| {
                    let (space, begin) = (&space, begin.clone());
                    scope.spawn(move || {
                        begin
                            .send(fs::read_link("/proc/thread-self").unwrap())
                            .unwrap();
                        let me = Stamp::new(slot, 1);
                        alloc(space, &AllLive, me, 0, &mut Hints::default()).unwrap()
                    })
                })
                .collect();
            // When they wait for the lock, they have looked for a block before.
            for thread in begun.iter().take(claims.len()) {
                while !sleeps(&thread) {
                    std::thread::yield_now();
                }
            }
            lock.unlock();
            claims
                .into_iter()
                .map(|claim| claim.join().unwrap())
                .collect()
        });
        blocks.sort_unstable();
        blocks.dedup();
        assert_eq!(blocks.len(), 6);
        assert_eq!(space.header().spans[0].load(Ordering::Relaxed), 1);
    }
}
