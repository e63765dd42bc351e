//! A shared library that tries to start processes, as an extension of a language would.

#![expect(unsafe_code, reason = "a function that whoever loads it calls by name")]

use procession::{Pool, Process};

fn double(number: u32) -> u32 {
    2 * number
}

/// Tells whether all that starts is refused because this is a library.
#[unsafe(no_mangle)]
pub extern "C" fn is_refused() -> bool {
    procession::init();
    let errors = [
        Process::new(double).args(1).start().map(drop).unwrap_err(),
        Pool::new(2).map(drop).unwrap_err(),
    ];
    errors
        .iter()
        .all(|error| error.to_string().contains("shared library"))
}
