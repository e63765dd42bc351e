//! Small blocks: chunks that are cut into blocks of one size.
//!
//! # Protocol
//! The state word of each block lies outside the chunk, at a place that only
//! ever holds words, so a stale look-up never mistakes a payload for one. A
//! block is claimed by one compare-exchange, free to taken-by-me, and freed by
//! another. To claim, a member reads the block's word, then the chunk's, then
//! exchanges the block's. If the chunk has become another span before the first
//! look, with smaller or larger blocks, the second shows it; if it becomes one
//! later, its making raises the generation of every word, and the exchange fails.
//!
//! A span whose blocks are all free may be given back: under the chunk lock
//! each word goes from free to retired; when one will not, the others return.
//! If the member dies half way, the next owner of the lock finishes it: the memory
//! may be gone by then.

use crate::arena::layout::{CHUNK, Layout, SMALLEST};
use crate::arena::ledger::Ledger;
use crate::arena::raw_lock::Liveness;
use crate::arena::runs;
use crate::arena::stamp::Stamp;
use crate::arena::word::{Use, Word};
use crate::error::Result;
use crate::primitive::Ordering;

/// Number of size classes: 64 bytes to 16 KiB, each twice the one before.
pub const CLASSES: usize = 9;

/// Spans of a class that are kept even when empty. A model keeps none.
const KEPT_SPANS: u32 = if cfg!(loom) { 0 } else { 2 };

/// Blocks that a process remembers to have freed, per class.
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
    let class = len.max(SMALLEST).next_power_of_two().trailing_zeros() - SMALLEST.trailing_zeros();
    ((class as usize) < CLASSES).then_some(class as usize)
}

/// Returns the size in bytes of a class's blocks.
pub fn size_of(class: usize) -> u64 {
    SMALLEST << class
}

/// Returns the class of a span's blocks.
pub fn class_at(ledger: &impl Ledger, chunk: u64) -> usize {
    Word::unpack(ledger.chunk_word(chunk).load(Ordering::Relaxed)).size as usize
}

fn capacity(class: usize) -> u64 {
    CHUNK / size_of(class)
}

/// Claims a block of `class` for `me`; returns its chunk and index.
pub fn alloc(
    ledger: &impl Ledger,
    family: &dyn Liveness,
    me: Stamp,
    class: usize,
    hints: &mut Hints,
) -> Result<(u64, u64)> {
    while let Some((chunk, index)) = hints.freed.pop() {
        if claim(ledger, u64::from(chunk), u64::from(index), class, me) {
            return Ok((u64::from(chunk), u64::from(index)));
        }
    }
    if let Some(chunk) = hints.chunk
        && let Some(index) = claim_in(ledger, chunk, hints.index, class, me)
    {
        hints.index = index + 1;
        return Ok((chunk, index));
    }
    let (chunk, index) = match search(ledger, class, hints.chunk.unwrap_or(0), me) {
        Some(found) => found,
        None => create(ledger, family, me, class)?,
    };
    hints.chunk = Some(chunk);
    hints.index = index + 1;
    Ok((chunk, index))
}

/// Frees a block; the caller owns it. Gives an empty span back now and then.
pub fn free(
    ledger: &impl Ledger,
    family: &dyn Liveness,
    me: Stamp,
    chunk: u64,
    index: u64,
    hints: &mut Hints,
) {
    let class = class_at(ledger, chunk);
    release(ledger, chunk, index);
    let free = ledger.chunk_flags(chunk).load(Ordering::Relaxed) / ONE_FREE;
    if u64::from(free) >= capacity(class)
        && hints.chunk != Some(chunk)
        && ledger.header().spans[class].load(Ordering::Relaxed) > KEPT_SPANS
    {
        runs::locked(ledger, family, me, || retire(ledger, chunk, class));
    } else if hints.freed.len() < REMEMBERED {
        hints.freed.push((chunk as u32, index as u16));
    }
}

/// Frees a block that the caller owns, without a thought for the span.
pub fn release(ledger: &impl Ledger, chunk: u64, index: u64) {
    let cell = ledger.block_word(chunk, index);
    let word = Word::unpack(cell.load(Ordering::Relaxed));
    // Release: the next owner's writes come after all of ours.
    cell.store(word.freed().pack(), Ordering::Release);
    ledger
        .chunk_flags(chunk)
        .fetch_add(ONE_FREE, Ordering::Relaxed);
}

/// Finishes what a dead owner of the chunk lock has begun: to give a span back.
/// Its memory may be gone already, so that it cannot simply return to use.
pub fn recover(ledger: &impl Ledger) {
    let high = u64::from(ledger.header().high_water.load(Ordering::Acquire));
    let mut chunk = 0;
    while chunk < high {
        let word = Word::unpack(ledger.chunk_word(chunk).load(Ordering::Acquire));
        let class = word.size as usize;
        if word.usage == Use::Span
            && (0..capacity(class)).any(|index| is_retired(ledger, chunk, index))
        {
            retire(ledger, chunk, class);
        }
        chunk += runs::span_of(word);
    }
}

fn is_retired(ledger: &impl Ledger, chunk: u64, index: u64) -> bool {
    let word = ledger.block_word(chunk, index).load(Ordering::Relaxed);
    Word::unpack(word).usage == Use::Retired
}

/// Sets a span's count of free blocks right, after a member's death.
pub fn recount(ledger: &impl Ledger, chunk: u64, class: usize) {
    let free = (0..capacity(class))
        .filter(|&index| {
            Word::unpack(ledger.block_word(chunk, index).load(Ordering::Relaxed)).usage == Use::Free
        })
        .count() as u32;
    let keep_backed = |flags: u32| Some(flags & runs::BACKED | (free * ONE_FREE));
    let _ =
        ledger
            .chunk_flags(chunk)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, keep_backed);
}

