//! Handing out and taking back runs of chunks.
//!
//! # Protocol
//! A run is claimed by storing one word, its first chunk's, under the chunk
//! lock; the words of its other chunks stay free and the size in the first
//! says to skip them. It is released by one compare-exchange of that word,
//! without the lock. A member killed while it holds the lock has either
//! stored the word or not; both are sound, so the next owner of the lock has
//! nothing to repair here.
//!
//! *Backing with memory* comes after the claim, outside the lock, and is noted
//! per chunk. The note is set after the kernel backed the chunk and cleared
//! before it is given back, so a kill in between only costs a second request.

use crate::arena::layout::CHUNK;
use crate::arena::ledger::Ledger;
use crate::arena::raw_lock::{Acquired, Liveness};
use crate::arena::spans;
use crate::arena::stamp::Stamp;
use crate::arena::word::{Use, Word};
use crate::error::{Error, ErrorKind, Result};
use crate::primitive::Ordering;

/// Chunks of free memory that are kept instead of given back: 128 MiB, so that
/// a large payload that comes again finds its pages. A model keeps none.
const KEEP: u32 = if cfg!(loom) {
    0
} else {
    (128 << 20) / CHUNK as u32
};

/// Set in a chunk's flags when memory backs it.
pub const BACKED: u32 = 1;

/// Claims `count` chunks in a row for `me` and backs them with memory.
pub fn alloc(ledger: &impl Ledger, family: &dyn Liveness, me: Stamp, count: u64) -> Result<u64> {
    let first = locked(ledger, family, me, || {
        let first = place(ledger, count)?;
        let word = Word::unpack(ledger.chunk_word(first).load(Ordering::Relaxed));
        // Release: whoever finds the run sees the table pages behind it.
        ledger
            .chunk_word(first)
            .store(word.taken(me, count as u32).pack(), Ordering::Release);
        Ok(first)
    })?;
    if let Err(error) = back(ledger, first, count) {
        free(ledger, first);
        return Err(error);
    }
    Ok(first)
}

/// Releases the run that begins at `first`; the caller owns it.
pub fn free(ledger: &impl Ledger, first: u64) {
    let cell = ledger.chunk_word(first);
    let word = Word::unpack(cell.load(Ordering::Relaxed));
    debug_assert_eq!(word.usage, Use::Taken);
    unback_or_cache(ledger, first, u64::from(word.size));
    // Release: the next owner's writes come after all of ours.
    cell.store(word.freed().pack(), Ordering::Release);
    ledger
        .header()
        .first_free
        .fetch_min(first as u32, Ordering::Relaxed);
}

/// Runs `work` while holding the chunk lock.
pub fn locked<T>(
    ledger: &impl Ledger,
    family: &dyn Liveness,
    me: Stamp,
    work: impl FnOnce() -> T,
) -> T {
    let lock = &ledger.header().chunk_lock;
    if let Acquired::FromDead(_) = lock.lock(me, family) {
        spans::recover(ledger);
    }
    let value = work();
    lock.unlock();
    value
}

