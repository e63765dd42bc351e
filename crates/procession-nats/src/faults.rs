//! What goes wrong between here and the server.

use std::error::Error as _;
use std::fmt;

use async_nats::jetstream;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};

pub use procession::distributed::{closed, invalid, unavailable};

/// Why a message was not stored.
#[derive(Debug)]
pub enum Fault {
    /// The stream has as many as it takes.
    Full,
    /// There is no stream.
    NoStream,
    /// It may have been stored: it can be published again under its id.
    Unsure(String),
    /// The connection was made again meanwhile.
    Disturbed,
    /// It never will be.
    Refused(String),
}

impl Fault {
    /// Wraps what went wrong with an object, or in a question.
    pub fn unsure(error: impl fmt::Display) -> Self {
        Self::Unsure(error.to_string())
    }
}

impl From<PublishError> for Fault {
    fn from(error: PublishError) -> Self {
        let told = error
            .source()
            .and_then(|source| source.downcast_ref::<jetstream::Error>());
        match (error.kind(), told) {
            (PublishErrorKind::StreamNotFound, _) => Self::NoStream,
            (PublishErrorKind::MaxPayloadExceeded, _) => Self::Refused(error.to_string()),
            // The code tells of a full disk too, which is no reason to wait for ever.
            (_, Some(told)) if told.to_string().contains("maximum messages exceeded") => Self::Full,
            _ => Self::unsure(error),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the stream is full"),
            Self::NoStream => f.write_str("the stream is gone"),
            Self::Disturbed => f.write_str("the connection was lost meanwhile"),
            Self::Unsure(text) | Self::Refused(text) => f.write_str(text),
        }
    }
}
