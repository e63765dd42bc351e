//! Numbers that nobody else has.

use rustix::rand::{GetRandomFlags, getrandom};

use crate::error::{Error, Result};

/// Returns a random number.
///
/// # Errors
/// When the kernel has no randomness to give.
pub fn number() -> Result<u128> {
    let mut bytes = [0; 16];
    // Once its pool is initialised the kernel gives as few bytes as these in full.
    getrandom(&mut bytes, GetRandomFlags::empty())
        .map_err(|e| Error::os("draw a random number", e))?;
    Ok(u128::from_le_bytes(bytes))
}
