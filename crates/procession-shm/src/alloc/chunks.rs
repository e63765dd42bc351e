//! Chunks: which are free, and which have memory.
//!
//! Leaves out who gets them: [`runs`](super::runs) and [`spans`](super::spans).
//!
//! # Protocol
//! *Backing with memory* is recorded by a flag of each chunk. The flag is set after the kernel
//! has backed the chunk, and cleared before the memory is given back, so a kill in between
//! only costs a second request to the kernel.

use crate::alloc::layout::CHUNK;
use crate::alloc::limit::LimitOrigin;
use crate::alloc::state_word::{StateWord, Use};
use crate::alloc::store::BackingStore;
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::primitive::Ordering;

/// Free chunks that keep their memory instead of giving it back: 128 MiB, so that another
/// large payload finds backed pages. A model keeps none.
const KEEP: u32 = if cfg!(loom) {
    0
} else {
    (128 << 20) / CHUNK as u32
};

/// Set in a chunk's flags when memory backs it.
pub const BACKED: u32 = 1;

/// Finds `count` free chunks in a row; the caller holds the chunk lock.
pub fn place(store: &impl BackingStore, count: u64) -> Result<u64> {
    let header = store.header();
    let high = u64::from(header.high_water.load(Ordering::Relaxed));
    let start = header.first_free.load(Ordering::Relaxed);
    let mut at = u64::from(start).min(high);
    let mut free = 0;
    while at < high && free < count {
        let word = StateWord::unpack(store.chunk_word(at).load(Ordering::Acquire));
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
        if end > store.layout().chunks {
            return Err(Error::new(
                ErrorKind::OutOfMemory,
                format!(
                    "the family's shared memory has no {} bytes in a row left of the {} that the \
                     system had addresses for: free what is not needed any more, or raise \
                     the limits of address space and files (ulimit -v, -f)",
                    count * CHUNK,
                    store.layout().chunks * CHUNK
                ),
            ));
        }
        let layout = store.layout();
        store.commit_table(layout.chunk_words() + high * 8, (end - high) * 8)?;
        store.commit_table(layout.chunk_flags() + high * 4, (end - high) * 4)?;
        header.high_water.store(end as u32, Ordering::Release);
    }
    if first == u64::from(start) {
        // Fails if a lower chunk was freed meanwhile, and then the hint is right as it is.
        let _ = header.first_free.compare_exchange(
            start,
            end as u32,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }
    Ok(first)
}

/// Returns how many chunks a word covers: those of a taken run, else one.
pub fn span_of(word: StateWord) -> u64 {
    match word.usage {
        Use::Taken => u64::from(word.size).max(1),
        _ => 1,
    }
}

/// Backs a run's chunks that are not backed yet.
pub fn back(store: &impl BackingStore, first: u64, count: u64) -> Result<()> {
    let header = store.header();
    let mut missing = 0;
    for chunk in first..first + count {
        if store.chunk_flags(chunk).load(Ordering::Relaxed) & BACKED == 0 {
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
    within_limit(store, missing)?;
    let mut chunk = first;
    while chunk < first + count {
        let begin = chunk;
        while chunk < first + count
            && store.chunk_flags(chunk).load(Ordering::Relaxed) & BACKED == 0
        {
            chunk += 1;
        }
        if chunk > begin {
            store.back(begin, chunk - begin)?;
            for fresh in begin..chunk {
                store.chunk_flags(fresh).fetch_or(BACKED, Ordering::Relaxed);
            }
            header
                .backed
                .fetch_add((chunk - begin) as u32, Ordering::Relaxed);
        }
        chunk += 1;
    }
    Ok(())
}

fn within_limit(store: &impl BackingStore, more: u32) -> Result<()> {
    let header = store.header();
    let limit = header.limit.load(Ordering::Relaxed);
    let fits = |backed: u32| (u64::from(backed) + u64::from(more)) * CHUNK <= limit;
    if fits(header.backed.load(Ordering::Relaxed)) {
        return Ok(());
    }
    // The count may be wrong since a member was killed: count again.
    let high = u64::from(header.high_water.load(Ordering::Acquire));
    let backed = (0..high)
        .filter(|&chunk| store.chunk_flags(chunk).load(Ordering::Relaxed) & BACKED != 0)
        .count() as u32;
    header.backed.store(backed, Ordering::Relaxed);
    if fits(backed) {
        return Ok(());
    }
    // Cached free chunks are not given back here: that would race with members that are
    // claiming them.
    Err(Error::new(
        ErrorKind::OutOfMemory,
        format!(
            "the family's shared memory is full: {} of {limit} bytes are in use and {} more \
             were asked for; {}",
            u64::from(backed) * CHUNK,
            u64::from(more) * CHUNK,
            LimitOrigin::from_raw(header.limit_origin.load(Ordering::Relaxed)).advice()
        ),
    ))
}

/// Gives a run's memory back, or lets it keep the memory while little is cached.
pub fn unback_or_cache(store: &impl BackingStore, first: u64, count: u64) {
    let header = store.header();
    let kept = header.cached.fetch_add(count as u32, Ordering::Relaxed) + count as u32;
    if kept <= KEEP {
        return;
    }
    let mut released = 0;
    for chunk in first..first + count {
        let flags = store.chunk_flags(chunk);
        if flags.fetch_and(!BACKED, Ordering::Relaxed) & BACKED != 0 {
            released += 1;
        }
    }
    if store.unback(first, count).is_err() {
        // The kernel keeps the pages; backing the chunks again finds them.
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
