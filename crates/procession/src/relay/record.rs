//! What a child puts into the queue of a relay.

use serde::{Deserialize, Serialize};

/// A record, and the process that has made it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Letter {
    /// The stamp of the member of the family; 0 for the process that relays.
    pub from: u32,
    pub record: Record,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Record {
    /// Comes first.
    Hello { name: String, pid: u32 },
    #[cfg(feature = "log")]
    Log(LogRecord),
    #[cfg(feature = "tracing")]
    Trace(TraceStep),
    /// Put by the process that relays: once it has come out, all records before it were handled.
    Mark(u64),
}

/// A record of the crate `log`.
#[cfg(feature = "log")]
#[derive(Debug, Serialize, Deserialize)]
pub struct LogRecord {
    pub level: u8,
    pub target: String,
    pub module_path: Option<String>,
    pub file: Option<String>,
    pub line: Option<u32>,
    pub text: String,
    pub pairs: Vec<(String, super::value::Value)>,
}

/// What a subscriber of `tracing` is told. Spans and callsites are known by numbers of the process
/// that tells it.
#[cfg(feature = "tracing")]
#[derive(Debug, Serialize, Deserialize)]
pub enum TraceStep {
    /// Comes before all that is made there.
    Callsite(u64, Callsite),
    Event {
        callsite: u64,
        parent: Option<u64>,
        values: Values,
    },
    Span {
        id: u64,
        callsite: u64,
        parent: Option<u64>,
        values: Values,
    },
    Values {
        span: u64,
        values: Values,
    },
    Follows {
        span: u64,
        follows: u64,
    },
    Enter(u64),
    Exit(u64),
    Close(u64),
}

/// Values by the places of their fields.
#[cfg(feature = "tracing")]
pub type Values = Vec<(u32, super::value::Value)>;

/// Where spans or events are made.
#[cfg(feature = "tracing")]
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Callsite {
    pub name: String,
    pub target: String,
    pub level: u8,
    pub module_path: Option<String>,
    pub file: Option<String>,
    pub line: Option<u32>,
    pub fields: Vec<String>,
    pub is_span: bool,
}
