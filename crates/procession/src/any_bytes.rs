//! Reads any bytes in each of the ways in which bytes of another process of the family are read.
//!
//! For `decoders.rs`, whose tests make up such bytes, and for the fuzz target `values`.

use std::collections::BTreeMap;

use crate::codec;
use crate::function::EntryRef;
use crate::launch::Launch;
use crate::pool::Setup;
use crate::{
    Barrier, Condition, Event, Lock, Pipe, Queue, RLock, Result, Semaphore, Shared, SharedArray,
    outcome,
};

/// Reads the bytes as a child reads its launch; the rest of the bytes is for the child's function.
pub fn as_a_launch(bytes: &[u8]) {
    let launch: Result<(Launch, &[u8])> = codec::decode_first(bytes, "a launch");
    if let Ok((_, rest)) = launch {
        assert!(rest.len() < bytes.len());
    }
}

/// Reads the bytes as a worker reads its set-up.
pub fn as_a_set_up(bytes: &[u8]) {
    let _: Result<Setup> = codec::decode(bytes, "a worker's set-up");
}

/// Reads the bytes as a reference to a function, which is not called; tells whether this build has
/// it.
pub fn as_a_function(bytes: &[u8]) -> bool {
    match codec::decode::<EntryRef>(bytes, "a function") {
        Ok(entry) => match entry.resolve() {
            Ok(_) => true,
            Err(error) => {
                assert!(error.is_invalid(), "{error}");
                false
            }
        },
        Err(_) => false,
    }
}

/// Reads the bytes as the outcome of functions, of several types.
pub fn as_an_outcome(bytes: &[u8]) {
    let _ = outcome::read::<()>(bytes, "a result");
    let _ = outcome::read::<u64>(bytes, "a result");
    let _ = outcome::read::<String>(bytes, "a result");
    let _ = outcome::read::<Vec<(u64, Option<String>)>>(bytes, "a result");
    let _ = outcome::read::<Vec<[u64; 32]>>(bytes, "a result");
    let _ = outcome::read::<BTreeMap<char, (f32, i128)>>(bytes, "a result");
    #[cfg(feature = "self-describing")]
    let _ = outcome::read::<crate::SelfDescribing<BTreeMap<String, Vec<Option<f64>>>>>(
        bytes, "a result",
    );
}

/// Attaches to objects of each kind by the bytes; returns how many attempts have succeeded.
pub fn attach_to_all(bytes: &[u8]) -> usize {
    let tried = [
        codec::decode::<Lock>(bytes, "it").is_ok(),
        codec::decode::<RLock>(bytes, "it").is_ok(),
        codec::decode::<Semaphore>(bytes, "it").is_ok(),
        codec::decode::<Condition>(bytes, "it").is_ok(),
        codec::decode::<Event>(bytes, "it").is_ok(),
        codec::decode::<Barrier>(bytes, "it").is_ok(),
        codec::decode::<Queue<u32>>(bytes, "it").is_ok(),
        codec::decode::<SharedArray<u64>>(bytes, "it").is_ok(),
        codec::decode::<Shared<u64>>(bytes, "it").is_ok(),
        codec::decode::<Pipe<u32, u32>>(bytes, "it").is_ok(),
    ];
    tried.into_iter().filter(|right| *right).count()
}