/// Finds `count` free chunks in a row; the caller holds the chunk lock.
pub fn place(ledger: &impl Ledger, count: u64) -> Result<u64> {
    let header = ledger.header();
    let high = u64::from(header.high_water.load(Ordering::Relaxed));
    let start = header.first_free.load(Ordering::Relaxed);
    let mut at = u64::from(start).min(high);
    let mut free = 0;
    while at < high && free < count {
        let word = Word::unpack(ledger.chunk_word(at).load(Ordering::Acquire));
        if word.usage == Use::Free {
            free += 1;
            at += 1;
        } else {
            free = 0;
            at += span_of(word);
        }
    }
    let first = at - free;
    let end = first + count;
    if end > high {
        if end > ledger.layout().chunks {
            return Err(Error::new(
                ErrorKind::OutOfMemory,
                format!(
                    "the arena's address space is used up: no {} bytes in a row are left of {}",
                    count * CHUNK,
                    ledger.layout().chunks * CHUNK
                ),
            ));
        }
        let layout = ledger.layout();
        ledger.commit_table(layout.chunk_words() + high * 8, (end - high) * 8)?;
        ledger.commit_table(layout.chunk_flags() + high * 4, (end - high) * 4)?;
        header.high_water.store(end as u32, Ordering::Release);
    }
    if first == u64::from(start) {
        // Fails when somebody freed a lower chunk meanwhile, rightly.
        let _ = header.first_free.compare_exchange(
            start,
            end as u32,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }
    Ok(first)
}

/// Returns how many chunks a taken word covers.
pub fn span_of(word: Word) -> u64 {
    match word.usage {
        Use::Taken => u64::from(word.size).max(1),
        _ => 1,
    }
}

/// Backs a run's chunks that are not backed yet.
pub fn back(ledger: &impl Ledger, first: u64, count: u64) -> Result<()> {
    let header = ledger.header();
    let mut missing = 0;
    for chunk in first..first + count {
        if ledger.chunk_flags(chunk).load(Ordering::Relaxed) & BACKED == 0 {
            missing += 1;
        }
    }
    let reused = count as u32 - missing;
    let _ = header
        .cached
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |cached| {
            Some(cached.saturating_sub(reused))
        });
    if missing == 0 {
        return Ok(());
    }
    within_limit(ledger, missing)?;
    let mut chunk = first;
    while chunk < first + count {
        let begin = chunk;
        while chunk < first + count
            && ledger.chunk_flags(chunk).load(Ordering::Relaxed) & BACKED == 0
        {
            chunk += 1;
        }
        if chunk > begin {
            ledger.back(begin, chunk - begin)?;
            for fresh in begin..chunk {
                ledger
                    .chunk_flags(fresh)
                    .fetch_or(BACKED, Ordering::Relaxed);
            }
            header
                .backed
                .fetch_add((chunk - begin) as u32, Ordering::Relaxed);
        }
        chunk += 1;
    }
    Ok(())
}

fn within_limit(ledger: &impl Ledger, more: u32) -> Result<()> {
    let header = ledger.header();
    let limit = header.limit.load(Ordering::Relaxed);
    let fits = |backed: u32| (u64::from(backed) + u64::from(more)) * CHUNK <= limit;
    if fits(header.backed.load(Ordering::Relaxed)) {
        return Ok(());
    }
    // The count may have drifted when a member was killed: count again.
    let high = u64::from(header.high_water.load(Ordering::Acquire));
    let backed = (0..high)
        .filter(|&chunk| ledger.chunk_flags(chunk).load(Ordering::Relaxed) & BACKED != 0)
        .count() as u32;
    header.backed.store(backed, Ordering::Relaxed);
    if fits(backed) {
        return Ok(());
    }
    // Free chunks that kept their memory are worth giving back now; the next
    // attempt of the caller finds room. Doing it here would race their takers.
    Err(Error::new(
        ErrorKind::OutOfMemory,
        format!(
            "the family's shared memory is full: {} of {limit} bytes are in use and {} more \
             were asked for",
            u64::from(backed) * CHUNK,
            u64::from(more) * CHUNK
        ),
    ))
}

/// Gives a run's memory back, or keeps it if little enough is kept already.
pub fn unback_or_cache(ledger: &impl Ledger, first: u64, count: u64) {
    let header = ledger.header();
    let kept = header.cached.fetch_add(count as u32, Ordering::Relaxed) + count as u32;
    if kept <= KEEP {
        return;
    }
    let mut released = 0;
    for chunk in first..first + count {
        let flags = ledger.chunk_flags(chunk);
        if flags.fetch_and(!BACKED, Ordering::Relaxed) & BACKED != 0 {
            released += 1;
        }
    }
    if ledger.unback(first, count).is_err() {
        // The kernel keeps the pages; they are found again when backed anew.
        return;
    }
    let _ = header
        .cached
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |cached| {
            Some(cached.saturating_sub(count as u32))
        });
    let _ = header
        .backed
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |backed| {
            Some(backed.saturating_sub(released))
        });
}
