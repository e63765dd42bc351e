//! Any bytes in the place of what processes of the Rust face hand over: values, errors, handles.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use procession::any_bytes;
use procession::{Lock, Queue, SharedArray};

/// What handles may name.
static OBJECTS: OnceLock<(Lock, Queue<u32>, SharedArray<u64>)> = OnceLock::new();

fuzz_target!(|bytes: &[u8]| {
    OBJECTS.get_or_init(|| {
        (
            Lock::new().unwrap(),
            Queue::new().unwrap(),
            SharedArray::from_slice(&[1, 2, 3]).unwrap(),
        )
    });
    any_bytes::as_a_launch(bytes);
    any_bytes::as_a_set_up(bytes);
    any_bytes::as_a_function(bytes);
    any_bytes::as_an_outcome(bytes);
    any_bytes::attach_to_all(bytes);
});
