//! Bytes that tell whether they arrived as they were sent.

use crate::chance::Chance;

/// Inline in a ring, in a block of its own, and large.
const SIZES: [usize; 6] = [0, 10, 900, 3_000, 70_000, 300_000];

/// Returns bytes of some size that belong to a number.
pub fn make(number: u64, chance: &mut Chance) -> Vec<u8> {
    vec![(number % 251) as u8; chance.of(&SIZES)]
}

/// Tells whether the bytes are those of the number.
pub fn check(number: u64, data: &[u8]) -> bool {
    data.iter().all(|&byte| u64::from(byte) == number % 251)
}

/// Returns a sum over number and bytes.
pub fn digest(number: u64, data: &[u8]) -> u64 {
    data.iter().fold(number, |sum, &byte| {
        sum.wrapping_mul(31).wrapping_add(u64::from(byte))
    })
}
