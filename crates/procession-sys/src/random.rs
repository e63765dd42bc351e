//! Random numbers.

use std::fs::File;
use std::io::Read as _;

use rustix::rand::{GetRandomFlags, getrandom};

use crate::denial::{is_denied, refused};
use crate::error::Result;

/// Returns a random number.
///
/// # Errors
/// When the kernel has no randomness to give.
pub fn number() -> Result<u128> {
    let mut bytes = [0; 16];
    fill(&mut bytes)?;
    Ok(u128::from_le_bytes(bytes))
}

/// Fills a few bytes with random ones, which strangers cannot guess.
///
/// # Errors
/// As [`number`].
pub(crate) fn fill(bytes: &mut [u8]) -> Result<()> {
    // Once the kernel's pool is initialised, it gives so few bytes in full.
    match getrandom(&mut *bytes, GetRandomFlags::empty()) {
        Ok(_) => Ok(()),
        Err(denied) if is_denied(denied) => File::open("/dev/urandom")
            .and_then(|mut file| file.read_exact(bytes))
            .map_err(|_| refused("getrandom", "draw a random number", denied)),
        Err(e) => Err(refused("getrandom", "draw a random number", e)),
    }
}