/// Calls `visit` with the index and word of each taken block of a span.
pub fn for_each_taken(
    ledger: &impl Ledger,
    chunk: u64,
    class: usize,
    mut visit: impl FnMut(u64, Word),
) {
    for index in 0..capacity(class) {
        let word = Word::unpack(ledger.block_word(chunk, index).load(Ordering::Acquire));
        if word.usage == Use::Taken {
            visit(index, word);
        }
    }
}

fn claim(ledger: &impl Ledger, chunk: u64, index: u64, class: usize, me: Stamp) -> bool {
    let cell = ledger.block_word(chunk, index);
    // Acquire orders this look before the one at the chunk's word.
    let raw = cell.load(Ordering::Acquire);
    let word = Word::unpack(raw);
    if word.usage != Use::Free {
        return false;
    }
    let whole = Word::unpack(ledger.chunk_word(chunk).load(Ordering::Acquire));
    if whole.usage != Use::Span || whole.size as usize != class {
        return false;
    }
    // Acquire pairs with the Release of whoever freed the block.
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
            ledger
                .chunk_flags(chunk)
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |flags| {
                    (flags >= ONE_FREE).then(|| flags - ONE_FREE)
                });
    }
    claimed
}

fn claim_in(ledger: &impl Ledger, chunk: u64, from: u64, class: usize, me: Stamp) -> Option<u64> {
    (from..capacity(class)).find(|&index| claim(ledger, chunk, index, class, me))
}

/// Looks for a free block in all spans of a class, from a chunk onwards.
fn search(ledger: &impl Ledger, class: usize, from: u64, me: Stamp) -> Option<(u64, u64)> {
    let high = u64::from(ledger.header().high_water.load(Ordering::Acquire));
    let pass = |begin: u64, end: u64| {
        let mut chunk = begin;
        while chunk < end {
            let word = Word::unpack(ledger.chunk_word(chunk).load(Ordering::Acquire));
            if word.usage == Use::Span
                && word.size as usize == class
                && ledger.chunk_flags(chunk).load(Ordering::Relaxed) >= ONE_FREE
                && let Some(index) = claim_in(ledger, chunk, 0, class, me)
            {
                return Some((chunk, index));
            }
            chunk += runs::span_of(word);
        }
        None
    };
    pass(from, high).or_else(|| pass(0, from.min(high)))
}

fn create(
    ledger: &impl Ledger,
    family: &dyn Liveness,
    me: Stamp,
    class: usize,
) -> Result<(u64, u64)> {
    runs::locked(ledger, family, me, || {
        let chunk = runs::place(ledger, 1)?;
        runs::back(ledger, chunk, 1)?;
        let layout: Layout = ledger.layout();
        let words = layout.block_words() + chunk * crate::arena::layout::WORDS_PER_CHUNK * 8;
        ledger.commit_table(words, capacity(class) * 8)?;
        for index in 0..capacity(class) {
            let cell = ledger.block_word(chunk, index);
            let old = Word::unpack(cell.load(Ordering::Relaxed));
            let new = if index == 0 {
                old.freed().taken(me, 0)
            } else {
                old.freed()
            };
            cell.store(new.pack(), Ordering::Release);
        }
        let flags = ledger.chunk_flags(chunk);
        let free = (capacity(class) as u32 - 1) * ONE_FREE;
        flags.store(runs::BACKED | free, Ordering::Relaxed);
        let cell = ledger.chunk_word(chunk);
        let mut word =
            Word::unpack(cell.load(Ordering::Relaxed)).taken(Stamp::NOBODY, class as u32);
        word.usage = Use::Span;
        // Release: whoever sees the span sees its words as set above.
        cell.store(word.pack(), Ordering::Release);
        ledger.header().spans[class].fetch_add(1, Ordering::Relaxed);
        Ok((chunk, 0))
    })
}

/// Gives an empty span back; the caller holds the chunk lock.
fn retire(ledger: &impl Ledger, chunk: u64, class: usize) {
    let cell = ledger.chunk_word(chunk);
    let whole = Word::unpack(cell.load(Ordering::Relaxed));
    if whole.usage != Use::Span || whole.size as usize != class {
        return;
    }
    for index in 0..capacity(class) {
        let block = ledger.block_word(chunk, index);
        let raw = block.load(Ordering::Relaxed);
        let word = Word::unpack(raw);
        let next = Word {
            usage: Use::Retired,
            ..word
        };
        let retired = match word.usage {
            // By a dead owner of the lock.
            Use::Retired => true,
            // Acquire pairs with the Release of whoever freed the block.
            Use::Free => block
                .compare_exchange(raw, next.pack(), Ordering::Acquire, Ordering::Relaxed)
                .is_ok(),
            Use::Taken | Use::Span => false,
        };
        if !retired {
            unretire(ledger, chunk, class);
            return;
        }
    }
    ledger
        .chunk_flags(chunk)
        .fetch_and(runs::BACKED, Ordering::Relaxed);
    runs::unback_or_cache(ledger, chunk, 1);
    cell.store(whole.freed().pack(), Ordering::Release);
    let header = ledger.header();
    header.first_free.fetch_min(chunk as u32, Ordering::Relaxed);
    header.spans[class].fetch_sub(1, Ordering::Relaxed);
}

fn unretire(ledger: &impl Ledger, chunk: u64, class: usize) {
    for index in (0..capacity(class)).filter(|&index| is_retired(ledger, chunk, index)) {
        let cell = ledger.block_word(chunk, index);
        let word = Word::unpack(cell.load(Ordering::Relaxed));
        cell.store(word.freed().pack(), Ordering::Release);
    }
}
