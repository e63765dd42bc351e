//! What a pool tells those who look at its family from outside: the names of its functions,
//! and how often workers have died and tasks were run again.
//!
//! The pool's process alone writes it, when a name is new or a worker is gone; nothing is written
//! for a task. A worker's channel says which function its tasks are of (`label_log.rs`).
//!
//! # Safety
//! [`SummaryLayout`] is made of atomics.

#![expect(unsafe_code, reason = "a body in shared memory")]

use procession_shm::{Family, ObjectKind, SharedBody, SharedObject};
use procession_sys::error::Result;
use procession_sys::primitive::{AtomicU32, AtomicU64, Ordering};

/// How many functions have room for their names.
const NAMES: usize = 64;

/// Words of a name.
const WORDS: usize = 8;

/// The words of a summary.
#[derive(Debug)]
#[repr(C)]
pub struct SummaryLayout {
    /// The stamp of the pool's process.
    pub pool: AtomicU32,
    /// The number of the pool's doorbell, as channels have it.
    pub doorbell: AtomicU32,
    /// How many workers have died; workers that the pool had told to end are not counted.
    pub deaths: AtomicU64,
    /// How often a task was run again because its worker had died.
    pub retries: AtomicU64,
    /// Names of functions, by their labels. Where there is no name yet, the first word is 0.
    names: [[AtomicU64; WORDS]; NAMES],
}

// SAFETY: atomics, in the order of C.
unsafe impl SharedBody for SummaryLayout {
    const KIND: ObjectKind = ObjectKind::PoolSummary;
}

/// The summary of a pool of this process, which alone writes it.
#[derive(Debug)]
pub(crate) struct PoolSummary(SharedObject<SummaryLayout>);

impl PoolSummary {
    /// Makes the summary of a pool.
    ///
    /// # Errors
    /// `OutOfMemory` when the arena is full.
    pub(crate) fn create(family: &'static Family, doorbell: u32) -> Result<Self> {
        let summary = Self(SharedObject::create_uninherited(family, 0)?);
        // Relaxed, as everywhere below unless it is said: a reader makes do with old values.
        summary
            .0
            .body()
            .pool
            .store(family.me().raw(), Ordering::Relaxed);
        summary.moved(doorbell);
        Ok(summary)
    }

    /// Notes that the pool has another doorbell.
    pub(crate) fn moved(&self, doorbell: u32) {
        self.0.body().doorbell.store(doorbell, Ordering::Relaxed);
    }

    /// Notes how many workers have died, and how often tasks were run again.
    pub(crate) fn lost(&self, deaths: u64, retries: u64) {
        self.0.body().deaths.store(deaths, Ordering::Relaxed);
        self.0.body().retries.store(retries, Ordering::Relaxed);
    }

    /// Notes the name of a label. If the name is too long, its end is kept.
    pub(crate) fn name(&self, label: u32, name: &str) {
        let Some(words) = self.0.body().names.get(label as usize) else {
            return; // Viewers do not see the names of further functions.
        };
        let mut from = name.len().saturating_sub(WORDS * 8);
        while !name.is_char_boundary(from) {
            from += 1;
        }
        let mut bytes = [0; WORDS * 8];
        bytes[..name.len() - from].copy_from_slice(&name.as_bytes()[from..]);
        // The first word last: without it there is no name.
        for (word, chunk) in words.iter().zip(bytes.chunks_exact(8)).rev() {
            let chunk = <[u8; 8]>::try_from(chunk).expect("chunks are of 8 bytes");
            // Release pairs with the acquire of `named`.
            word.store(u64::from_le_bytes(chunk), Ordering::Release);
        }
    }
}

impl SummaryLayout {
    /// Returns the name of a label, if there is one.
    #[cfg(not(loom))]
    pub(crate) fn named(&self, label: u32) -> Option<String> {
        let words = self.names.get(label as usize)?;
        let bytes: Vec<u8> = words
            .iter()
            .flat_map(|word| word.load(Ordering::Acquire).to_le_bytes())
            .take_while(|&byte| byte != 0)
            .collect();
        (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned())
    }
}
