//! Bytes, with a lock now and then, that tell whether they arrived as they were sent.

use procession::{Lock, Result};
use serde::{Deserialize, Serialize};

use crate::chance::Chance;

/// Inline in a ring, in a block of its own, and large.
const SIZES: [usize; 6] = [0, 10, 900, 3_000, 70_000, 300_000];

/// Out of how many payloads one has a lock.
const LOCKS: u64 = 6;

/// What is sent with a number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Payload {
    data: Vec<u8>,
    /// That nobody else has who is not sent the same.
    lock: Option<Lock>,
}

impl Payload {
    /// Returns bytes of some size that belong to a number, with or without a lock.
    pub fn make(number: u64, chance: &mut Chance) -> Result<Self> {
        Ok(Self {
            data: vec![(number % 251) as u8; chance.of(&SIZES)],
            lock: chance.one_in(LOCKS).then(Lock::new).transpose()?,
        })
    }

    /// Tells whether the bytes are those of the number, and the lock is one.
    pub fn check(&self, number: u64) -> bool {
        let works = self.lock.as_ref().is_none_or(|lock| lock.lock().is_ok());
        works
            && self
                .data
                .iter()
                .all(|&byte| u64::from(byte) == number % 251)
    }

    /// Tells whether two are alike; no lock is the same as another.
    pub fn is_like(&self, other: &Self) -> bool {
        self.data == other.data && self.lock.is_some() == other.lock.is_some()
    }

    /// Returns a sum over number and bytes.
    pub fn digest(&self, number: u64) -> u64 {
        self.data.iter().fold(number, |sum, &byte| {
            sum.wrapping_mul(31).wrapping_add(u64::from(byte))
        })
    }
}
