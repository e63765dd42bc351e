//! Values to bytes and back: serde with postcard.
//!
//! Postcard is compact and has a stable format, but does not describe itself:
//! types with `#[serde(flatten)]` or untagged enums cannot cross.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Turns a value into bytes; `what` names it in the error.
pub fn encode<T: Serialize + ?Sized>(value: &T, what: &str) -> Result<Vec<u8>> {
    postcard::to_stdvec(value).map_err(|source| Error::codec(cannot("serialise", what), source))
}

/// Turns a value into bytes at the end of a buffer.
pub fn encode_into<T: Serialize + ?Sized>(
    value: &T,
    buffer: Vec<u8>,
    what: &str,
) -> Result<Vec<u8>> {
    postcard::to_extend(value, buffer)
        .map_err(|source| Error::codec(cannot("serialise", what), source))
}

/// Turns bytes back into the value; `what` names it in the error.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    postcard::from_bytes(bytes).map_err(|source| Error::codec(cannot("deserialise", what), source))
}

/// As [`decode`], and returns the bytes that follow the value.
pub fn decode_first<'a, T: DeserializeOwned>(bytes: &'a [u8], what: &str) -> Result<(T, &'a [u8])> {
    postcard::take_from_bytes(bytes)
        .map_err(|source| Error::codec(cannot("deserialise", what), source))
}

fn cannot(verb: &str, what: &str) -> String {
    format!("cannot {verb} {what}")
}
