//! A value in a record, as it crosses.

use serde::{Deserialize, Serialize};

/// A value of one of the types that loggers and subscribers tell apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    Bool(bool),
    I64(i64),
    U64(u64),
    I128(i128),
    U128(u128),
    F64(f64),
    Text(String),
    /// What its `Debug` or `Display` form is.
    Formatted(String),
    #[cfg(feature = "tracing")]
    Bytes(Vec<u8>),
    #[cfg(feature = "tracing")]
    Error(crate::remote_error::RemoteError),
    #[cfg(feature = "log")]
    Null,
}
