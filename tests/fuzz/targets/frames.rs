//! Any bytes from the other end of a pipe, and any argument that a process is started with.

#![no_main]

#[path = "../../../crates/procession-engine/tests/decoders/received.rs"]
mod received;

use libfuzzer_sys::fuzz_target;
use procession_engine::channel::PipeShared;
use procession_engine::launch::bootstrap::BootstrapArgument;

use received::received;

/// The longest message that is taken.
const MOST: usize = 500;

fuzz_target!(|bytes: &[u8]| {
    assert!(received(bytes, None, MOST) <= bytes.len());
    let (here, _there) = PipeShared::pair().unwrap();
    assert!(received(bytes, Some(&here), MOST) <= bytes.len());
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(argument) = BootstrapArgument::parse(text)
    {
        let again = BootstrapArgument::parse(&argument.to_string()).unwrap();
        assert_eq!(again, argument);
    }
});
