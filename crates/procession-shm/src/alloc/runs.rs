//! Handing out and taking back runs of chunks.
//!
//! # Protocol
//! A run is claimed by storing one word, its first chunk's, under the chunk
//! lock; the words of its other chunks stay free, and the size in the first
//! word tells readers to skip them. A run is released by one compare-exchange of that word,
//! without the lock. A member killed while it holds the lock has either
//! stored the word or not; both are sound, so the next owner of the lock has
//! nothing to repair here.
//!
//! Chunks are backed with memory after the claim, outside the lock.

use crate::alloc::chunks::{back, place, unback_or_cache};
use crate::alloc::spans::locked;
use crate::alloc::state_word::{StateWord, Use};
use crate::alloc::store::BackingStore;
use crate::lock::raw_lock::Liveness;
use crate::member::stamp::Stamp;
use procession_sys::error::Result;
use procession_sys::primitive::Ordering;

/// Claims `count` chunks in a row for `me` and backs them with memory.
pub fn alloc(
    store: &impl BackingStore,
    family: &dyn Liveness,
    me: Stamp,
    count: u64,
) -> Result<u64> {
    let first = locked(store, family, me, || {
        let first = place(store, count)?;
        let word = StateWord::unpack(store.chunk_word(first).load(Ordering::Relaxed));
        // Release: a member that finds the run also sees the table pages behind it.
        store
            .chunk_word(first)
            .store(word.taken(me, count as u32).pack(), Ordering::Release);
        Ok(first)
    })?;
    if let Err(error) = back(store, first, count) {
        free(store, first);
        return Err(error);
    }
    Ok(first)
}

/// Releases the run that begins at `first`; the caller owns it.
pub fn free(store: &impl BackingStore, first: u64) {
    let cell = store.chunk_word(first);
    let word = StateWord::unpack(cell.load(Ordering::Relaxed));
    debug_assert_eq!(word.usage, Use::Taken);
    unback_or_cache(store, first, u64::from(word.size));
    // Release: the next owner's writes come after all of ours.
    cell.store(word.freed().pack(), Ordering::Release);
    store
        .header()
        .first_free
        .fetch_min(first as u32, Ordering::Relaxed);
}
